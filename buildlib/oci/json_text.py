"""JSON text to values and back by the C parts of the module ``json`` alone, whose import costs a cold start 9 ms."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    quoted: Callable[[str], str]
    make_scanner: Any
else:
    try:
        from _json import encode_basestring_ascii as quoted
        from _json import make_scanner
    except ImportError:  # another Python than CPython
        from json.encoder import encode_basestring_ascii as quoted
        from json.scanner import make_scanner

_SPACE = " \t\n\r"


def loads(text: str) -> Any:
    """The value of a JSON text, which has no NaN and no Infinity. Raises ``ValueError``."""
    try:
        value, end = _scan(text, len(text) - len(text.lstrip(_SPACE)))
        if not text[end:].strip(_SPACE):
            return value
    except (StopIteration, SystemError):  # what the scanner does with an error where it finds no json.decoder
        pass
    import json

    return json.loads(text, parse_constant=_no_constant)  # it says what is wrong, and where


def dumps(value: object) -> str:
    """Compact JSON in ASCII, of what JSON has: no other objects, and only strings as keys. Raises ``TypeError``."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(key)}:{dumps(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


class _Rules:
    """What the scanner asks its decoder for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_no_constant)

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}


_scan = make_scanner(_Rules())
