"""``create``: make a container; its first process waits until ``start`` lets it run the command."""

from __future__ import annotations

from buildlib.sandbox.runtime import bundle as bundles
from buildlib.sandbox.runtime import container
from buildlib.sandbox.runtime.command_line import one_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS = container.FLAGS
ACCEPTS = "[flags] ID"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Returns when the process waits; it is then a child of whoever adopts ours."""
    name = one_id(positionals, "create")
    bundle = given.get("bundle") or "."
    spec, raw = bundles.read(bundle)
    console = None
    if given.get("console-socket"):
        from buildlib.sandbox.runtime.console import connect

        console = connect(given["console-socket"]).detach()
    container.create(place, name, bundle, spec, raw, container.wanted(given, console=console))
