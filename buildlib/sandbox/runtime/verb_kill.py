"""``kill``: send a signal to the first process of a container, or to all of its processes."""

from __future__ import annotations

import os
import signal

from buildlib.errors import SandboxError, UsageError
from buildlib.sandbox.runtime import after, lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS = {"all": "switch", "a": "=all"}
ACCEPTS = "[--all] ID [SIGNAL]"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """SIGTERM unless another one is named. Raises :class:`UsageError`, :class:`SandboxError` if it does not run."""
    if not 1 <= len(positionals) <= 2:
        raise UsageError("'kill' takes the id of a container and a signal")
    record = place.read(positionals[0])
    number = parse(positionals[1] if len(positionals) == 2 else "SIGTERM")
    if given.get("all"):
        after.kill_all(record, number)
        return
    if lifecycle.status(record) == lifecycle.STOPPED:
        raise SandboxError("container not running")
    try:
        fd = os.pidfd_open(record.pid)
        try:
            # The descriptor holds whichever process has the number now: see that it is still the right one.
            if lifecycle.status(record) == lifecycle.STOPPED:
                raise SandboxError("container not running")
            signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
    except ProcessLookupError:
        raise SandboxError("container not running") from None
    if number == signal.SIGKILL and record.cgroup and lifecycle.cgroup(record).frozen():
        lifecycle.cgroup(record).thaw()  # what stands still does not die, in v1


def parse(word: str) -> int:
    """The number of a signal: "9", "KILL", "sigkill", "RTMIN+3". Raises :class:`UsageError`."""
    if word.isdigit():
        if 0 < int(word) < signal.NSIG:
            return int(word)
    else:
        name, plus, offset = word.upper().removeprefix("SIG").partition("+")
        found = getattr(signal, f"SIG{name}", None)
        if isinstance(found, signal.Signals) and (not plus or (name == "RTMIN" and offset.isdigit())):
            return int(found) + int(offset or 0)
    raise UsageError(f"unknown signal {word!r}")
