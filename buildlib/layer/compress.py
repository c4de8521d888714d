"""Compresses a stream of blocks so that the same bytes in always give the same bytes out. It reads and writes no files.

gzip: every block becomes its own run of deflate blocks, ended by a sync flush, so blocks are compressed in any order
and by any number of threads. Levels 1 and 2 (and the default, 1) are isal's, whose output is the same on every CPU;
its level 3 is not, so levels from 3 on, and 0 (stored), are zlib's. Where isal is not installed zlib stands in at the
same level: a correct layer with the same DiffID, but with another digest of the compressed bytes.

zstd: one frame with a checksum, made by two worker threads, for zstd gives other bytes with workers than without, and
the same with any number of them. At level 1 it takes the time of gzip and a ninth less room; level 3 takes half as
long again, for a quarter less.
"""

from __future__ import annotations

import zlib

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    Bytes = bytes | bytearray | memoryview

    class Compressor(Protocol):
        """One compressed stream: ``header``, what :meth:`compress` makes of each block, then :meth:`finish`."""

        header: bytes
        parallel: int
        """How many threads may be in :meth:`compress` at once, in any order; with 1 the order counts."""

        def compress(self, data: Bytes) -> bytes:
            """What stands for this block."""

        def note(self, data: Bytes) -> None:
            """Called once for each block, in order."""

        def finish(self) -> bytes:
            """What follows the last block."""


LEVELS = {"gzip": 1, "zstd": 1}
"""The level of compression when nobody asks for another."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952: deflate, no name, no time, no hint of the level, operating system unknown."""
_GZIP_LAST = b"\x03\x00"
"""An empty final deflate block."""


def compressor(kind: str, level: int | None = None) -> Compressor:
    """The compressor for "gzip" (level 0–9) or "zstd" (level 1–22), by default at the level in :data:`LEVELS`."""
    if kind == "gzip":
        return _Gzip(_checked(kind, level, 0, 9))
    if kind == "zstd":
        return _Zstd(_checked(kind, level, 1, 22))
    raise UsageError(f"unknown compression {kind!r}", hint="known are none, gzip and zstd")


def _checked(kind: str, level: int | None, least: int, most: int) -> int:
    if level is None:
        level = LEVELS[kind]
    if not least <= level <= most:
        raise UsageError(f"{kind} has no level {level}", hint=f"levels are {least} to {most}")
    return level


class _Gzip:
    header = _GZIP_HEADER
    parallel = 2

    def __init__(self, level: int) -> None:
        self._level = level
        self._crc = 0
        self._size = 0
        self._zlib: Any = _isal() or zlib
        self._deflate: Any = self._zlib if level in (1, 2) else zlib

    def compress(self, data: Bytes) -> bytes:
        deflate = self._deflate.compressobj(self._level, wbits=-15)
        return bytes(deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH))

    def note(self, data: Bytes) -> None:
        self._crc = self._zlib.crc32(data, self._crc)
        self._size += len(data)

    def finish(self) -> bytes:
        return _GZIP_LAST + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")


class _Zstd:
    header = b""
    parallel = 1

    def __init__(self, level: int) -> None:
        import zstandard

        frame = zstandard.ZstdCompressor(level=level, threads=2, write_checksum=True, write_content_size=False)
        self._stream = frame.compressobj()

    def compress(self, data: Bytes) -> bytes:
        return self._stream.compress(data)

    def note(self, data: Bytes) -> None:
        pass

    def finish(self) -> bytes:
        return self._stream.flush()


def crc32() -> Any:
    """The function that continues the CRC-32 of a stream: ``crc32(data, value)``."""
    return (_isal() or zlib).crc32


def _isal() -> Any:
    """The fast zlib, or None where it is not installed (it has wheels for x86-64 and arm64 only)."""
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return isal_zlib
