"""JSON documents: reading with checked types, writing as Go's encoder writes.

A value class names its JSON fields once, as a tuple of :class:`Field` in ``FIELDS``; :func:`read` and
:func:`write` go through that table. What the table does not know is kept in ``extra`` and written back.
"""

from __future__ import annotations

from buildlib.errors import FormatError
from buildlib.oci.json_text import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    T = TypeVar("T")

MAX_BYTES = 4 << 20
"""No manifest, index or config may be larger. The distribution spec asks registries to take 4 MiB."""

MAX_DEPTH = 64
"""Nesting allowed in the parts of a document that are kept without being understood."""

OPTIONAL, NULLABLE, REQUIRED, ALWAYS = "optional", "nullable", "required", "always"
"""What becomes of an empty value. OPTIONAL: left out, as Go's omitempty. NULLABLE: left out only when None.
REQUIRED: an error when it is missing, always written. ALWAYS: written even when empty."""


class Kind:
    """How a JSON value is checked and taken in: ``read(value, where)``, and put out: ``write(value)``."""

    __slots__ = ("read", "write")

    def __init__(self, read: Callable[[Any, str], Any], write: Callable[[Any], Any]) -> None:
        self.read = read
        self.write = write


class Field(tuple[str, str, Kind, str]):
    """A JSON field ``name``, the attribute that holds it, its Kind, and one of the four modes."""

    __slots__ = ()

    def __new__(cls, name: str, attribute: str, kind: Kind, mode: str = OPTIONAL) -> Field:
        """A tuple, since reading a document takes thousands of them apart."""
        return tuple.__new__(cls, (name, attribute, kind, mode))


def load(raw: bytes, what: str) -> dict[str, Any]:
    """Parse the JSON object ``raw``; ``what`` ("manifest", "image config") names it in errors.

    Raises :class:`FormatError` when it is too large, nested too deeply, not UTF-8, not JSON or not an object.
    """
    if len(raw) > MAX_BYTES:
        raise FormatError(f"{what}: {len(raw)} bytes are more than the {MAX_BYTES} allowed")
    try:
        value = loads(raw.decode("utf-8"))
    except RecursionError:
        raise FormatError(f"{what}: nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"{what}: not JSON: {error}") from None
    return mapping(value, what)


def encode(value: object) -> bytes:
    """Compact JSON with the escapes of Go's encoding/json, so that equal documents have BuildKit's digest."""
    import json

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char, escape in (("&", "0026"), ("<", "003c"), (">", "003e"), ("\u2028", "2028"), ("\u2029", "2029")):
        text = text.replace(char, "\\u" + escape)  # outside of strings JSON has none of these
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: half of a pair, or a byte of the environment that is not UTF-8
        return "".join("\\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text).encode()


def read(cls: type[T], value: object, where: str) -> T:
    """An instance of ``cls`` from a JSON object. JSON's null is the same as a missing field.

    Raises :class:`FormatError` that names the field, like ``manifest.layers[2].size``.
    """
    fields = dict(mapping(value, where))
    known: dict[str, Any] = {}
    for name, attribute, kind, mode in cls.FIELDS:  # type: ignore[attr-defined]
        given = fields.pop(name, None)
        if given is not None:
            known[attribute] = kind.read(given, f"{where}.{name}")
        elif mode == REQUIRED:
            raise FormatError(f"{where}.{name} is missing")
    for name, given in fields.items():
        _check_depth(given, f"{where}.{name}")
    return cls(**known, extra=fields)  # type: ignore[call-arg]


def write(value: Any) -> dict[str, Any]:
    """The JSON object of a value: known fields in the order of the table, then ``extra`` sorted by name."""
    result: dict[str, Any] = {}
    for name, attribute, kind, mode in value.FIELDS:
        held = getattr(value, attribute)
        if held is None or (mode == OPTIONAL and not held):
            continue
        result[name] = kind.write(held)
    for name in sorted(value.extra):
        result.setdefault(name, value.extra[name])
    return result


def one(cls: type[T]) -> Kind:
    """An object of class ``cls``."""
    return Kind(lambda value, where: read(cls, value, where), write)


def many(cls: type[T]) -> Kind:
    """A list of objects of class ``cls``, held as a tuple."""
    return Kind(
        lambda value, where: tuple(read(cls, item, f"{where}[{i}]") for i, item in enumerate(array(value, where))),
        lambda held: [write(item) for item in held],
    )


def mapping(value: object, where: str) -> dict[str, Any]:
    """``value``, if it is a JSON object."""
    if not isinstance(value, dict):
        raise _wrong(value, where, "an object")
    return value


def array(value: object, where: str) -> list[Any]:
    """``value``, if it is a JSON array."""
    if not isinstance(value, list):
        raise _wrong(value, where, "a list")
    return value


def _wrong(value: object, where: str, wanted: str) -> FormatError:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return FormatError(f"{where}: expected {wanted}, found {kinds.get(type(value), 'null')}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, where, "a string")
    return value


def _integer(value: object, where: str) -> int:
    if type(value) is not int:
        raise _wrong(value, where, "a whole number")
    if not -(1 << 63) <= value < 1 << 64:
        raise FormatError(f"{where}: the number is out of range")
    return value


def _size(value: object, where: str) -> int:
    number = _integer(value, where)
    if not 0 <= number < 1 << 63:
        raise FormatError(f"{where}: {number} is not a size")
    return number


def _boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, where, "a boolean")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    return tuple(_text(item, f"{where}[{i}]") for i, item in enumerate(array(value, where)))


def _integers(value: object, where: str) -> tuple[int, ...]:
    return tuple(_integer(item, f"{where}[{i}]") for i, item in enumerate(array(value, where)))


def _text_map(value: object, where: str) -> dict[str, str]:
    return {key: _text(item, f"{where}.{key}") for key, item in mapping(value, where).items()}


def _names(value: object, where: str) -> tuple[str, ...]:
    return tuple(sorted(mapping(value, where)))


def _anything(value: object, where: str) -> object:
    _check_depth(value, where)
    return value


def _object(value: object, where: str) -> dict[str, Any]:
    _check_depth(value, where)
    return mapping(value, where)


def _check_depth(value: object, where: str) -> None:
    level, depth = [value], 0
    while level := [x for item in level for x in _children(item)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise FormatError(f"{where}: nested too deeply")


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _same(held: object) -> object:
    return held


def sorted_map(held: Mapping[str, str]) -> dict[str, str]:
    """Go writes maps sorted by key."""
    return dict(sorted(held.items()))


TEXT = Kind(_text, str)
INTEGER = Kind(_integer, _same)
SIZE = Kind(_size, _same)
BOOLEAN = Kind(_boolean, _same)
TEXTS = Kind(_texts, list)
INTEGERS = Kind(_integers, list)
TEXT_MAP = Kind(_text_map, sorted_map)
NAMES = Kind(_names, lambda held: {name: {} for name in sorted(held)})
"""A set of names; in JSON an object whose values are empty objects, as Go writes ``map[string]struct{}``."""
ANYTHING = Kind(_anything, _same)
OBJECT = Kind(_object, _same)
"""A part that is kept and passed on, but not looked into."""
