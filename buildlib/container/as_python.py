"""What was done to a working container by hand, as a Python script that does it again. Pure."""

from __future__ import annotations

from buildlib.container.calls import bytes_of, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_WIDTH = 100


def script(base: str, calls: Sequence[dict[str, Any]], *, name: str | None = None) -> str:
    """The text of the script: it makes a container on ``base``, repeats ``calls`` and commits, as ``name``.

    Raises :class:`UsageError` for what no script can hold, such as the value of a secret.
    """
    body = [line for call in calls for line in lines(call)]
    return "\n".join(
        (
            "import buildlib",
            "",
            f"with buildlib.from_({base!r}, cache=True) as c:",
            *(f"    {line}" for line in body),
            f"    image = c.commit({'' if name is None else repr(name)})",
            "print(image.id)",
            "",
        )
    )


def lines(call: dict[str, Any]) -> list[str]:
    """One call as lines of Python. A secret in it is shown by what it is."""
    given = dict(call["given"])
    words = [source(each) for each in _positional(call["verb"], given)]
    words += [f"{name}={source(value)}" for name, value in given.items()]
    line = f"c.{call['verb']}({', '.join(words)})"
    if len(line) <= _WIDTH or len(words) < 2:
        return [line]
    return [f"c.{call['verb']}(", *(f"    {word}," for word in words), ")"]


def _positional(verb: str, given: dict[str, Any]) -> list[Any]:
    """Take out what is given by position."""
    if verb in ("copy", "add"):
        return list(given.pop("paths", ()))
    return [given.pop(name) for name in ("command", "path", "mode", "owner") if name in given]


def source(value: Any) -> str:
    """Encoded data (see :func:`buildlib.container.calls.encode`) as Python."""
    if isinstance(value, list):
        return f"[{', '.join(map(source, value))}]"
    if not isinstance(value, dict):
        return repr(value)
    kind = value["$"]
    if kind == "dict":
        return f"{{{', '.join(f'{source(name)}: {source(each)}' for name, each in value['items'])}}}"
    if kind == "bytes":
        return repr(bytes_of(value))
    if kind == "image":
        return repr(value["name"])
    if kind == "container":
        raise refuse(f"the container {value['name']}", "Python", "commit it, and use the image")
    if kind == "unknown":
        raise refuse(value["repr"], "Python")
    inner = ", ".join(f"{name}={source(each)}" for name, each in value["fields"].items())
    return f"buildlib.{kind}({inner})"
