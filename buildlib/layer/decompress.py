"""Recognises compressed streams by their first bytes and decompresses them piecewise, in bounded memory. Pure, no I/O.

A stream may have several members (gzip, bzip2, xz, zstd frames) and zeros behind the last one. Anything else behind
it is an error, as is an end in the middle. There is no limit on the size: a layer is as large as it is, and who unpacks
it runs out of disk long before it harms more than itself; only the memory for it is bounded.
"""

from __future__ import annotations

import zlib

from buildlib.errors import LayerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

HEAD = 10
"""How many bytes :func:`detect` wants to see."""
PIECE = 1 << 18
_ZSTD_WINDOW = 1 << 27
"""What the zstd program accepts without being asked."""
_ZSTD_INPUT = 1 << 10
"""zstd gives back all that its input stands for, up to 32,768 times as much: so it gets little at a time."""
_XZ_MEMORY = 1 << 28


def detect(head: bytes) -> str | None:
    """What the first bytes say: "gzip", "bzip2", "xz" or "zstd"; None where they are none of these."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(b"BZh"):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    # A frame, or a skippable one, as zstd:chunked and pzstd put in front (RFC 8878).
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return "zstd"
    return None


def decompress(compression: str | None, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The decompressed stream in pieces of about 256 KiB; ``compression`` is what :func:`detect` said.

    Raises :class:`LayerError` for corrupt, truncated or trailing data, and when it would need too much memory.
    """
    if compression is None:
        yield from pieces
        return
    decoder, failures = _decoders(compression)
    try:
        yield from _members(decoder, pieces)
    except EOFError as error:
        raise LayerError(f"the {compression} stream {error}", reason="truncated") from None
    except failures as error:
        raise LayerError(f"the {compression} stream is corrupt: {error}", reason="corrupt") from error


def _members(new: Callable[[], Any], pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder = new()
    began = False
    for piece in pieces:
        # Zeros between and behind members are padding, as gzip(1) and xz(1) have it.
        while piece := piece if began else piece.lstrip(b"\0"):
            began = True
            while True:
                data = decoder.decompress(piece, PIECE)
                piece = b""
                if data:
                    yield data
                if decoder.eof or decoder.needs_input:
                    break
            if not decoder.eof:
                break
            piece = decoder.unused_data
            decoder, began = new(), False
    if began:
        raise EOFError("ends early")


def _decoders(compression: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    """A maker of decoders with the interface of ``bz2.BZ2Decompressor``, and the errors that they raise."""
    if compression == "gzip":
        try:
            from isal import igzip_lib
        except ImportError:
            return _Zlib, (zlib.error,)
        failure: Any = igzip_lib.error
        return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), (failure,)
    if compression == "bzip2":
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError)
    if compression == "xz":
        import lzma

        return lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), (lzma.LZMAError,)
    import zstandard

    return _Zstd, (zstandard.ZstdError,)


class _Zlib:
    """zlib with the interface of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        result = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        # With a full result there may be more to come although all input is taken.
        self.needs_input = len(result) < max_length
        return result


class _Zstd:
    """zstandard with the interface of the others; it is fed in small portions."""

    def __init__(self) -> None:
        import zstandard

        self._inner = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._input = b""
        self._position = 0

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._position >= len(self._input)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data + self._input[self._position :]

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._input, self._position = self._input[self._position :] + data, 0
        found: list[bytes] = []
        size = 0
        while size < max_length and not self.needs_input and not self.eof:
            found.append(self._inner.decompress(self._input[self._position : self._position + _ZSTD_INPUT]))
            size += len(found[-1])
            self._position += _ZSTD_INPUT
        return b"".join(found)
