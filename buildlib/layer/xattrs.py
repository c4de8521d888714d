"""Which extended attributes travel in a layer archive, which are marks of the overlay. It never follows links."""

from __future__ import annotations

import errno
import os

from buildlib.linux.owners import PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xattr import xattr as Attributes  # noqa: N812

OVERLAY = ("trusted.overlay.", "user.overlay.")
"""The prefixes of overlayfs's own marks, without and with the mount option ``userxattr`` (overlayfs.rst)."""

OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
WHITEOUT = ("trusted.overlay.whiteout", "user.overlay.whiteout")
POINTERS = frozenset(prefix + mark for prefix in OVERLAY for mark in ("redirect", "metacopy"))
"""Marks that make a file depend on a lower layer; a folder with one of them is not a layer of its own."""

_TRAVELS = frozenset(("security.capability", "security.ima", "system.posix_acl_access", "system.posix_acl_default"))
_NOTHING = (errno.ENODATA, errno.ENOTSUP, errno.EPERM)


def travels(name: str) -> bool:
    """Whether the attribute is content of an image.

    ``user.*``, capabilities, IMA signatures and ACLs are. The marks of the overlay and our own would be forged or
    leaked; labels (``security.selinux`` and its kin) belong to the machine; the rest of ``trusted.*`` can't be read
    without root, so an image would depend on who built it.
    """
    return (name.startswith("user.") and not name.startswith((OVERLAY[1], PREFIX))) or name in _TRAVELS


def beside(dir_fd: int, name: str) -> str:
    """A path to ``name`` in an open directory, for the xattr calls, which take no ``dir_fd``; don't follow it."""
    return f"/proc/self/fd/{dir_fd}/{name}"


def names(target: int | str) -> list[str]:
    """The names of all attributes of a descriptor or of a path (not followed); none where there can't be any."""
    try:
        if isinstance(target, int):
            return os.listxattr(target)
        return os.listxattr(target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NOTHING:
            return []
        raise


def get(target: int | str, name: str) -> bytes | None:
    """The value of one attribute, or None."""
    try:
        if isinstance(target, int):
            return os.getxattr(target, name)
        return os.getxattr(target, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise


def travelling(target: int | str, present: list[str] | None = None) -> list[tuple[str, bytes]]:
    """Name and value of those attributes that travel, sorted; ``present`` is what :func:`names` said."""
    wanted = [name for name in sorted(names(target) if present is None else present) if travels(name)]
    if not wanted:
        return []
    attributes = _attributes(target)
    return [(name, attributes.get(name)) for name in wanted]


def put(target: int | str, name: str, value: bytes) -> bool:
    """Set one attribute; False where the file system can't keep it. Raises ``OSError``."""
    try:
        _attributes(target).set(name, value)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return False
    return True


def _attributes(target: int | str) -> Attributes:
    """Most files have none, so this is imported late."""
    import xattr

    return xattr.xattr(target, 0 if isinstance(target, int) else xattr.XATTR_NOFOLLOW)
