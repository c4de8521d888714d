"""``resume``: let a paused container go on."""

from __future__ import annotations

from buildlib.errors import SandboxError
from buildlib.sandbox.runtime import lifecycle
from buildlib.sandbox.runtime.command_line import one_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS: dict[str, str] = {}
ACCEPTS = "ID"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Raises :class:`SandboxError` if it is not paused."""
    name = one_id(positionals, "resume")
    with place.lock(name):
        record = place.read(name)
        if lifecycle.status(record) != lifecycle.PAUSED:
            raise SandboxError("container not paused")
        lifecycle.cgroup(record).thaw()
