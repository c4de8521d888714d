"""``start``: let the process of a created container begin."""

from __future__ import annotations

import errno
import os

from buildlib.errors import UsageError
from buildlib.sandbox.runtime import after, lifecycle
from buildlib.sandbox.runtime.command_line import one_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS: dict[str, str] = {}
ACCEPTS = "ID"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Raises :class:`UsageError` for a container that runs already, or has ended."""
    name = one_id(positionals, "start")
    with place.lock(name):
        record = place.read(name)
        now = lifecycle.status(record)
        if now == lifecycle.STOPPED:
            raise _stopped()
        if now != lifecycle.CREATED:
            raise UsageError("cannot start an already running container")
        path = place.path(name, "exec.fifo")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody waits on the other side: it died just now
                raise _stopped() from None
            raise
        os.write(fd, b"0")
        os.close(fd)
        os.unlink(path)
        record = place.change(record, status=lifecycle.RUNNING)
    after.started(place, record)


def _stopped() -> UsageError:
    return UsageError("cannot start a container that has stopped")
