"""Filling a new file system with what its mount point held: owners, modes, times and extended attributes as well.

Every step is by descriptor and through no link.
"""

from __future__ import annotations

import errno
import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20


def copy_up(spot: int, mounted: int) -> None:
    """Copy the contents of the directory ``spot``, and its attributes, into the new file system ``mounted``."""
    source, target = (os.open(".", _DIRECTORY, dir_fd=fd) for fd in (spot, mounted))
    try:
        _directory(source, target)
    finally:
        os.close(source)
        os.close(target)


def _directory(source: int, target: int) -> None:
    for name in os.listdir(source):
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            _both(name, source, target, _DIRECTORY, _DIRECTORY, _directory)
        elif stat.S_ISREG(info.st_mode):
            read, write = os.O_RDONLY | os.O_NOFOLLOW, os.O_WRONLY | os.O_CREAT | os.O_EXCL
            _both(name, source, target, read | os.O_CLOEXEC, write | os.O_CLOEXEC, _file)
        elif stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
        elif not stat.S_ISSOCK(info.st_mode):
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
            os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    _attributes(source, target)


def _both(name: str, source: int, target: int, read: int, write: int, then: object) -> None:
    assert callable(then)
    inner = os.open(name, read, dir_fd=source)
    try:
        made = os.open(name, write, 0o600, dir_fd=target)
        try:
            then(inner, made)
        finally:
            os.close(made)
    finally:
        os.close(inner)


def _file(source: int, target: int) -> None:
    while data := os.read(source, _CHUNK):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
    _attributes(source, target)


def _attributes(source: int, target: int) -> None:
    info = os.fstat(source)
    os.fchown(target, info.st_uid, info.st_gid)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(source):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):  # user.* on a tmpfs before Linux 6.6
                raise
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
