"""Cache directories: found by id beneath the store, made once, locked as the run wants to share them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import suppress

from buildlib.errors import NotFound
from buildlib.linux import owners
from buildlib.linux.beneath import open_in_root
from buildlib.worker.running.scratch import half_made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.worker.running.request import Cache
    from buildlib.worker.workspace import Workspace

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def folder_name(identity: str) -> str:
    """The folder of a cache id: a hash, since an id may say anything, ``../..`` as well."""
    return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def take(space: Workspace, cache: Cache) -> tuple[str, int]:
    """The path of the directory for ``cache``, and it open: that is the lock. Waits where it is "locked".

    Of a "private" cache there is one directory for each run at the same time, ``<name>``, ``<name>.1``, …
    """
    base = f"{space.root}/caches/{folder_name(cache.id or cache.target)}"
    number = 0
    while True:
        path = base if not number else f"{base}.{number}"
        _make(space, cache, path)
        fd = os.open(path, _DIRECTORY)
        try:
            fcntl.flock(fd, {"shared": fcntl.LOCK_SH, "locked": fcntl.LOCK_EX}.get(cache.sharing, _TRY))
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                raise
            os.close(fd)
            number += 1
            continue
        return path, fd


_TRY = fcntl.LOCK_EX | fcntl.LOCK_NB


def _make(space: Workspace, cache: Cache, path: str) -> None:
    """Make the directory where it is missing; it appears under its name with everything in it."""
    if os.path.isdir(path):
        return
    note(path, cache.id or cache.target)
    fresh = half_made(space.root, 1)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    os.mkdir(fresh, 0o700)
    if cache.source is not None:
        _seed(space, cache, fresh)
    else:
        fd = os.open(fresh, _DIRECTORY)
        try:
            owners.offer(fd, cache.uid, cache.gid)
            os.fchmod(fd, cache.mode)
        finally:
            os.close(fd)
    _appear(fresh, path)


def _appear(fresh: str, path: str) -> None:
    """Let ``fresh`` become ``path``, unless another run was faster.

    rename(2) would replace an empty directory, which that other run is just about to mount.
    """
    folder = os.open(os.path.dirname(path), _DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not os.path.lexists(path):
            os.rename(fresh, path)
            return
    finally:
        os.close(folder)
    from buildlib.snapshot.tree import remove_tree

    remove_tree(fresh)


def note(path: str, identity: str) -> None:
    """Write down beside the folder ``path`` whose it is: its name does not tell."""
    with suppress(OSError):  # it only serves people
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(f"{path}.id", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(identity)


def _seed(space: Workspace, cache: Cache, fresh: str) -> None:
    """Copy the contents of the source with everything that belongs to them."""
    source = cache.source or "/"
    tree = space.view(cache.parents or ())
    root = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_in_root(root, source, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise NotFound(f"cache source {source}: {error.strerror}", kind="path", name=source) from error
    finally:
        os.close(root)
    try:
        copy_into(fd, fresh)
    finally:
        os.close(fd)


def copy_into(source: int, fresh: str) -> None:
    """All that is in the open directory ``source``, and its attributes, into the folder ``fresh``."""
    from buildlib.worker.copying.effect import Effect
    from buildlib.worker.copying.place import Place
    from buildlib.worker.copying.transfer import Transfer
    from buildlib.worker.copying.walk import Filter, walk

    os.umask(0)
    into = os.open(fresh, _DIRECTORY)
    try:
        transfer = Transfer(Place(into), Effect(owner=None), None)
        transfer.contents(walk(source, Filter()), into, "")
        info = os.fstat(source)
        owners.offer(into, info.st_uid, info.st_gid)
        os.fchmod(into, info.st_mode & 0o7777)
    finally:
        os.close(into)
