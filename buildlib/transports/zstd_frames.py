"""Follows the frames of a zstd stream (RFC 8878, section 3) only to know whether it ends where a frame ends.

The decompressor's reader does not tell the end of the data from data that was cut off.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_DICTIONARY_ID = (0, 1, 2, 4)
_CONTENT_SIZE = (0, 2, 4, 8)


class Frames:
    """Is fed the compressed bytes in order; ``complete`` between two frames."""

    def __init__(self) -> None:
        self._skip = 0
        self._field = b""
        self._checksum = False
        self._next: tuple[int, Callable[[bytes], None]] = (4, self._magic)

    @property
    def complete(self) -> bool:
        """Whether no frame has begun that has not ended."""
        return not self._skip and not self._field and self._next[1] == self._magic

    def feed(self, data: bytes) -> None:
        """Follow ``data``. What is no frame is left to the decompressor to complain about."""
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            size, handle = self._next
            part = data[position : position + size - len(self._field)]
            position += len(part)
            self._field += part
            if len(self._field) == size:
                field, self._field = self._field, b""
                handle(field)

    def _magic(self, field: bytes) -> None:
        magic = int.from_bytes(field, "little")
        self._next = (1, self._descriptor) if magic == _MAGIC else (4, self._skippable)

    def _skippable(self, field: bytes) -> None:
        self._skip = int.from_bytes(field, "little")
        self._next = (4, self._magic)

    def _descriptor(self, field: bytes) -> None:
        flags = field[0]
        single = flags >> 5 & 1
        content_size = _CONTENT_SIZE[flags >> 6] or single
        self._checksum = bool(flags & 4)
        self._skip = 1 - single + _DICTIONARY_ID[flags & 3] + content_size
        self._next = (3, self._block)

    def _block(self, field: bytes) -> None:
        block = int.from_bytes(field, "little")
        kind, size = block >> 1 & 3, block >> 3
        self._skip = 1 if kind == 1 else size  # a run of one byte is stored as that byte
        if block & 1:
            if self._checksum:
                self._skip += 4
            self._next = (4, self._magic)
