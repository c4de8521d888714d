"""Mounts: the file-descriptor API of Linux 5.2 (fsopen, fsmount, open_tree, move_mount) and what is built on it.

A mount is made detached, set up through its descriptor and then attached, so that no half-made mount is ever visible
under a path. Nothing here knows what is mounted for whom.
"""

from __future__ import annotations

import ctypes
import os

from buildlib.linux import libc
from buildlib.linux.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, LIBC, check, encode, syscall
from buildlib.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# mount(2)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_MOVE, MS_REC = 4096, 8192, 16384
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

# mount_setattr(2), fsmount(2)
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
ATTR_ATIME_MASK, ATTR_RELATIME, ATTR_NOATIME, ATTR_STRICTATIME = 0x70, 0x0, 0x10, 0x20
ATTR_NODIRATIME, ATTR_IDMAP, ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000

_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_CLOEXEC = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, OPEN_TREE_CLONE: all bit 0
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
LONGEST_STRING = 255
"""Bytes in the value of an option that :func:`new_mount` can pass on (FSCONFIG_SET_STRING)."""


class _MountAttr(ctypes.Structure):
    """``struct mount_attr`` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """The system call of this name, section 2. Raises ``OSError`` naming the target."""
    check(LIBC.mount(encode(source), encode(target), encode(fstype), ctypes.c_ulong(flags), encode(data)), target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2); ``MNT_DETACH`` lets go at once and unmounts when the last user is gone."""
    check(LIBC.umount2(encode(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make the mount ``new_root`` the root of this mount namespace (pivot_root(2))."""
    check(LIBC.pivot_root(encode(new_root), encode(put_old)), new_root)


def set_propagation(propagation: int, target: str = "/", *, recursive: bool = True) -> None:
    """Say how mount events spread from and to ``target``: MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE."""
    mount(None, target, None, propagation | (MS_REC if recursive else 0))


def make_private(target: str = "/", *, recursive: bool = True) -> None:
    """Let no mount event spread from or to ``target`` (and, by default, what is mounted below it)."""
    set_propagation(MS_PRIVATE, target, recursive=recursive)


def new_mount(fstype: str, options: Iterable[str] = (), *, attributes: int = 0, source: str | None = None) -> int:
    """Make a file system and return it as a detached mount (a descriptor for :func:`move_mount`).

    ``options`` are those of the file system, "name" or "name=value"; ``attributes`` are ATTR_… bits. Raises
    ``OSError`` with the kernel's own words where it left some in the context's log.
    """
    context = syscall(libc.FSOPEN, fstype.encode(), _CLOEXEC, path=fstype)
    try:
        if source is not None:
            _configure(context, f"source={source}")
        for option in options:
            _configure(context, option)
        _fsconfig(context, _FSCONFIG_CMD_CREATE, None, None, fstype)
        return syscall(libc.FSMOUNT, context, _CLOEXEC, attributes, path=fstype)
    finally:
        os.close(context)


def _configure(context: int, option: str) -> None:
    name, equals, value = option.partition("=")
    if equals:
        _fsconfig(context, _FSCONFIG_SET_STRING, name, value, option)
    else:
        _fsconfig(context, _FSCONFIG_SET_FLAG, name, None, option)


def _fsconfig(context: int, command: int, name: str | None, value: str | None, what: str) -> None:
    try:
        syscall(libc.FSCONFIG, context, command, encode(name), encode(value), 0, path=what)
    except OSError as error:
        said = []
        with suppress(OSError):  # ENODATA: nothing more was said
            while True:
                said.append(os.read(context, 1024).decode(errors="replace").strip())
        if said:
            raise OSError(error.errno, f"{error.strerror} ({'; '.join(said)})", what) from None
        raise


def open_tree(path: str, *, dir_fd: int = AT_FDCWD, clone: bool = True, recursive: bool = True) -> int:
    """Take hold of the mount at ``path`` (open_tree(2)); an empty path means ``dir_fd`` itself.

    With ``clone`` the result is a new detached mount that shows the same tree from ``path`` down (a bind mount that
    is nowhere yet), with ``recursive`` including what is mounted below. It may be a single file.
    """
    flags = os.O_CLOEXEC | (AT_EMPTY_PATH if not path else 0)
    if clone:
        flags |= _OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0)
    return syscall(libc.OPEN_TREE, dir_fd, encode(path), flags, path=path)


def move_mount(mount_fd: int, target: str, *, dir_fd: int = AT_FDCWD) -> None:
    """Attach the detached mount ``mount_fd`` at ``target``, or on ``dir_fd`` itself where ``target`` is empty."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | (_MOVE_MOUNT_T_EMPTY_PATH if not target else 0)
    syscall(libc.MOVE_MOUNT, mount_fd, b"", dir_fd, encode(target), flags, path=target)


def set_attributes(
    path: str,
    *,
    dir_fd: int = AT_FDCWD,
    add: int = 0,
    clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
    user_namespace: int = 0,
) -> None:
    """Change attributes of a mount, or of all at and below it at once (mount_setattr(2), Linux 5.12).

    ``add`` and ``clear`` are ATTR_… bits, an empty path means ``dir_fd`` itself; ``user_namespace`` is a descriptor
    that goes with ATTR_IDMAP.
    """
    if add & ATTR_ATIME_MASK:
        clear |= ATTR_ATIME_MASK
    attr = _MountAttr(add, clear, propagation, user_namespace)
    flags = (AT_RECURSIVE if recursive else 0) | (AT_EMPTY_PATH if not path else 0)
    size = ctypes.sizeof(attr)
    syscall(libc.MOUNT_SETATTR, dir_fd, encode(path), flags, ctypes.byref(attr), size, path=path)


def bind(source: str, target: str, *, recursive: bool = True, attributes: int = 0) -> None:
    """Show the tree ``source`` at ``target`` also, with ATTR_… bits set on all of it; it shares no mount events."""
    fd = open_tree(source, recursive=recursive)
    try:
        set_attributes("", dir_fd=fd, add=attributes, propagation=MS_PRIVATE, recursive=recursive)
        move_mount(fd, target)
    finally:
        os.close(fd)


PROC_MAGIC, SYSFS_MAGIC, CGROUP2_MAGIC, TMPFS_MAGIC = 0x9FA0, 0x62656572, 0x63677270, 0x01021994
"""Types of file systems (linux/magic.h)."""


def filesystem_type(fd: int) -> int:
    """What kind of file system ``fd`` lies on: a number like :data:`PROC_MAGIC` (fstatfs(2), the field f_type)."""
    buffer = (ctypes.c_long * 64)()
    check(LIBC.fstatfs(fd, buffer))
    return int(buffer[0]) & 0xFFFFFFFF


def is_mount_point(path: str, process: int | str = "self") -> bool:
    """Whether something is mounted exactly at ``path`` (which exists), also a bind mount of the same file system.

    It is looked up in the mount namespace of ``process``.
    """
    name = os.path.realpath(path)
    try:
        with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            # mountinfo(5): the fifth field, with space, tab, newline and backslash as octal
            return any(_unescape(line.split(" ", 5)[4]) == name for line in lines)
    except FileNotFoundError:
        return os.path.ismount(name)


def _unescape(field: str) -> str:
    if "\\" not in field:
        return field
    for code, character in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        field = field.replace("\\" + code, character)
    return field
