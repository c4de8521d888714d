"""``run``: create and start a container; unless detached, wait for its end, remove it and pass on its exit code."""

from __future__ import annotations

from buildlib.sandbox.runtime import after, container, lifecycle
from buildlib.sandbox.runtime import bundle as bundles
from buildlib.sandbox.runtime.command_line import one_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS = {**container.FLAGS, "detach": "switch", "d": "=detach", "keep": "switch"}
ACCEPTS = "[flags] ID"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> int:
    """The exit code of the process, 128 + n where signal n ended it."""
    name = one_id(positionals, "run")
    bundle = given.get("bundle") or "."
    spec, raw = bundles.read(bundle)
    detach = bool(given.get("detach"))
    from buildlib.sandbox.runtime import foreground

    front = foreground.open_front(spec.process, given.get("console-socket"), detach=detach)
    wanted = container.wanted(given, console=front.socket, size=front.size, fifo=False)
    born = container.create(place, name, bundle, spec, raw, wanted)
    try:
        record = place.change(born.record, status=lifecycle.RUNNING)
        born.begin()
        after.started(place, record)
    except BaseException:
        _remove(place, name)
        raise
    if detach:
        return 0
    code = front.wait(record.pid)
    if not given.get("keep"):
        _remove(place, name)
    return code


def _remove(place: Place, name: str) -> None:
    from buildlib.errors import NotFound
    from buildlib.sandbox.runtime.verb_delete import kill

    try:
        with place.lock(name):
            record = place.read(name)
            kill(record)
            after.ended(place, record)
    except NotFound:  # somebody else has deleted it
        return
