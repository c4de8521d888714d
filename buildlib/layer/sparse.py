"""Sparse files in tar: the old GNU format and pax versions 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files").

A map is a list of ``(offset, length)``: where the stored bytes, one after the other, belong.
"""

from __future__ import annotations

from buildlib.layer.fields import decimal, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Map = list[tuple[int, int]]

_MOST = 1 << 20
"""More pieces than any real file has; the map of a hostile one must not fill the memory."""


def old_gnu(block: bytes, take: Callable[[], bytes]) -> tuple[Map, int]:
    """Map and real size of a header of type ``S``; ``take`` gives the blocks that continue the map."""
    size = number(block[483:495])
    pieces, more = _pairs(block[386:482]), block[482]
    while more:
        block = take()
        pieces += _pairs(block[:504])
        more = block[504]
        if len(pieces) > _MOST:
            raise ValueError("a sparse map with too many pieces")
    return pieces, size


def _pairs(data: bytes) -> Map:
    found = []
    for start in range(0, len(data) - 23, 24):
        if not data[start : start + 12].strip(b"\x00 "):
            break
        found.append((number(data[start : start + 12]), number(data[start + 12 : start + 24])))
    return found


def pax_0(records: list[tuple[bytes, bytes]]) -> Map:
    """The map of version 0.0 (repeated records) or 0.1 (one record with a list)."""
    listed = [value for key, value in records if key == b"GNU.sparse.map"]
    if listed:
        numbers = [decimal(text) for text in listed[-1].split(b",")] if listed[-1] else []
    else:
        numbers = [decimal(value) for key, value in records if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
    return _paired(numbers)


def pax_1(take: Callable[[], bytes]) -> Map:
    """The map of version 1.0, which stands in front of the data; ``take`` gives the next 512 bytes of them."""
    text = b""

    def line() -> int:
        nonlocal text
        while b"\n" not in text:
            if len(text) > 32:
                raise ValueError("a sparse map with a number that does not end")
            text += take()
        one, _, text = text.partition(b"\n")
        return decimal(one)

    count = line()
    if not 0 <= count <= _MOST:
        raise ValueError("a sparse map with too many pieces")
    return _paired([line() for _ in range(2 * count)])


def _paired(numbers: list[int]) -> Map:
    if len(numbers) % 2:
        raise ValueError("a sparse map with an odd count of numbers")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def check(pieces: Map, stored: int, size: int) -> Map:
    """The map without its empty pieces, if it is in order, within ``size`` and made for ``stored`` bytes."""
    end = total = 0
    for offset, length in pieces:
        if offset < end or length < 0:
            raise ValueError("a sparse map that is not in order")
        end = offset + length
        total += length
    if end > size or total != stored:
        raise ValueError("a sparse map that does not fit its file")
    return [(offset, length) for offset, length in pieces if length]
