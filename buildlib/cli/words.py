"""Values that buildah's flags write in several ways: commands, and variables that name others. Pure."""

from __future__ import annotations

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def argv(flag: str, text: str) -> list[str]:
    """A command: a JSON array of strings, or words as a shell splits them. Empty text is no command."""
    if text.lstrip().startswith("["):
        words = json_array(text)
        if words is not None:
            return words
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        message = f'parsing --{flag} "{text}": invalid command line string'
        raise UsageError(message, hint="a quote is not closed") from None


def json_array(text: str) -> list[str] | None:
    """The strings of a JSON array; None for any other text."""
    import json

    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else None


def shell_or_argv(text: str) -> list[str]:
    """An entrypoint: a JSON array as it is, other text for ``/bin/sh -c``, empty text for none."""
    words = json_array(text)
    if words is not None:
        return words
    return ["/bin/sh", "-c", text] if text else []


def environment(present: Iterable[str], words: Iterable[str]) -> list[str]:
    """The words of ``config --env`` with the variables that their values name replaced, as ``$PATH`` or ``${PATH}``.

    ``present`` are the variables of the container, ``NAME=value`` each; what a word sets, later ones see. A word is
    ``NAME=value``, ``NAME-`` to remove or ``-`` to remove all. Raises :class:`UsageError` for a bare name.
    """
    known = dict(item.partition("=")[::2] for item in present)
    result = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            known[name] = expand(value, known)
            result.append(f"{name}={known[name]}")
            continue
        if not word.endswith("-"):
            hint = f"write {word}=VALUE, or {word}- to remove it"
            raise UsageError(f'setting env "{word}": no value given', hint=hint)
        if word == "-":
            known.clear()
        else:
            known.pop(word[:-1], None)
        result.append(word)
    return result


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with ``$NAME`` and ``${NAME}`` replaced, as Go's ``os.Expand`` does; an unknown variable is empty."""
    import re

    return re.sub(r"\$(?:\{([^}]*)\}|(\w+))", lambda found: variables.get(found[1] or found[2], ""), text)
