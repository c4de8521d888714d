"""``delete``: remove what a container leaves; one that runs only by force."""

from __future__ import annotations

import os
import select

from buildlib.errors import NotFound, SandboxError, UsageError
from buildlib.linux.suppress import suppress
from buildlib.sandbox.runtime import after, lifecycle
from buildlib.sandbox.runtime.command_line import one_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place, Record

FLAGS = {"force": "switch", "f": "=force"}
ACCEPTS = "[--force] ID"

_PATIENCE = 10_000


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Raises :class:`UsageError` for one that runs; by force it is killed, and one that is unknown is no error."""
    name = one_id(positionals, "delete")
    force = bool(given.get("force"))
    try:
        with place.lock(name):
            _delete(place, name, force=force)
    except NotFound:
        if not force:
            raise


def _delete(place: Place, name: str, *, force: bool) -> None:
    try:
        record = place.read(name)
    except NotFound:  # its creation was cut off before it knew anything
        if not force:
            raise
        place.remove(name)
        return
    now = lifecycle.status(record)
    if now not in (lifecycle.STOPPED, lifecycle.CREATED) and not force:
        raise UsageError(f"cannot delete container {name} that is not stopped: {now}")
    if now != lifecycle.STOPPED:
        kill(record)
    after.ended(place, record)


def kill(record: Record) -> None:
    """Kill the first process, and with it its pid namespace, and wait for its end. Raises :class:`SandboxError`."""
    if record.pid == 0:
        return
    try:
        fd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if lifecycle.status(record) == lifecycle.STOPPED:
            return
        os.kill(record.pid, 9)
        if record.cgroup:
            with suppress(SandboxError):
                lifecycle.cgroup(record).kill()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(_PATIENCE):
            raise SandboxError(f"process {record.pid} does not end")
    finally:
        os.close(fd)
