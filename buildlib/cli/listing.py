"""What the listing verbs share: the choice between table, template, JSON and bare ids, and ``--filter``."""

from __future__ import annotations

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

SHORT_ID = 12


def print_json(value: Any) -> None:
    """JSON as buildah prints it: four spaces."""
    import json

    print(json.dumps(value, indent=4))


def formatted(template_text: str, records: Iterable[Any], headings: dict[str, str], *, heading: bool = True) -> str:
    """A line a record; blanks and tabs of the template align into columns, as with buildah.

    A template that begins with the word ``table`` gets a line of ``headings`` above, which are named by the fields.
    """
    from buildlib.cli.human import table
    from buildlib.cli.template import Struct, Template

    text = template_text.strip()
    titled = text.startswith(("table ", "table\t"))
    template = Template(text.removeprefix("table").lstrip() if titled else text, blank="\t")
    lines = [template.render(record) for record in records]
    if titled and heading:
        lines.insert(0, template.render(Struct(headings)))
    if any("\t" in line for line in lines):
        return table([line.split("\t") for line in lines])
    return "".join(f"{line}\n" for line in lines)


def parse_filters(words: Sequence[str], known: Sequence[str]) -> dict[str, list[str]]:
    """``key=value`` filters by key; raises :class:`UsageError` for an unknown key or a missing value."""
    filters: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f'invalid filter "{word}": must be in the format "filter=value"')
        if key not in known:
            raise UsageError(f'unsupported filter "{key}"', hint=f"the filters are {', '.join(known)}")
        filters.setdefault(key, []).append(value)
    return filters


def truth(key: str, value: str) -> bool:
    """The value of a filter that is true or false."""
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise UsageError(f'filter {key} takes true or false, not "{value}"')
