"""Whiteouts in both forms: names in an archive (OCI image-layer spec, "Whiteouts") and marks of the kernel's overlay.

In an archive ``.wh.NAME`` deletes NAME of the layers below and ``.wh..wh..opq`` deletes all that they have in its
directory. In a folder a whiteout is a character device 0:0 and an opaque directory carries an xattr (overlayfs.rst).
"""

from __future__ import annotations

import os
import stat

from buildlib.layer import xattrs

PREFIX = b".wh."
META_PREFIX = b".wh..wh."
"""Names of AUFS's own bookkeeping, which old images contain (``.wh..wh.aufs``, ``.wh..wh.plnk``): no content."""
OPAQUE_NAME = b".wh..wh..opq"


def is_whiteout(info: os.stat_result) -> bool:
    """Whether this is the character device 0:0 that deletes its name in the layers below."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def deletes(directory: int | str, path: str, info: os.stat_result) -> bool:
    """Whether ``path`` in ``directory``, which is ``info``, is a whiteout in either form.

    An empty file with an xattr is one, too; the kernel believes it in a directory whose opaque mark is "x".
    """
    if info.st_size or not stat.S_ISREG(info.st_mode):
        return is_whiteout(info)
    if opaque_mark(directory) != b"x":
        return False
    return any(xattrs.get(path, mark) is not None for mark in xattrs.WHITEOUT)


def make_whiteout(name: str | bytes, dir_fd: int) -> None:
    """Create the whiteout of ``name``; the kernel lets anybody do so in a user namespace since Linux 5.8."""
    os.mknod(name, stat.S_IFCHR, 0, dir_fd=dir_fd)


def make_opaque(fd: int, *, userxattr: bool = False) -> None:
    """Mark an open directory: nothing of the layers below it shines through."""
    os.setxattr(fd, xattrs.OPAQUE[userxattr], b"y")


def opaque_mark(directory: int | str) -> bytes | None:
    """The overlay's opaque mark: ``b"y"``, or ``b"x"`` (there are whiteouts by xattr in the directory), or None."""
    return xattrs.get(directory, xattrs.OPAQUE[0]) or xattrs.get(directory, xattrs.OPAQUE[1])


def remove_opaque(directory: int | str) -> None:
    """Take the mark away from a directory."""
    for name in xattrs.OPAQUE:
        if xattrs.get(directory, name) == b"y":
            os.removexattr(directory, name)
