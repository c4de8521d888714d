"""When a process gets a processor and a disk, and as what kind of machine it sees this one. Nothing here decides."""

from __future__ import annotations

import ctypes
import errno
import os

from buildlib.linux.libc import LIBC, check, machine, syscall

_NUMBERS = {
    "x86_64": (314, 251),
    "aarch64": (274, 30),
    "riscv64": (274, 30),
    "loongarch64": (274, 30),
    "ppc64le": (355, 273),
    "s390x": (345, 282),
}
"""sched_setattr(2) and ioprio_set(2) by machine."""

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
POLICY_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_IOPRIO_WHO_PROCESS = 1


class _Attributes(ctypes.Structure):
    """``struct sched_attr`` of sched_setattr(2), its first 48 bytes."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def _number(which: int, name: str) -> int:
    numbers = _NUMBERS.get(machine())
    if numbers is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name)
    return numbers[which]


def set_scheduler(
    policy: int,
    flags: int = 0,
    *,
    nice: int = 0,
    priority: int = 0,
    runtime: int = 0,
    deadline: int = 0,
    period: int = 0,
) -> None:
    """Set how this process is scheduled (sched_setattr(2)); times in nanoseconds. Raises ``OSError``."""
    size = ctypes.sizeof(_Attributes)
    attributes = _Attributes(size, policy, flags, nice, priority, runtime, deadline, period)
    syscall(_number(0, "sched_setattr"), 0, ctypes.byref(attributes), 0)


def set_io_priority(kind: int, priority: int) -> None:
    """Set the class and the priority (0, the highest, … 7) of this process's disk requests (ioprio_set(2))."""
    syscall(_number(1, "ioprio_set"), _IOPRIO_WHO_PROCESS, 0, kind << 13 | priority)


def set_personality(persona: int) -> None:
    """Set the execution domain (personality(2)): 8 is a 32-bit machine."""
    check(LIBC.personality(ctypes.c_ulong(persona)))
