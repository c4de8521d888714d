"""``events``: what a container uses, as a line of JSON every few seconds, until it ends; or once."""

from __future__ import annotations

import json
import os
import select

from buildlib.errors import SandboxError, UsageError
from buildlib.sandbox.runtime import lifecycle
from buildlib.sandbox.runtime.command_line import one_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place, Record

FLAGS = {"stats": "switch", "interval": "text"}
ACCEPTS = "[--stats | --interval 5s] ID"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """``--stats``: one line. Raises :class:`SandboxError` if it does not run."""
    record = place.read(one_id(positionals, "events"))
    if lifecycle.status(record) == lifecycle.STOPPED:
        raise SandboxError("container is not running")
    if not record.cgroup:
        raise SandboxError("events: the container has no control group of its own")
    if given.get("stats"):
        _print(record)
        return
    seconds = _seconds(given.get("interval", "5s"))
    poll = select.poll()
    poll.register(os.pidfd_open(record.pid), select.POLLIN)
    while lifecycle.status(record) != lifecycle.STOPPED:
        _print(record)
        if poll.poll(seconds * 1000):
            return


def _print(record: Record) -> None:
    data = lifecycle.cgroup(record).stats()
    print(json.dumps({"type": "stats", "id": record.id, "data": data}, separators=(",", ":")), flush=True)


def _seconds(word: str) -> float:
    """A duration as Go writes it: "5s", "500ms", "1m". Raises :class:`UsageError`."""
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)):
        number = word.removesuffix(unit)
        if number != word and number.replace(".", "", 1).isdigit() and float(number) > 0:
            return float(number) * factor
    raise UsageError(f"--interval {word!r} is no duration like 5s")
