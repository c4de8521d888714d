"""An interpreter for filters of system calls, and libseccomp's compiler to compare ours with."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALLOW, KILL_PROCESS, KILL_THREAD, TRAP = 0x7FFF0000, 0x80000000, 0, 0x30000
EPERM, ENOSYS, EINVAL = 0x50001, 0x50026, 0x50016
NOTIFY, LOG = 0x7FC00000, 0x7FFC0000


def decide(program: bytes, machine: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What the program answers to a call, as the kernel would run it (net/core/filter.c)."""
    padded = [*arguments, *[0] * 6][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, machine, 0, *padded)
    words = [struct.unpack_from("<HBBI", program, place) for place in range(0, len(program), 8)]
    place = held = 0
    while True:
        code, yes, no, operand = words[place]
        place += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, operand)
        elif code == 0x54:
            held &= operand
        elif code == 0x05:
            place += operand
        elif code in (0x15, 0x25, 0x35):
            holds = held == operand if code == 0x15 else held > operand if code == 0x25 else held >= operand
            place += yes if holds else no
        else:
            assert code == 0x06, hex(code)
            return int(operand)


class _Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


_OPERATORS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}


def by_libseccomp(default: int, rules: Sequence[Mapping[str, Any]], action: Any, tokens: Sequence[int]) -> bytes:
    """The same rules compiled by libseccomp for the machines ``tokens``; the first of them is this one."""
    name = ctypes.util.find_library("seccomp")
    if name is None:
        pytest.skip("there is no libseccomp to compare with")
    library = ctypes.CDLL(name)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    for token in tokens[1:]:
        assert library.seccomp_arch_add(context, ctypes.c_uint32(token)) == 0
    for rule in rules:
        compares = [
            _Compare(a["index"], _OPERATORS[a["op"][9:]], a["value"], a.get("valueTwo") or 0) for a in rule["args"]
        ]
        for call in rule["names"]:
            number = library.seccomp_syscall_resolve_name(call.encode())
            if number == -1 or action(rule) == default:
                continue
            array = (_Compare * len(compares))(*compares)
            library.seccomp_rule_add_array(context, ctypes.c_uint32(action(rule)), number, len(compares), array)
    fd = os.memfd_create("bpf")
    try:
        assert library.seccomp_export_bpf(context, fd) == 0
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)
        library.seccomp_release(context)
