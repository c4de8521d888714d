"""A small, sound part of Go's ``text/template``: literal text, fields like ``{{.OCIv1.Config.Env}}``, and ``{{.}}``.

Everything else of the language is refused by name, never printed wrongly.
"""

from __future__ import annotations

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\\\": "\\"}
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Struct(dict[str, "Any"]):
    """A value with fixed fields, as a Go struct has them; a plain dict is a map, whose keys are data.

    ``optional`` names the fields that its JSON leaves out when they are empty.
    """

    def __init__(self, fields: dict[str, Any], optional: Iterable[str] = ()) -> None:
        super().__init__(fields)
        self.optional = frozenset(optional)

    def field(self, name: str) -> Any:
        """The value of the Go field ``name``: JSON's ``diff_ids`` is ``DiffIDs`` there. KeyError if there is none."""
        if name in self:
            return self[name]
        wanted = _plain(name)
        for key, value in self.items():
            if _plain(key) == wanted:
                return value
        raise KeyError(name)


class Time(str):
    """An RFC 3339 time, which a template prints as Go prints times."""

    __slots__ = ()


class Template:
    """A parsed template; ``parts`` are literal texts and field paths."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = _parse(text)

    def render(self, value: Any) -> str:
        """The text for ``value``. Raises :class:`UsageError` for a field that it does not have."""
        return "".join(part if isinstance(part, str) else go_text(self._look_up(value, part)) for part in self.parts)

    def _look_up(self, value: Any, path: tuple[str, ...]) -> Any:
        for name in path:
            try:
                value = value.field(name) if isinstance(value, Struct) else value.get(name, _NO_VALUE)
            except (KeyError, AttributeError):
                known = ", ".join(f".{field}" for field in value) if isinstance(value, Struct) else ""
                raise UsageError(
                    f"template {self.text!r}: there is no field .{name}",
                    hint=f"the fields are {known}" if known else None,
                ) from None
        return value


def go_text(value: Any) -> str:
    """``value`` as Go's ``%v`` prints it."""
    if isinstance(value, Time):
        return _go_time(value)
    if isinstance(value, str):
        return value
    if value is None:
        return "[]"  # in our documents only slices and maps can be nil
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Struct):
        return "{" + " ".join(go_text(item) for item in value.values()) + "}"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    return str(value)


_NO_VALUE = "<no value>"


def _parse(text: str) -> list[str | tuple[str, ...]]:
    parts: list[str | tuple[str, ...]] = []
    trim = False
    while True:
        literal, opened, rest = text.partition("{{")
        if trim:
            literal = literal.lstrip(" \t\r\n")
        if not opened:
            parts.append(_unescape(literal))
            return parts
        action, closed, text = rest.partition("}}")
        if not closed:
            raise UsageError(f"invalid format provided: {{{{{rest}", hint='an action ends with "}}"')
        if action.startswith("- "):
            literal, action = literal.rstrip(" \t\r\n"), action[1:]
        trim = action.endswith(" -")
        parts.append(_unescape(literal))
        parts.append(_path(action[:-1].strip() if trim else action.strip()))


def _path(action: str) -> tuple[str, ...]:
    if action == ".":
        return ()
    names = action.split(".")
    if len(names) > 1 and not names[0] and all(name and _WORD.issuperset(name) for name in names[1:]):
        return tuple(names[1:])
    raise UsageError(
        f"the template action {{{{{action}}}}} is not supported yet", hint="fields like {{.ID}} are, and literal text"
    )


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    out = []
    at = 0
    while at < len(text):
        pair = text[at : at + 2]
        out.append(_ESCAPES.get(pair, text[at]))
        at += 2 if pair in _ESCAPES else 1
    return "".join(out)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(".", "")


def _go_time(text: str) -> str:
    if not text:
        return "0001-01-01 00:00:00 +0000 UTC"
    day, _, rest = text.partition("T")
    return f"{day} {rest[:-1]} +0000 UTC" if rest.endswith("Z") else text
