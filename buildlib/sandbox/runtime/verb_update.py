"""``update``: change the limits of a container: those of a JSON document, or of flags."""

from __future__ import annotations

import sys

from buildlib.errors import SandboxError, UsageError
from buildlib.oci import document
from buildlib.sandbox.runtime import lifecycle
from buildlib.sandbox.runtime.command_line import one_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

_FIELDS = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "pids-limit": ("pids", "limit"),
}
"""Where the value of a flag stands in ``linux.resources``."""

_WORDS = ("cpuset-cpus", "cpuset-mems")
_SIZES = ("memory", "memory-reservation", "memory-swap")

FLAGS = {"resources": "text", "r": "=resources"} | {
    name: "text" if name in (*_WORDS, *_SIZES) else "number" for name in _FIELDS
}
ACCEPTS = "[--resources FILE|-] [flags] ID"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Raises :class:`SandboxError` that names the field which the kernel does not take."""
    name = one_id(positionals, "update")
    resources = _resources(given)
    with place.lock(name):
        record = place.read(name)
        if lifecycle.status(record) == lifecycle.STOPPED:
            raise SandboxError("container not running")
        if not record.cgroup:
            raise SandboxError("update: the container has no control group of its own")
        lifecycle.cgroup(record).apply(resources)


def _resources(given: dict[str, Any]) -> dict[str, Any]:
    source = given.get("resources")
    if source == "-":
        found = document.load(sys.stdin.buffer.read(), "resources")
    elif source:
        with open(source, "rb") as file:
            found = document.load(file.read(), "resources")
    else:
        found = {}
    for flag, (group, field) in _FIELDS.items():
        if flag in given:
            value = _size(given[flag]) if flag in _SIZES else given[flag]
            found.setdefault(group, {})[field] = value
    # What a container may open is not for an update to change; engines send the list all the same.
    return {group: fields for group, fields in found.items() if group != "devices"}


def _size(word: str) -> int:
    """A number of bytes: "512m", "1g", "-1". Raises :class:`UsageError`."""
    text = word.lower().removesuffix("b").removesuffix("i")
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}.get(text[-1:], 1)
    try:
        return int(text.rstrip("kmgt")) * factor
    except ValueError:
        raise UsageError(f"{word!r} is no size") from None
