"""Rules for devices as an eBPF program for a control group v2, which has no files for them (bpf(2)).

The program is assembled here: it is a chain of comparisons, with the meaning that v1's rules have.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from buildlib.linux.libc import machine, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351}
"""The number of bpf(2) by machine."""

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_PROG_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE = 15, 6
_F_ALLOW_MULTI, _F_REPLACE = 2, 4

_TYPES = {"b": 1, "c": 2, "u": 2}  # BPF_DEVCG_DEV_BLOCK, _CHAR
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_…
_ALL = 7

# Instruction words of the kernel's Documentation/bpf/standardization/instruction-set.rst
_LOAD_32, _AND, _SHIFT_RIGHT, _MOVE, _MOVE_REGISTER = 0x61, 0x57, 0x77, 0xB7, 0xBF
_JUMP_IF_EQUAL, _JUMP_IF_NOT, _EXIT = 0x15, 0x55, 0x95


def _word(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, target | source << 4, offset, value)


def assemble(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """The program for ``rules`` of a runtime spec: of those that match the last decides; what none matches is allowed.

    A rule that allows matches an access that it covers wholly, one that denies any part of it: as v1's lists do.
    """
    # struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor
    program = [
        _word(_LOAD_32, 2, 1, 0),
        _word(_MOVE_REGISTER, 3, 2),
        _word(_AND, 2, value=0xFFFF),
        _word(_SHIFT_RIGHT, 3, value=16),
        _word(_LOAD_32, 4, 1, 4),
        _word(_LOAD_32, 5, 1, 8),
    ]
    for rule in reversed(rules):
        tests = _tests(rule)
        length = len(tests) + 2
        for place, (code, register, value) in enumerate(tests):
            jumps = code in (_JUMP_IF_EQUAL, _JUMP_IF_NOT)
            source = 3 if code == _MOVE_REGISTER else 0
            program.append(_word(code, register, source, length - place - 1 if jumps else 0, value))
        program += [_word(_MOVE, 0, value=int(bool(rule.get("allow")))), _word(_EXIT)]
        if not tests:  # it matches everything: the kernel refuses a program with words that nothing reaches
            return b"".join(program)
    return b"".join([*program, _word(_MOVE, 0, value=1), _word(_EXIT)])


def _tests(rule: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """Instructions (code, register, value) that jump on to the next rule where this one does not match."""
    kind = rule.get("type") or "a"
    if kind == "a":
        return []
    tests = [(_JUMP_IF_NOT, 2, _TYPES[kind])]
    access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    if access != _ALL:
        keep = ~access & _ALL if rule.get("allow") else access
        tests += [
            (_MOVE_REGISTER, 1, 0),
            (_AND, 1, keep),
            (_JUMP_IF_NOT if rule.get("allow") else _JUMP_IF_EQUAL, 1, 0),
        ]
    for register, name in ((4, "major"), (5, "minor")):
        number = rule.get(name)
        if number is not None and number >= 0:
            tests.append((_JUMP_IF_NOT, register, number))
    return tests


def attach(group: str, rules: Sequence[Mapping[str, Any]]) -> None:
    """Let ``rules`` hold for the v2 control group in the directory ``group``, instead of earlier ones. ``OSError``."""
    program = _load(assemble(rules))
    try:
        folder = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            old = [_bpf(_PROG_GET_FD_BY_ID, struct.pack("=III", number, 0, 0)) for number in _query(folder)]
            flags = _F_ALLOW_MULTI | (_F_REPLACE if old else 0)
            _bpf(_PROG_ATTACH, struct.pack("=IIIII", folder, program, _CGROUP_DEVICE, flags, old[0] if old else 0))
            for fd in old[1:]:
                _bpf(_PROG_DETACH, struct.pack("=III", folder, fd, _CGROUP_DEVICE))
            for fd in old:
                os.close(fd)
        finally:
            os.close(folder)
    finally:
        os.close(program)  # the group holds it


def _load(program: bytes) -> int:
    code, terms = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"Apache-2.0")
    head = struct.pack(
        "=IIQQIIQII", _PROG_TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(code), ctypes.addressof(terms),
        0, 0, 0, 0, 0,
    )  # fmt: skip
    return _bpf(_PROG_LOAD, head)


def _query(folder: int) -> list[int]:
    ids = (ctypes.c_uint32 * 64)()
    attributes = ctypes.create_string_buffer(
        struct.pack("=IIIIQI", folder, _CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), len(ids)), 64
    )
    _call(_PROG_QUERY, attributes)
    (count,) = struct.unpack_from("=I", attributes, 24)
    return list(ids[:count])


def _bpf(command: int, attributes: bytes) -> int:
    # Zeros behind are the defaults of later fields.
    return _call(command, ctypes.create_string_buffer(attributes, 128))


def _call(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    number = BPF.get(machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), "bpf")
    return syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes), path="bpf")
