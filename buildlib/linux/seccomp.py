"""Putting a filter of system calls in force for this process (seccomp(2)). What is in it is somebody else's matter."""

from __future__ import annotations

import ctypes
import errno
import os

from buildlib.linux.libc import machine, syscall

_NUMBERS = {
    "x86_64": 317, "x86": 354, "aarch64": 277, "arm": 383, "riscv64": 277, "loongarch64": 277, "ppc64le": 358,
    "s390x": 348,
}  # fmt: skip
_SET_MODE_FILTER = 1

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0x01,
    "SECCOMP_FILTER_FLAG_LOG": 0x02,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 0x04,
    "SECCOMP_FILTER_FLAG_NEW_LISTENER": 0x08,
    "SECCOMP_FILTER_FLAG_TSYNC_ESRCH": 0x10,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 0x20,
}


class _Program(ctypes.Structure):
    """``struct sock_fprog``: words of eight bytes, ``struct sock_filter``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(program: bytes, flags: int = 0) -> int:
    """Put the classic BPF ``program`` in force, for this process and all that it starts, for ever.

    With FLAG_NEW_LISTENER the descriptor of the listener is returned. It needs CAP_SYS_ADMIN or no_new_privs. Raises
    ``OSError``.
    """
    number = _NUMBERS.get(machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), "seccomp")
    return syscall(number, _SET_MODE_FILTER, flags, ctypes.byref(_Program(len(program) // 8, program)), path="seccomp")
