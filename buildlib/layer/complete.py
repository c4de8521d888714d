"""The slow path for the rare layer that can't be unpacked without the layers below it: it fetches what is missing.

Nothing below the layer is ever changed, and what is copied lies beneath the parents' folders, whiteouts honoured.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from buildlib.errors import LayerError, from_os_error
from buildlib.layer import whiteout, xattrs
from buildlib.layer.merged import Merged
from buildlib.layer.remove import remove
from buildlib.layer.walk import DIRECTORY, ROOT
from buildlib.linux import owners
from buildlib.linux.beneath import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NoReturn

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 30


def complete(
    fs_dir: str,
    missing_parents: Iterable[str],
    pending_links: Iterable[Sequence[str]],
    parents: Iterable[str],
    *,
    userxattr: bool = False,
) -> None:
    """Make the folder that :func:`~buildlib.layer.apply.apply` left a layer above ``parents`` (folders, base first).

    ``missing_parents`` and ``pending_links`` are those of the :class:`~buildlib.layer.apply.Applied`.

    A missing directory takes mode, owner, xattrs and times of the one below it; where there is none, or a symbolic
    link, it stays 0755 root:root of 1970. (docker and buildah, too, then have a directory that hides the link.) A
    pending link becomes a copy of its target, as when a kernel overlay copies up one name of a file. If the root is
    opaque (``"."``), which the kernel does not heed, everything below it gets a whiteout. Raises :class:`LayerError`
    for a link to something that is in no layer, :class:`StoreFull`, :class:`StoreError`.
    """
    below = Merged.stack(parents)
    try:
        root = os.open(fs_dir, ROOT)
        try:
            for path in missing_parents:
                if path == ".":
                    _hide_all(root, below, userxattr)
                    below = Merged([])
                else:
                    _adopt(root, path, below)
            for path, target in pending_links:
                _copy(root, path, target, below)
        finally:
            os.close(root)
    except OSError as error:
        raise from_os_error(error, f"completing {fs_dir}") from error


def _hide_all(root: int, below: Merged, userxattr: bool) -> None:
    for name in below.names():
        try:
            whiteout.make_whiteout(name, root)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=root, follow_symlinks=False).st_mode):
                own = os.open(name, DIRECTORY, dir_fd=root)
                try:
                    whiteout.make_opaque(own, userxattr=userxattr)
                finally:
                    os.close(own)
    whiteout.remove_opaque(root)


def _adopt(root: int, path: str, below: Merged) -> None:
    """Give a directory the metadata of the one below it."""
    model = below.reach(path)
    if model is None or _is_hidden(root, path):
        return
    own = open_in_root(root, path, DIRECTORY)
    try:
        _describe(own, model.places[0])
    finally:
        os.close(own)


def _is_hidden(root: int, path: str) -> bool:
    """Whether an opaque directory of the layer itself, or a file, hides what the layers below have at ``path``."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        try:
            fd = open_in_root(root, "/".join(parts[:count]), DIRECTORY)
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            return True
        try:
            if whiteout.opaque_mark(fd) == b"y":
                return True
        finally:
            os.close(fd)
    return False


def _copy(root: int, path: str, target: str, below: Merged) -> None:
    """Let ``path`` be a copy of what is ``target`` in the layers below."""
    folder, _, name = target.strip("/").rpartition("/")
    source = below.reach(folder)
    found = source.find(name) if source is not None else None
    if found is None or _is_hidden(root, target.strip("/")):
        _fail(path, f"is a hard link to {target!r}, which is in no layer")
    model, info = found
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)):
        _fail(path, f"is a hard link to {target!r} in a lower layer, which is neither a file nor a symbolic link")
    folder, _, name = path.rpartition("/")
    parent = open_in_root(root, folder or ".", DIRECTORY)
    try:
        with suppress(FileNotFoundError):
            remove(parent, os.fsencode(name))  # what an earlier entry of the same name has left
        if stat.S_ISREG(info.st_mode):
            _copy_file(model, parent, name)
        else:
            os.symlink(os.readlink(model), name, dir_fd=parent)
            owners.give_link(name, parent, info.st_uid, info.st_gid, info.st_mtime_ns)
            os.utime(name, ns=(info.st_mtime_ns, info.st_mtime_ns), dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def _copy_file(model: str, parent: int, name: str) -> None:
    old = os.open(model, _FILE)
    try:
        new = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            while os.sendfile(new, old, None, _CHUNK):
                pass
            _describe(new, model)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _describe(fd: int, model: str) -> None:
    """Give an open file or directory the metadata of ``model``."""
    info = owners.told(os.lstat(model), model)
    owners.give(fd, info.st_uid, info.st_gid)
    os.fchmod(fd, stat.S_IMODE(info.st_mode))
    for name, value in xattrs.travelling(model):
        xattrs.put(fd, name, value)
    os.utime(fd, ns=(info.st_mtime_ns, info.st_mtime_ns))


def _fail(path: str, reason: str) -> NoReturn:
    raise LayerError(f"entry {path!r} {reason}", entry=path, reason=reason)
