"""Walks a tree in the one order in which layers are written, by directory descriptors; it follows no symbolic link."""

from __future__ import annotations

import os
import stat
import sys

from buildlib.errors import LayerError
from buildlib.layer import whiteout, xattrs
from buildlib.linux import owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Sibling = tuple[bytes, str, os.stat_result]
    Found = tuple[bytes, str, os.stat_result, int, int]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""For the directory at which a walk begins: the caller's own path, which may be a link."""
_ENCODING = sys.getfilesystemencoding()
_OPEN_AT_ONCE = 64
"""How many ancestors are held open; those above are opened again through ".." on the way back."""


def walk(root: int, *, overlay: bool = True) -> Iterator[Found]:
    """Yield ``(path, name, stat, parent fd, own fd)`` for all below the open directory ``root``.

    Parents come before children, siblings sorted by the bytes of their names, the whiteouts of a directory before
    the rest ("SHOULD appear before sibling entries", image-layer spec). ``path`` is relative. ``own fd`` is an open
    directory, or -1. Descriptors are valid until the next step. With ``overlay`` an empty file that is a whiteout by
    xattr is shown as the device that it stands for. Raises ``OSError``, and :class:`LayerError` when directories are
    moved meanwhile.
    """
    stack = [_Frame(root, b"", _listing(root, overlay))]
    try:
        while stack:
            frame = stack[-1]
            for raw, name, info in frame.entries:
                path = frame.prefix + raw
                if stat.S_ISDIR(info.st_mode):
                    own = os.open(name, DIRECTORY, dir_fd=frame.fd)
                    stack.append(_Frame(own, path + b"/", _listing(own, overlay)))
                    yield path, name, info, frame.fd, own
                    if len(stack) > _OPEN_AT_ONCE:
                        stack[-_OPEN_AT_ONCE].suspend(root)
                    break
                yield path, name, info, frame.fd, -1
            else:
                stack.pop()
                if stack:
                    stack[-1].resume(frame.fd)
                    os.close(frame.fd)
    finally:
        for frame in stack[1:]:
            frame.suspend(root)


class _Frame:
    """A directory on the way down and what is left to visit in it."""

    __slots__ = ("entries", "fd", "identity", "prefix")

    def __init__(self, fd: int, prefix: bytes, entries: list[Sibling]) -> None:
        self.fd = fd
        self.prefix = prefix
        self.entries = iter(entries)
        self.identity = (0, 0)

    def suspend(self, root: int) -> None:
        """Close the descriptor and remember which directory it was; ``root`` is the caller's."""
        if self.fd not in (-1, root):
            info = os.fstat(self.fd)
            self.identity = (info.st_dev, info.st_ino)
            os.close(self.fd)
            self.fd = -1

    def resume(self, child: int) -> None:
        """Open the descriptor again, from a child of the directory."""
        if self.fd == -1:
            self.fd = os.open("..", DIRECTORY, dir_fd=child)
            info = os.fstat(self.fd)
            if (info.st_dev, info.st_ino) != self.identity:
                path = os.fsdecode(self.prefix)
                raise LayerError(f"{path} was moved while it was read", entry=path, reason="moved")


def _listing(fd: int, overlay: bool) -> list[Sibling]:
    found: list[Sibling] = []
    unusual = False
    with os.scandir(fd) as entries:
        for entry in entries:
            name = entry.name
            info = owners.told_at(entry.stat(follow_symlinks=False), fd, name)
            found.append((name.encode(_ENCODING, "surrogateescape"), name, info))
            if not info.st_size and overlay:
                unusual = True
    found.sort()
    if unusual:
        found = [
            (raw, name, _DEVICE if not info.st_size and whiteout.deletes(fd, xattrs.beside(fd, name), info) else info)
            for raw, name, info in found
        ]
        found.sort(key=lambda sibling: not whiteout.is_whiteout(sibling[2]))
    return found


_DEVICE = os.stat_result((stat.S_IFCHR, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": 0})
