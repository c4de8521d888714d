"""How Go prints and reads the values that docker writes into an image's history.

Histories are compared byte for byte, so what ``%q``, ``%v`` and ``time.Duration`` do is part of the format.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, Greek mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def quote(text: str) -> str:
    """``%q`` of a string."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_quote_char(char) for char in text) + '"'


def _quote_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote_list(values: Iterable[str]) -> str:
    """``%q`` of a list of strings: blanks between them, no commas."""
    return "[" + " ".join(quote(value) for value in values) + "]"


def print_list(values: Iterable[str]) -> str:
    """``%v`` of a list of strings."""
    return "[" + " ".join(values) + "]"


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as ``1m30s`` or ``1.5h``. Raises :class:`ValueError`."""
    if not text.isascii() and not re.search("[µμ]", text):
        raise ValueError(f"invalid duration {text!r}")
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total = 0
    at = 0
    part = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
    while at < len(rest):
        match = part.match(rest, at)
        if match is None or not (match[1] or match[2]) or match[3] not in _UNITS or len(match[1]) > 19:
            raise ValueError(f"invalid duration {text!r}")
        unit = _UNITS[match[3]]
        fraction = (match[2] or "")[:18]
        total += int(match[1] or "0") * unit + (int(fraction or "0") * unit) // 10 ** len(fraction)
        at = match.end()
    if not rest or total >= 1 << 63:
        raise ValueError(f"invalid duration {text!r}")
    return sign * total


def print_duration(nanoseconds: int) -> str:
    """``time.Duration.String``: ``1h2m3.5s``, ``1.5ms``, ``0s``."""
    if nanoseconds == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    value = abs(nanoseconds)
    if value < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if value >= size:
                return f"{sign}{_decimal(value, size)}{unit}"
    minutes, rest = divmod(value, 60_000_000_000)
    text = _decimal(rest, 1_000_000_000) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{minutes}m{text}"
        if hours:
            text = f"{hours}h{text}"
    return sign + text


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    if not rest:
        return str(whole)
    digits = len(str(size)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
