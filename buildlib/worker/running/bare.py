"""A run where nothing can be mounted: what it needs is put into its tree, and it runs in a chroot.

Nothing is read-only there, what lies in memory elsewhere lies on the disk for the length of the run, and runs that
share a cache come one after the other.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from functools import partial
from typing import TYPE_CHECKING

from buildlib.errors import BuildlibError, NotFound, SandboxError, UsageError
from buildlib.linux import owners
from buildlib.linux.beneath import open_in_root
from buildlib.sandbox.defaults import DEVICES
from buildlib.worker.running import caches, furniture, request
from buildlib.worker.running.sources import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildlib.worker.running.request import Any_
    from buildlib.worker.workspace import Workspace

_PLACES = {"/dev/shm": 0o1777, "/dev/pts": 0o755, "/proc": 0o555, "/sys": 0o555}  # noqa: S108
"""Folders that programs expect, though nothing can be mounted there."""


class Room:
    """The tree of one run, furnished."""

    def __init__(self, space: Workspace, tree: str) -> None:
        self.space = space
        self.tree = tree
        self.furniture = furniture.Furniture(tree)
        self.locks: list[int] = []
        """Descriptors whose closing gives locks back."""

    def furnish(self, binds: Sequence[Any_]) -> None:
        """Put everything in. Raises :class:`NotFound`, :class:`UsageError`, :class:`SandboxError`."""
        try:
            self._devices()
            for bind in binds:
                what = f"putting the {bind.kind} at {bind.target}"
                try:
                    self._put(bind)
                except OSError as error:
                    raise SandboxError(f"{what}: {error.strerror}", op=what, errno=error.errno) from error
        except BuildlibError:
            furniture.clear(self.tree)
            raise

    def _devices(self) -> None:
        for path, mode in _PLACES.items():
            if not os.path.lexists(self.tree + path):
                self._try(path, partial(_folder, mode=mode))
        for device in DEVICES:
            number = os.makedev(device.major or 0, device.minor or 0)
            try:
                info = os.lstat(self.tree + device.path)
                if stat.S_ISCHR(info.st_mode) and info.st_rdev == number:
                    continue
            except OSError:
                pass
            self._try(device.path, partial(_device, number=number))

    def _try(self, target: str, make: Callable[[str], None]) -> None:
        try:
            self.furniture.put(target, make)
        except OSError as error:
            what = f"making {target}"
            raise SandboxError(f"{what}: {error.strerror}", op=what, errno=error.errno) from error

    def _put(self, bind: Any_) -> None:
        home = None
        if isinstance(bind, request.Cache):
            home = self._take(bind)
            make: Callable[[str], None] = lambda spot: os.rename(home, spot)  # noqa: E731
        elif isinstance(bind, request.Tmpfs):
            make = lambda spot: _folder(spot, bind.mode)  # noqa: E731
        elif isinstance(bind, request.Bind):
            if bind.rw and bind.keep:
                raise SandboxError(f"{bind.target}: where nothing can be mounted, what is written can't be kept")
            fd = self._open(bind.source, bind.root)
            make = lambda spot: copy(fd, spot)  # noqa: E731
        elif isinstance(bind, request.Snapshot):
            space = self.space
            tree = space.view(bind.parents) if bind.key is None else space.look(bind.key, bind.parents)
            fd = self._open(bind.source, tree)
            make = lambda spot: copy(fd, spot)  # noqa: E731
        else:
            make = lambda spot: write_file(spot, bind.data(), bind.mode, bind.uid, bind.gid)  # noqa: E731
        self.furniture.put(bind.target, make, home=home)

    def _take(self, cache: request.Cache) -> str:
        """The folder of the cache, which is ours alone until the end."""
        base = f"{self.space.root}/caches/{caches.folder_name(cache.id or cache.target)}"
        os.makedirs(os.path.dirname(base), 0o700, exist_ok=True)
        # Not the folder itself: while a run has it, it is elsewhere.
        lock = os.open(f"{base}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.locks.append(lock)
        path, held = caches.take(self.space, cache)
        os.close(held)
        return path

    def _open(self, source: str, root: str | None) -> int:
        try:
            if root is None:
                if not source.startswith("/"):
                    raise UsageError(f"the source {source!r} of a bind is not absolute")
                return os.open(source, os.O_PATH | os.O_CLOEXEC)
            top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return open_in_root(top, source, os.O_PATH)
            finally:
                os.close(top)
        except OSError as error:
            raise NotFound(f"bind {source}: {error.strerror}", kind="path", name=source) from error

    def leave(self) -> None:
        """After the run, while its locks are held."""
        furniture.clear(self.tree)


def _folder(path: str, mode: int) -> None:
    os.mkdir(path)
    os.chmod(path, mode)


def _device(path: str, number: int) -> None:
    """The device, or without the right to make one a file of its name: what is written to it is thrown away as well."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, number)
    except PermissionError:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    os.chmod(path, 0o666)  # noqa: S103 - as everywhere


def copy(fd: int, path: str) -> None:
    """What is open as ``fd`` (O_PATH), with all that is in it, at ``path``; it is closed. Raises ``OSError``."""
    source = f"/proc/self/fd/{fd}"
    try:
        info = os.fstat(fd)
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(path, 0o700)
            folder = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                caches.copy_into(folder, path)
            finally:
                os.close(folder)
        elif stat.S_ISREG(info.st_mode):
            shutil.copyfile(source, path)
            _like(path, info)
        elif stat.S_ISSOCK(info.st_mode):
            # Whoever listens on it is reached by any of its names. (Python follows links only with a descriptor.)
            os.link(source, path, src_dir_fd=fd, follow_symlinks=True)
        else:
            os.mknod(path, info.st_mode, info.st_rdev)
            _like(path, info)
    finally:
        os.close(fd)


def _like(path: str, info: os.stat_result) -> None:
    into = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        owners.offer(into, info.st_uid, info.st_gid)
        os.fchmod(into, stat.S_IMODE(info.st_mode))
    finally:
        os.close(into)
