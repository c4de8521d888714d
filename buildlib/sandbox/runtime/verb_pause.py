"""``pause``: let all processes of a container stand still."""

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
    """Raises :class:`SandboxError` if it does not run, or has no control group."""
    name = one_id(positionals, "pause")
    with place.lock(name):
        record = place.read(name)
        if lifecycle.status(record) not in (lifecycle.RUNNING, lifecycle.CREATED):
            raise SandboxError("container not running or created")
        if not record.cgroup:
            raise SandboxError("pause: the container has no control group of its own")
        lifecycle.cgroup(record).freeze()
