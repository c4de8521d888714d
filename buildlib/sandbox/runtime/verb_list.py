"""``list``: the containers below the root, as a table, as JSON or by their ids alone."""

from __future__ import annotations

import json

from buildlib.errors import BuildlibError, UsageError
from buildlib.sandbox.runtime import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS = {"format": "text", "f": "=format", "quiet": "switch", "q": "=quiet"}
ACCEPTS = "[--format table|json] [--quiet]"

_COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Raises :class:`UsageError` for a format that there isn't."""
    if positionals:
        raise UsageError("'list' takes no arguments")
    if given.get("format", "table") not in ("table", "json"):
        raise UsageError(f"invalid format option: {given['format']!r}")
    if given.get("quiet"):
        print("".join(f"{name}\n" for name in place.ids()), end="")
        return
    found = []
    for name in place.ids():
        try:
            found.append(lifecycle.document(place.read(name)))
        except BuildlibError:  # it is just being made, or removed
            continue
    if given.get("format") == "json":
        print(json.dumps(found or None, separators=(",", ":")), end="")
        return
    rows = [_COLUMNS, *(tuple(str(each[name.lower()]) for name in _COLUMNS) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
