"""Several layer folders as one that does what they did one after the other. Files are hard links: nothing is copied."""

from __future__ import annotations

import contextlib
import os
import stat

from buildlib.errors import StoreError
from buildlib.layer import whiteout, xattrs
from buildlib.layer.merged import Merged
from buildlib.layer.remove import remove
from buildlib.linux import owners
from buildlib.worker.copying.walk import DIRECTORY, MAX_DEPTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def merge(layers: Sequence[str], base: Sequence[str], into: str, *, userxattr: bool = False) -> None:
    """Fill the empty folder ``into`` with what ``layers`` (folders, base first) change together on the stack ``base``.

    Whiteouts stay only where the base has what they delete. Raises ``OSError``.
    """
    below = Merged.stack(base) if base else None
    target = os.open(into, DIRECTORY)
    try:
        for layer in layers:
            source = os.open(layer, DIRECTORY)
            try:
                _directory(source, target, below, userxattr, 0)
            finally:
                os.close(source)
    finally:
        os.close(target)


def _directory(source: int, target: int, below: Merged | None, userxattr: bool, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise StoreError(f"layers are nested deeper than {MAX_DEPTH} directories", hint="commit without squash")
    with os.scandir(source) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        seen = below.find(name) if below is not None else None
        if whiteout.deletes(source, xattrs.beside(source, name), info):
            _clear(target, name)
            if seen is not None:
                whiteout.make_whiteout(name, target)
        elif stat.S_ISDIR(info.st_mode):
            _enter(source, target, name, below, seen, userxattr, depth)
        else:
            _clear(target, name)
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            meant = owners.told_at(info, source, name)
            if stat.S_ISLNK(info.st_mode) and meant is not info:  # the note of it stands in its directory
                owners.give_link(name, target, meant.st_uid, meant.st_gid, info.st_mtime_ns)
    _describe(source, target)


def _enter(
    source: int, target: int, name: str, below: Merged | None, seen: object, userxattr: bool, depth: int
) -> None:
    """Merge the directory ``name``, which hides what was there if it is opaque, or if something else was."""
    inner = os.open(name, DIRECTORY, dir_fd=source)
    try:
        hides = whiteout.opaque_mark(inner) == b"y"
        there = _lstat(target, name)
        if there is not None and (hides or not stat.S_ISDIR(there.st_mode)):
            _clear(target, name)
            hides, there = True, None
        if there is None:
            os.mkdir(name, 0o700, dir_fd=target)
        new = os.open(name, DIRECTORY, dir_fd=target)
        try:
            if hides and seen is not None:
                whiteout.make_opaque(new, userxattr=userxattr)
            visible = whiteout.opaque_mark(new) != b"y"
            deeper = below.enter(name) if below is not None and visible else None
            _directory(inner, new, deeper, userxattr, depth + 1)
        finally:
            os.close(new)
    finally:
        os.close(inner)


def _clear(target: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove(target, os.fsencode(name))


def _lstat(target: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _describe(source: int, target: int) -> None:
    """Give the directory the owner, mode, attributes and times of the one that comes on top."""
    info = owners.told(os.fstat(source), source)
    owners.give(target, info.st_uid, info.st_gid)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    wanted = dict(xattrs.travelling(source, xattrs.names(source)))
    for name in xattrs.names(target):
        if xattrs.travels(name) and name not in wanted:
            os.removexattr(target, name)
    for name, value in wanted.items():
        os.setxattr(target, name, value)
    os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns))
