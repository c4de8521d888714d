"""The JSON form of arguments: ``["a", "b"]``, as Go reads it."""

from __future__ import annotations

import re

from bud.words import trim

_SURROGATE = "[\ud800-\udfff]"


class NotStrings(ValueError):
    """A JSON array that holds something else than strings."""


def parse_array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, or None when ``text`` is none: then it is meant as shell text.

    Raises :class:`NotStrings` for an array of other things, which docker refuses.
    """
    text = trim(text)
    if not text.startswith("["):
        return None
    import json

    def refuse(name: str) -> float:
        raise ValueError(name)

    try:
        # Numbers are never wanted, so that their size can't matter; NaN and Infinity are no JSON.
        values = json.loads(text, parse_int=lambda _: 0, parse_float=lambda _: 0.0, parse_constant=refuse)
    except RecursionError:
        raise NotStrings("an array inside an array") from None
    except ValueError:
        return None
    for number, value in enumerate(values, 1):
        if not isinstance(value, str):
            raise NotStrings(f"element {number} is not a string")
    return tuple(re.sub(_SURROGATE, "\N{REPLACEMENT CHARACTER}", value) for value in values)
