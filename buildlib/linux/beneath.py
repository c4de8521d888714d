"""Paths resolved beneath a root at use time (openat2(2)), so that no symbolic link of an image reaches the host.

Nothing here trusts an earlier look at a path: what is opened is what is used.
"""

from __future__ import annotations

import ctypes
import errno
import os

from buildlib.linux.libc import OPENAT2, syscall
from buildlib.linux.owners import give

NO_XDEV = 0x01
"""Refuse to cross a mount point."""
NO_MAGICLINKS = 0x02
"""Refuse links like /proc/self/fd/3 (IN_ROOT and BENEATH do it anyway)."""
NO_SYMLINKS = 0x04
"""Refuse every symbolic link on the way, and at the end (unless O_PATH and O_NOFOLLOW are given)."""
BENEATH = 0x08
"""Refuse (EXDEV) whatever would leave the root: absolute paths, absolute links, too many ``..``."""
IN_ROOT = 0x10
"""Treat the root as ``/``, as chroot does: absolute links and ``..`` end there."""

_RACES = 128
"""How often a look-up is tried again when the kernel saw a rename race with it (EAGAIN)."""


class _How(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root_fd: int, path: str | bytes, flags: int, mode: int = 0, *, resolve: int = IN_ROOT) -> int:
    """Open ``path`` below the directory ``root_fd`` and return a file descriptor (always O_CLOEXEC).

    With the default :data:`IN_ROOT` the directory acts as the root of the file system: an absolute path or link
    starts there and ``..`` stops there. Raises ``OSError``; EXDEV and ELOOP say that ``resolve`` forbade a step.
    Needs Linux 5.6.
    """
    name = os.fsencode(path)
    how = _How(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_RACES):
        try:
            return syscall(OPENAT2, root_fd, name, ctypes.byref(how), ctypes.sizeof(how), path=path)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def open_file(root_fd: int, path: str) -> int:
    """Open a regular file below ``root_fd`` for reading; what an image has put there instead is never opened.

    Opening a FIFO blocks, and opening a device can do things: so it is looked at before (O_PATH), and then opened
    through what was looked at. Raises ``OSError``: EINVAL for what is not a regular file.
    """
    with _Fd(open_in_root(root_fd, path, os.O_PATH)) as spot:
        if os.fstat(spot).st_mode & 0o170000 != 0o100000:
            raise OSError(errno.EINVAL, "not a regular file", path)
        return os.open(f"/proc/self/fd/{spot}", os.O_RDONLY | os.O_CLOEXEC)


def make_dirs(root_fd: int, path: str, mode: int = 0o755, *, uid: int = -1, gid: int = -1) -> tuple[int, list[str]]:
    """Make the missing directories of ``path`` below ``root_fd``: (O_PATH fd of the last one, paths that were made).

    Links that exist are followed within the root, also those at which nothing is yet: the directory is made where they
    point. Each new directory gets exactly ``mode`` (whatever the umask), and ``uid`` and ``gid`` where not -1.
    Raises ``OSError``: ENOTDIR where a file is in the way, ELOOP for a circle of links.
    """
    made: list[str] = []
    for spot in missing(root_fd, path):
        parent, name = os.path.split(spot)
        with _Fd(open_in_root(root_fd, parent or "/", os.O_PATH | os.O_DIRECTORY)) as parent_fd:
            os.mkdir(name, 0o700, dir_fd=parent_fd)
            made.append(spot)
            with _Fd(open_in_root(parent_fd, name, os.O_RDONLY | os.O_DIRECTORY, resolve=NO_SYMLINKS)) as fd:
                if uid != -1 or gid != -1:
                    give(fd, uid, gid)
                os.fchmod(fd, mode)
    return open_in_root(root_fd, path or "/", os.O_PATH | os.O_DIRECTORY), made


def missing(root_fd: int, path: str) -> list[str]:
    """The components of ``path`` below ``root_fd`` that do not exist, outermost first; empty if it is all there.

    Each is given as the place where it would be made: absolute from the root, through no link. So
    ``/etc/resolv.conf`` -> ``../run/resolv.conf`` in a tree with an empty ``/run`` gives ``["/run/resolv.conf"]``.
    Raises ``OSError``: ENOTDIR where a file is in the way, ELOOP for a circle of links.
    """
    rest = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done: list[str] = []
    gone: list[str] = []
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            done = done[:-1]
            gone = gone[:-1]
            continue
        spot = "/" + "/".join([*done, part])
        if gone:
            done.append(part)
            gone.append(spot)
            continue
        try:
            fd = open_in_root(root_fd, spot, os.O_PATH | os.O_NOFOLLOW, resolve=IN_ROOT | NO_SYMLINKS)
        except FileNotFoundError:
            done.append(part)
            gone.append(spot)
            continue
        with _Fd(fd):
            if not _is_link(fd):
                done.append(part)
                continue
            links += 1
            if links > 40:  # as the kernel, path_resolution(7)
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            link = os.readlink("", dir_fd=fd)
        if link.startswith("/"):
            done = []
        rest += [step for step in reversed(link.split("/")) if step not in ("", ".")]
    return gone


def _is_link(fd: int) -> bool:
    return os.fstat(fd).st_mode & 0o170000 == 0o120000


class _Fd(int):
    """A descriptor that is closed at the end of a ``with`` block."""

    def __enter__(self) -> _Fd:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self)
