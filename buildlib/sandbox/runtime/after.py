"""What follows a container's start and its end: hooks of the host, whose failures are noted and change nothing."""

from __future__ import annotations

import os
import sys

from buildlib.errors import BuildlibError, SandboxError
from buildlib.linux.suppress import suppress
from buildlib.oci.json_text import dumps, loads
from buildlib.sandbox.runtime import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.sandbox.runtime.place import Place, Record


def started(place: Place, record: Record) -> None:
    """Run the poststart hooks."""
    _hooks(place, record, "poststart", lifecycle.RUNNING)


def ended(place: Place, record: Record) -> None:
    """Remove what a stopped container leaves, then run its poststop hooks; whoever calls holds its lock."""
    if record.cgroup:
        group = lifecycle.cgroup(record)
        with suppress(SandboxError):
            group.kill()
        if record.cgroup_made:
            group.remove()
    _hooks(place, record, "poststop", lifecycle.STOPPED)
    place.remove(record.id)


def _hooks(place: Place, record: Record, point: str, status: str) -> None:
    path = place.path(record.id, "config.json")
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return
    if point.encode() not in raw:  # most have none: no need to read the whole
        return
    from buildlib.sandbox.runtime import hooks

    state = dumps(lifecycle.document(record, status)).encode()
    try:
        hooks.run(point, hooks.check(loads(raw.decode()).get("hooks")).get(point, ()), state)
    except BuildlibError as error:
        print(f"warning: {error}", file=sys.stderr)


def kill_all(record: Record, number: int) -> None:
    """Send a signal to every process of the container. Raises ``OSError``."""
    for pid in lifecycle.cgroup(record).pids() if record.cgroup else [record.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
