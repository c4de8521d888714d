"""The C library: one handle, one way to call it, one way to fail. Nothing here knows what a call is for."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
"""The C library of this process; ``LIBC.name(...)`` followed by :func:`check`."""

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

# From 424 on every architecture uses the same numbers (Linux 5.0, "unified system call table").
OPEN_TREE = 428
MOVE_MOUNT = 429
FSOPEN = 430
FSCONFIG = 431
FSMOUNT = 432
CLONE3 = 435
CLOSE_RANGE = 436
OPENAT2 = 437
PIDFD_GETFD = 438
MOUNT_SETATTR = 442

# Older calls that the C library does not wrap have a number per architecture (arch/*/…/syscall*.tbl).
KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "loongarch64": 219, "ppc64le": 271, "s390x": 280}

_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long

# Pointers and lengths given to variadic or undeclared functions must be 64 bits wide.
_long = ctypes.c_long


_32_BITS = {"i386": "x86", "i586": "x86", "i686": "x86", "armv6l": "arm", "armv7l": "arm", "armv8l": "arm"}
_64_BITS = {"x86": "x86_64", "arm": "aarch64"}


def machine() -> str:
    """What kind of machine this process runs on, whatever it is made to believe (personality(2))."""
    name = os.uname().machine
    name = _32_BITS.get(name, name)
    return _64_BITS.get(name, name) if ctypes.sizeof(ctypes.c_void_p) == 8 else name


def check(result: int, path: str | bytes | None = None) -> int:
    """Return ``result``, or raise the :class:`OSError` that errno names where it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def syscall(number: int, *args: Any, path: str | bytes | None = None) -> int:
    """Call the kernel directly (syscall(2)); integers and ``None`` are widened, bytes go as C strings.

    ``path`` is only for the error.
    """
    wide = [_long(a) if isinstance(a, int) else _long(0) if a is None else a for a in args]
    return check(int(_syscall(_long(number), *wide)), path)


def encode(path: str | bytes | None) -> bytes | None:
    """A path or option as the C string the kernel wants; ``None`` stays a null pointer."""
    return None if path is None else os.fsencode(path)
