"""Opening what a run gets: each becomes a detached mount, a descriptor that the sandbox attaches at its target.

Sources are opened once and mounted through what was opened: a path that changes meanwhile changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat

from buildlib.errors import NotFound, SandboxError, UsageError
from buildlib.linux import mount, owners
from buildlib.linux.beneath import open_in_root
from buildlib.worker.running import caches, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.worker.running.request import Any_
    from buildlib.worker.running.scratch import Scratch
    from buildlib.worker.workspace import Workspace

NO_SURPRISES = mount.ATTR_NOSUID | mount.ATTR_NODEV


class Sources:
    """Opens the binds of one run, in the process that becomes it."""

    def __init__(self, space: Workspace, scratch: Scratch) -> None:
        self.space = space
        self.scratch = scratch
        self.locks: list[int] = []
        """Descriptors whose closing gives locks back."""

    def open(self, bind: Any_) -> int:
        """The detached mount of ``bind``. Raises :class:`NotFound`, :class:`UsageError`, :class:`SandboxError`."""
        try:
            if isinstance(bind, request.Bind):
                return self._bind(bind)
            if isinstance(bind, request.Snapshot):
                return self._snapshot(bind)
            if isinstance(bind, request.Cache):
                path, lock = caches.take(self.space, bind)
                self.locks.append(lock)
                return _clone_path(path, NO_SURPRISES | (mount.ATTR_RDONLY if bind.ro else 0))
            if isinstance(bind, request.Tmpfs):
                size = () if bind.size is None else (f"size={bind.size}",)
                return mount.new_mount("tmpfs", (f"mode={bind.mode:o}", *size), attributes=NO_SURPRISES, source="tmpfs")
            return self._file(bind)
        except OSError as error:
            what = f"preparing the {bind.kind} mount at {bind.target}"
            raise SandboxError(f"{what}: {error.strerror}", op=what, errno=error.errno) from error

    def _bind(self, bind: request.Bind) -> int:
        try:
            if bind.root is None:
                if not bind.source.startswith("/"):
                    raise UsageError(f"the source {bind.source!r} of a bind is not absolute")
                fd = os.open(bind.source, os.O_PATH | os.O_CLOEXEC)
            else:
                with _opened(os.open(bind.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
                    fd = open_in_root(root, bind.source, os.O_PATH)
        except OSError as error:
            raise NotFound(f"bind {bind.source}: {error.strerror}", kind="path", name=bind.source) from error
        with _opened(fd):
            return self._show(fd, rw=bind.rw, keep=bind.keep)

    def _snapshot(self, bind: request.Snapshot) -> int:
        space = self.space
        tree = space.view(bind.parents) if bind.key is None else space.look(bind.key, bind.parents)
        with _opened(os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
            try:
                fd = open_in_root(root, bind.source, os.O_PATH)
            except OSError as error:
                raise NotFound(f"bind {bind.source}: {error.strerror}", kind="path", name=bind.source) from error
            with _opened(fd):
                return self._show(fd, rw=bind.rw, keep=False)

    def _show(self, fd: int, *, rw: bool, keep: bool) -> int:
        """What is open as ``fd``: as it is, read-only, or under something that takes in what is written."""
        if rw and not keep:
            return self.scratch.over(fd)
        return _clone(fd, 0 if rw or keep else mount.ATTR_RDONLY)

    def _file(self, bind: request.File | request.Secret) -> int:
        path = self.space.place() + "/file"
        write_file(path, bind.data(), bind.mode, bind.uid, bind.gid)
        attributes = NO_SURPRISES | (mount.ATTR_RDONLY if bind.ro else 0)
        return _clone_path(path, attributes | (mount.ATTR_NOEXEC if bind.kind == "secret" else 0))


def write_file(path: str, data: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Make the file ``path`` with exactly these attributes."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        owners.offer(fd, uid, gid)
        os.fchmod(fd, mode)


def _clone_path(path: str, attributes: int) -> int:
    with _opened(os.open(path, os.O_PATH | os.O_CLOEXEC)) as fd:
        return _clone(fd, attributes)


def _clone(fd: int, attributes: int) -> int:
    clone = mount.open_tree("", dir_fd=fd, recursive=stat.S_ISDIR(os.fstat(fd).st_mode))
    mount.set_attributes("", dir_fd=clone, add=attributes, propagation=mount.MS_PRIVATE, recursive=True)
    return clone


@contextlib.contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
