"""``state``: print the state of a container as JSON."""

from __future__ import annotations

import json

from buildlib.sandbox.runtime import lifecycle
from buildlib.sandbox.runtime.command_line import one_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS: dict[str, str] = {}
ACCEPTS = "ID"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Raises :class:`NotFound`."""
    record = place.read(one_id(positionals, "state"))
    print(json.dumps(lifecycle.document(record), indent=2))
