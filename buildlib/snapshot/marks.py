"""The marks of an overlay on the disk: whiteouts and opaque directories, read in every form, made in the one allowed.

The kernel's own (Documentation/filesystems/overlayfs.rst): a whiteout is a character device 0:0; where such a device
can't be made, because the folder lies on an overlay itself, it is an empty file with an xattr in a directory whose
opaque mark is "x". Paths may be ``bytes`` or ``str``.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AnyStr

TRUSTED, USER = "trusted.overlay.", "user.overlay."
_NOTHING = (errno.ENODATA, errno.ENOTSUP, errno.EPERM)


def is_mark(name: str) -> bool:
    """Whether the xattr ``name`` is the overlay's own, and no content of the file."""
    return name.startswith((TRUSTED, USER))


def is_whiteout(place: AnyStr, path: AnyStr, info: os.stat_result) -> bool:
    """Whether ``path`` in the directory ``place``, which is ``info``, deletes its name below."""
    if stat.S_ISCHR(info.st_mode):
        return info.st_rdev == 0
    if info.st_size or not stat.S_ISREG(info.st_mode) or _mark(place, "opaque") != b"x":
        return False
    return _mark(path, "whiteout") is not None


def is_opaque(path: AnyStr) -> bool:
    """Whether nothing of the layers below shines through the directory ``path``."""
    return _mark(path, "opaque") == b"y"


def _mark(path: AnyStr, name: str) -> bytes | None:
    for prefix in (TRUSTED, USER):
        try:
            return os.getxattr(path, prefix + name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOTHING:
                raise
    return None


def make_whiteout(path: AnyStr, *, userxattr: bool) -> None:
    """Make a whiteout at ``path``, where nothing is. Raises ``OSError``."""
    try:
        os.mknod(path, stat.S_IFCHR, 0)
    except PermissionError:
        # overlayfs lets nobody make one in a file system of its own (ovl_mknod()); the other form it believes as well.
        prefix = USER if userxattr else TRUSTED
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            os.setxattr(path, prefix + "whiteout", b"y")
            place = os.path.dirname(path)
            if not is_opaque(place):
                os.setxattr(place, prefix + "opaque", b"x")
        except OSError:
            os.unlink(path)
            raise


def make_opaque(path: AnyStr, *, userxattr: bool) -> None:
    """Mark the directory ``path``: nothing of the layers below it is seen in it."""
    os.setxattr(path, (USER if userxattr else TRUSTED) + "opaque", b"y")
