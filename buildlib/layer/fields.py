"""Decodes the fields of tar headers and the records of pax headers. Pure; a ``ValueError`` says what is wrong."""

from __future__ import annotations

import zlib

_DIGITS = 9


def number(field: bytes) -> int:
    """A numeric header field: octal, or base-256 as GNU has it for what octal can't hold; empty is 0."""
    text = field.strip(b" \x00")
    if text.isdigit():
        return int(text, 8)
    if field[0] in (0x80, 0xFF):  # what GNU tar writes for positive and negative numbers
        return int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
    text = text.partition(b"\x00")[0].rstrip(b" ")
    if not text:
        return 0
    if text.isdigit():
        return int(text, 8)
    raise ValueError(f"{field!r} is no number")


def decimal(text: bytes) -> int:
    """A decimal number as pax has it; Python's own int() would take underscores, spaces and other digits."""
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 20:
        raise ValueError(f"{text[:40]!r} is no number")
    return int(text)


def nanoseconds(text: bytes) -> int:
    """A time in pax: decimal seconds with a fraction, which rounds down; in nanoseconds since 1970."""
    seconds, dot, fraction = text.partition(b".")
    if dot and fraction and not fraction.isdigit():
        raise ValueError(f"{text[:40]!r} is no time")
    nanos = int(fraction[:_DIGITS].ljust(_DIGITS, b"0")) if fraction else 0
    whole = decimal(seconds) * 1_000_000_000
    # "-1.5" is one and a half seconds before 1970.
    return whole - nanos if seconds.startswith(b"-") else whole + nanos


def checksum_matches(block: bytes) -> bool:
    """Whether a header's checksum is right, counted with unsigned or, as some old writers did, signed bytes."""
    try:
        stored = int(block[148:156].strip(b" \x00"), 8)
    except ValueError:
        return False
    # The field itself counts as eight spaces. Adler-32's low half is one more than the sum of the bytes, as long as
    # that stays below 65521, which it does in ASCII.
    field = sum(block[148:156]) - 8 * 32
    if block.isascii():
        return (zlib.adler32(block) & 0xFFFF) - 1 - field == stored
    total = sum(block) - field
    return stored in (total, total - 256 * sum(byte > 127 for byte in block[:148] + block[156:]))


def pax_records(body: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a pax header in their order: length, space, key, "=", value, newline each (pax(1))."""
    records = []
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 12)
        if space < 0:
            if not body[position:].strip(b"\x00"):
                break  # some writers count their padding
            raise ValueError("a pax record without a length")
        length = decimal(body[position:space])
        end = position + length
        record = body[space + 1 : end - 1]
        key, equals, value = record.partition(b"=")
        if length < 5 or end > len(body) or body[end - 1] != 10 or not equals or not key:
            raise ValueError(f"a damaged pax record at byte {position}")
        records.append((key, value))
        position = end
    return records
