"""statx(2), for the one thing that stat(2) does not tell: when a file was made."""

from __future__ import annotations

import ctypes
import os
from sys import byteorder

from buildlib.linux.libc import AT_FDCWD, AT_SYMLINK_NOFOLLOW, LIBC, check

_BTIME = 0x800
_MASK, _SECONDS, _NANOSECONDS = 0, 0x50, 0x58
"""Where stx_mask and stx_btime stand in ``struct statx``."""


def birth_time(path: str | bytes) -> int | None:
    """When ``path``, which is not followed, was made, in nanoseconds since 1970; None if the file system can't tell.

    Raises ``OSError``.
    """
    if not hasattr(LIBC, "statx"):
        return None
    buffer = ctypes.create_string_buffer(0x100)
    check(LIBC.statx(AT_FDCWD, os.fsencode(path), AT_SYMLINK_NOFOLLOW, _BTIME, buffer), path)
    raw = buffer.raw
    if not int.from_bytes(raw[_MASK : _MASK + 4], byteorder) & _BTIME:
        return None
    seconds = int.from_bytes(raw[_SECONDS : _SECONDS + 8], byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(raw[_NANOSECONDS : _NANOSECONDS + 4], byteorder)
