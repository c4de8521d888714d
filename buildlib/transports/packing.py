"""Streams compressed and decompressed on the way, by pulling: what is read from them is made of what they read."""

from __future__ import annotations

import zlib

from buildlib.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import Any

    from buildlib.content import Readable
    from buildlib.layer.compress import Compressor

PIECE = 1 << 20
MAX_WINDOW = 1 << 27
"""Bytes of memory that a zstd frame may demand for its window: what ``zstd --long`` uses; --ultra stays below."""
MAX_XZ_MEMORY = 1 << 29
MAGICS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def compression_of(head: bytes) -> str:
    """The compression that the first ten bytes show: ``none``, ``gzip``, ``bzip2``, ``xz`` or ``zstd``."""
    if head.startswith(b"BZh") and head[4:10] not in (b"1AY&SY", b"\x17rE8P\x90"):  # a name in a plain tar may begin like this
        return "none"
    return next((name for magic, name in MAGICS.items() if head.startswith(magic)), "none")


class Pulled:
    """The pieces of an iterator as a stream."""

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.close = close

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, everything when negative, nothing at the end."""
        if size < 0:
            return b"".join([self._rest, *self._pieces])
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)


def unpacked(stream: Readable) -> Readable:
    """``stream`` decompressed, if its first bytes show that it is compressed.

    It is read to its very end, so that a verifying stream verifies. Raises :class:`FormatError` for damaged data.
    """
    head = b""
    while len(head) < 10 and (data := stream.read(PIECE)):
        head += data
    return Pulled(_errors(compression_of(head), head, stream), getattr(stream, "close", _nothing))


def packed(stream: Readable, compression: str, level: int | None = None) -> Readable:
    """``stream`` compressed with ``gzip`` or ``zstd``; the same bytes each time, see :mod:`buildlib.layer.compress`."""
    from buildlib.layer.compress import compressor

    return Pulled(_packed(stream, compressor(compression, level)), getattr(stream, "close", _nothing))


def _nothing() -> None:
    pass


def _errors(compression: str, head: bytes, stream: Readable) -> Iterator[bytes]:
    """Decompressed pieces; whatever the decompressors raise becomes a :class:`FormatError`."""
    if compression == "none":
        if head:
            yield head
        while data := stream.read(PIECE):
            yield data
        return
    try:
        yield from (_unzstd if compression == "zstd" else _members)(compression, head, stream)
    except Exception as error:
        # Each library has errors of its own, and bz2 an OSError without number; all others are not about the data.
        module = type(error).__module__.partition(".")[0]
        known = module in ("zlib", "igzip_lib", "zstandard", "lzma", "_lzma")
        if known or isinstance(error, (EOFError, ValueError)) or (isinstance(error, OSError) and error.errno is None):
            raise FormatError(f"damaged {compression} data: {error}", hint="fetch the file again") from error
        raise


def _members(compression: str, head: bytes, stream: Readable) -> Iterator[bytes]:
    """gzip, bzip2 and xz: one compressed member after the other, then perhaps zeros, as gzip(1) and xz(1) allow."""
    data = head
    while data:
        decoder = _decoder(compression)
        ended = False
        while not decoder.eof:
            # The zlib way hands back what it has not used yet, the way of bz2 and lzma keeps it until it wants more.
            if not data and getattr(decoder, "needs_input", True):
                data = stream.read(PIECE // 4)
                ended = not data
            piece = decoder.decompress(data, PIECE)
            data = getattr(decoder, "unconsumed_tail", b"")
            if piece:
                yield piece
            elif ended and not decoder.eof:
                raise EOFError("it ends early")
        data = decoder.unused_data.lstrip(b"\0")
        while not data and (more := stream.read(PIECE)):
            data = more.lstrip(b"\0")


def _decoder(compression: str) -> Any:
    if compression == "gzip":
        return _deflate().decompressobj(wbits=31)
    if compression == "bzip2":
        import bz2

        return bz2.BZ2Decompressor()
    import lzma

    return lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)


def _unzstd(compression: str, head: bytes, stream: Readable) -> Iterator[bytes]:
    import zstandard

    watched = _Watched(head, stream)
    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
        watched,  # type: ignore[arg-type]  # only read() is used
        read_size=PIECE,
        read_across_frames=True,
    )
    while data := reader.read(PIECE):
        yield data
    if not watched.frames.complete:
        raise EOFError("it ends early")


class _Watched:
    """Bytes that were read already, and the rest; the frames in them are followed."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        from buildlib.transports.zstd_frames import Frames

        self.frames = Frames()
        self._head = head
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        head, self._head = self._head, b""
        data = head or self._stream.read(size)
        self.frames.feed(data)
        return data


def _packed(stream: Readable, packer: Compressor) -> Iterator[bytes]:
    from concurrent.futures import ThreadPoolExecutor

    from buildlib.layer.blocks import SIZE  # the same blocks as there, so both make the same bytes of a layer

    if packer.header:
        yield packer.header
    with ThreadPoolExecutor(packer.parallel) as pool:
        waiting: list[Future[bytes]] = []
        while block := _exactly(stream, SIZE):
            waiting.append(pool.submit(packer.compress, block))
            packer.note(block)
            if len(waiting) > 2 * packer.parallel:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
    yield packer.finish()


def _exactly(stream: Readable, size: int) -> bytes:
    """``size`` bytes, fewer only at the end: so blocks do not depend on how the bytes arrive."""
    data = stream.read(size)
    if 0 < len(data) < size:
        pieces = [data]
        while len(data) and (missing := size - sum(map(len, pieces))):
            data = stream.read(missing)
            pieces.append(data)
        return b"".join(pieces)
    return data


def _deflate() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel for this processor
        return zlib
    return isal_zlib
