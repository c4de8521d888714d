"""Owner, mode, times and extended attributes, taken from one file to another; not the marks of the overlay."""

from __future__ import annotations

import errno
import os
import stat

from buildlib.snapshot.marks import is_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AnyStr


def copy_metadata(source: AnyStr, target: AnyStr, info: os.stat_result) -> None:
    """Give ``target`` what ``source``, which is ``info``, has; neither is followed. Raises ``OSError``.

    An owner that can't be given is left as it is where no owners can be set at all, and so is an attribute that the
    file system of ``target`` can't keep.
    """
    link = stat.S_ISLNK(info.st_mode)
    give_owner(target, info)
    if not link:
        os.chmod(target, stat.S_IMODE(info.st_mode))  # after the owner, whose change clears setuid bits
    copy_xattrs(source, target)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def give_owner(target: AnyStr, info: os.stat_result) -> None:
    """Set the owner, unless it is already so, or ids can't be set here."""
    if (info.st_uid, info.st_gid) == (os.geteuid(), os.getegid()):
        return
    try:
        os.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL) or os.geteuid() == 0:
            raise


def copy_xattrs(source: AnyStr, target: AnyStr) -> None:
    """Copy the extended attributes that belong to the file."""
    try:
        names = os.listxattr(source, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for name in names:
        if is_mark(name):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENODATA):
                raise


def copy_contents(source: int, target: int, size: int) -> None:
    """The bytes of one open file, of ``size`` bytes, into another that is empty: shared where the file system can."""
    if not size:
        return
    try:
        left = size
        while left:
            count = os.copy_file_range(source, target, left)
            if not count:
                return
            left -= count
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM):
            raise
        _send(source, target)


def _send(source: int, target: int) -> None:
    """From where ``copy_file_range`` stopped, which is where both files are."""
    while os.sendfile(target, source, None, 1 << 30):
        pass
