"""Streams compressed and decompressed on the way, by pulling: what is read from them is made of what they read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from buildlib.content import Readable
    from buildlib.layer.compress import Compressor

PIECE = 1 << 20


def compression_of(head: bytes) -> str:
    """The compression that the first ten bytes show: ``none``, ``gzip``, ``bzip2``, ``xz`` or ``zstd``."""
    from buildlib.layer.decompress import detect

    # The first name in a plain tar may begin like bzip2; but not go on with its first block, or the end of no blocks.
    if head.startswith(b"BZh") and head[4:10] not in (b"1AY&SY", b"\x17rE8P\x90"):
        return "none"
    return detect(head) or "none"


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

    It is read to its very end, so that a verifying stream verifies. Raises :class:`LayerError` for damaged data.
    """
    from buildlib.layer.decompress import decompress

    head = b""
    while len(head) < 10 and (data := stream.read(PIECE)):
        head += data
    compression = compression_of(head)
    pieces = decompress(None if compression == "none" else compression, _pieces(head, stream))
    return Pulled(pieces, getattr(stream, "close", _nothing))


def packed(stream: Readable, compression: str, level: int | None = None) -> Readable:
    """``stream`` compressed with ``gzip`` or ``zstd``; the same bytes each time, see :mod:`buildlib.layer.compress`."""
    from buildlib.layer.compress import compressor

    return Pulled(_packed(stream, compressor(compression, level)), getattr(stream, "close", _nothing))


def _nothing() -> None:
    pass


def _pieces(head: bytes, stream: Readable) -> Iterator[bytes]:
    if head:
        yield head
    while data := stream.read(PIECE):
        yield data


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
