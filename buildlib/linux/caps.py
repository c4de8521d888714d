"""Capabilities of this process: names, numbers, and setting all five sets exactly (capabilities(7))."""

from __future__ import annotations

import ctypes
import errno

from buildlib.linux.libc import LIBC, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""Every capability; its place in the tuple is its number (linux/capability.h)."""

_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    """``struct __user_cap_header_struct``."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    """``struct __user_cap_data_struct``: one for the low 32 capabilities, one for the high."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def mask(names: Iterable[str]) -> int:
    """The bit set of capability names ("CAP_CHOWN" or "chown"); ``ValueError`` for a name that is none."""
    bits = 0
    for name in names:
        full = name.upper()
        bits |= 1 << NAMES.index(full if full.startswith("CAP_") else f"CAP_{full}")
    return bits


def drop_bounding(keep: int) -> None:
    """Take every capability outside the bit set ``keep`` out of the bounding set; for those in it CAP_SETPCAP."""
    for number in range(64):
        if keep >> number & 1:
            continue
        there = LIBC.prctl(_PR_CAPBSET_READ, ctypes.c_ulong(number), 0, 0, 0)
        if there < 0:  # the first number that this kernel does not know
            return
        if there:
            check(LIBC.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0))


def set_capabilities(*, effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets of this process exactly (capset(2)). None can hold what ``permitted`` holds not yet."""
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    for half in (0, 1):
        shift = 32 * half
        data[half].effective = effective >> shift & 0xFFFFFFFF
        data[half].permitted = permitted >> shift & 0xFFFFFFFF
        data[half].inheritable = inheritable >> shift & 0xFFFFFFFF
    check(LIBC.capset(ctypes.byref(header), data))


def get_permitted() -> int:
    """The permitted set of this process (capget(2))."""
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    check(LIBC.capget(ctypes.byref(header), data))
    return int(data[0].permitted) | int(data[1].permitted) << 32


def set_ambient(ambient: int) -> None:
    """Set the ambient set exactly; each must be permitted and inheritable."""
    zero = ctypes.c_ulong(0)
    result = LIBC.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), zero, zero, zero)
    if result < 0 and ctypes.get_errno() == errno.EINVAL and not ambient:
        return
    check(result)
    for number in range(64):
        if ambient >> number & 1:
            raising = ctypes.c_ulong(_PR_CAP_AMBIENT_RAISE)
            check(LIBC.prctl(_PR_CAP_AMBIENT, raising, ctypes.c_ulong(number), zero, zero))
