"""The functions of Go templates: those of ``text/template`` and those that podman and buildah add (json, join …)."""

from __future__ import annotations

from buildlib.cli.template import NO_VALUE, Struct, Time, go_text, true

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Wrong(Exception):
    """What a function says of arguments that it can't take."""


# --- values -----------------------------------------------------------------------------------------------------------


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Struct):
            raise Wrong("a struct has fields, not items")
        if isinstance(value, dict):
            value = value.get(key, "")
            continue
        if value is None or value is NO_VALUE:
            raise Wrong("there is nothing to take an item of")
        if not isinstance(key, int):
            raise Wrong(f"{go_text(key)} is no number of an item")
        items = value.encode() if isinstance(value, str) else value
        if not 0 <= key < len(items):
            raise Wrong(f"index out of range: {key}")
        value = items[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if len(bounds) > 3 or any(not 0 <= bound <= len(value) for bound in bounds[:2]):
        raise Wrong(f"index out of range: {', '.join(map(str, bounds))}")
    return value[slice(*bounds)] if len(bounds) == 2 else value[bounds[0] if bounds else 0 :]


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if value is None:
        return 0
    if isinstance(value, (dict, list, tuple)) and not isinstance(value, Struct):
        return len(value)
    raise Wrong(f"{go_text(value)} has no length")


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise Wrong("there is nothing to compare with")
    return any(_comparable(first, other) and first == other for other in others)


def _comparable(first: Any, other: Any) -> bool:
    for value in (first, other):
        if isinstance(value, (list, tuple)) or (isinstance(value, dict) and not isinstance(value, Struct)):
            raise Wrong("lists and maps can't be compared")
    if first is None or other is None or first is NO_VALUE or other is NO_VALUE:
        return True
    if isinstance(first, bool) != isinstance(other, bool) or isinstance(first, str) != isinstance(other, str):
        raise Wrong(f"{go_text(first)} and {go_text(other)} are of different kinds")
    return True


def _less(first: Any, other: Any) -> bool:
    _comparable(first, other)
    if isinstance(first, bool) or not isinstance(first, (str, int, float)):
        raise Wrong(f"{go_text(first)} has no order")
    return bool(first < other)


def _json(value: Any) -> str:
    import json

    from buildlib.cli.document import plain

    # As encoding/json writes it: no blanks, keys of maps in order, and HTML's own letters escaped.
    text = json.dumps(_ordered(plain(value)), separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _ordered(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_ordered(item) for item in value]
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in value.items()}
    return value


# --- text -------------------------------------------------------------------------------------------------------------


def _print(*values: Any) -> str:
    """As ``fmt.Sprint``: a blank between two values neither of which is a string."""
    out = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            out += " "
        out += go_text(value)
    return out


def _println(*values: Any) -> str:
    return " ".join(map(go_text, values)) + "\n"


def _printf(form: str, *values: Any) -> str:
    import re

    rest = list(values)

    def one(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if width == "*":
            width = str(rest.pop(0))
        if not rest:
            return f"%!{verb}(MISSING)"
        return _padded(_verb(verb, flags, precision, rest.pop(0)), flags, width or "", verb)

    text = re.sub(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d*))?([a-zA-Z%])", one, form)
    if rest:
        text += "%!(EXTRA " + ", ".join(f"{_type(value)}={go_text(value)}" for value in rest) + ")"
    return text


def _padded(text: str, flags: str, width: str, verb: str) -> str:
    if not width:
        return text
    if "-" in flags:
        return text.ljust(int(width))
    if "0" in flags and verb not in "qvT":
        return text.zfill(int(width))
    return text.rjust(int(width))


def _verb(verb: str, flags: str, precision: str | None, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    sign = "+" if "+" in flags else " " if " " in flags else ""
    digits = None if precision is None else int(precision or 0)
    if verb == "v" or (verb == "s" and not number):
        return go_text(value) if digits is None else go_text(value)[:digits]
    if verb == "T":
        return _type(value)
    if verb == "q" and isinstance(value, (str, list, tuple)):
        return _quoted(value)
    if verb == "t" and isinstance(value, bool):
        return go_text(value)
    if verb in "xX" and isinstance(value, str):
        return value.encode().hex().upper() if verb == "X" else value.encode().hex()
    if isinstance(value, int) and number:
        if verb in "dxXob":
            mark = "#" if "#" in flags and verb in "xXob" else ""
            return f"{value:{sign}{mark}{verb}}"
        if verb in "cqU":
            return {"c": chr(value), "q": f"'{chr(value)}'", "U": f"U+{value:04X}"}[verb]
    if isinstance(value, float) and verb in "eEfFgG":
        return f"{value:{sign}.{6 if digits is None and verb not in 'gG' else digits or 6}{verb}}"
    return f"%!{verb}({_type(value)}={go_text(value)})"


def _quoted(value: Any) -> str:
    import json

    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "[" + " ".join(_quoted(go_text(item)) for item in value) + "]"


def _type(value: Any) -> str:
    if isinstance(value, Struct):
        return "struct"
    names = {
        Time: "time.Time",
        str: "string",
        bool: "bool",
        int: "int",
        float: "float64",
        dict: "map",
        list: "[]string",
    }
    return names.get(type(value), "<nil>" if value is None else type(value).__name__)


def _join(value: Any, separator: Any = "") -> str:
    """``join LIST SEPARATOR``; the other way round, too, as in a pipeline."""
    if isinstance(value, str) and not isinstance(separator, str):
        value, separator = separator, value
    return str(separator).join(go_text(item) for item in value or ())


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _title(text: str) -> str:
    import re

    return re.sub(r"(?<![\w'])\w", lambda found: found[0].upper(), text)


def _html(*values: Any) -> str:
    text = _print(*values)
    for letter, name in (("&", "&amp;"), ("'", "&#39;"), ('"', "&#34;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(letter, name)
    return text


def _js(*values: Any) -> str:
    text = _print(*values).replace("\\", "\\\\")
    for letter, name in (("'", "\\'"), ('"', '\\"'), ("<", "\\u003C"), (">", "\\u003E"), ("&", "\\u0026"),
                         ("=", "\\u003D"), ("\n", "\\u000A"), ("\r", "\\u000D"), ("\t", "\\u0009")):  # fmt: skip
        text = text.replace(letter, name)
    return text


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values))


def time_method(value: Time, name: str, arguments: list[Any]) -> Any:
    """Methods of Go's ``time.Time``: parts of it, ``Unix``, ``String`` and ``Format LAYOUT``."""
    from datetime import UTC, datetime

    from buildlib.errors import UsageError

    moment = datetime.fromisoformat(value).astimezone(UTC) if value else datetime(1, 1, 1, tzinfo=UTC)
    parts = {"Year", "Day", "Hour", "Minute", "Second"}
    if name == "Format" and len(arguments) == 1:
        return _formatted(moment, arguments[0])
    if not arguments:
        if name in parts:
            return getattr(moment, name.lower())
        if name == "Unix":
            return int(moment.timestamp())
        if name == "String":
            return go_text(value)
        if name in ("UTC", "Local"):
            return value
    raise UsageError(f"a time has no field .{name}", hint="it has .Unix, .Year and .Format LAYOUT")


_LAYOUT = (
    ("2006", "%Y"), ("January", "%B"), ("Jan", "%b"), ("Monday", "%A"), ("Mon", "%a"), ("MST", "UTC"), ("01", "%m"),
    ("02", "%d"), ("15", "%H"), ("03", "%I"), ("04", "%M"), ("05", "%S"), ("06", "%y"), ("PM", "%p"),
    ("Z07:00", "Z"), ("-07:00", "+00:00"), ("-0700", "+0000"),
)  # fmt: skip


def _formatted(moment: Any, layout: str) -> str:
    import re

    pattern = "|".join(re.escape(word) for word, _ in sorted(_LAYOUT, key=lambda pair: -len(pair[0])))
    known = dict(_LAYOUT)
    return str(moment.strftime(re.sub(pattern, lambda found: known[found[0]], layout.replace("%", "%%"))))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "ge": lambda first, other: not _less(first, other),
    "gt": lambda first, other: _less(other, first),
    "html": _html,
    "index": _index,
    "join": _join,
    "js": _js,
    "json": _json,
    "le": lambda first, other: not _less(other, first),
    "len": _length,
    "lower": lambda text: text.lower(),
    "lt": _less,
    "ne": lambda first, other: not _equal(first, other),
    "not": lambda value: not true(value),
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": _split,
    "title": _title,
    "truncate": lambda text, length: text[:length],
    "upper": lambda text: text.upper(),
    "urlquery": _urlquery,
}
