"""What pull and push tell on stderr while they work: a line for each blob, as buildah does where no terminal is."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def sink(quiet: bool) -> Callable[[Any], None]:
    """A sink of events that prints each blob's digest when its first bytes move; a silent one when ``quiet``."""
    from buildlib.events import BytesMoved, silent

    if quiet:
        return silent
    seen: set[str] = set()

    def show(event: Any) -> None:
        if isinstance(event, BytesMoved) and event.what not in seen:
            seen.add(event.what)
            print(f"Copying blob {event.what}", file=sys.stderr)

    return show
