"""What state a container is in: creating, created, running, paused or stopped. The kernel is asked."""

from __future__ import annotations

from buildlib.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.linux.cgroups import Cgroup
    from buildlib.sandbox.runtime.place import Record

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"


def status(record: Record) -> str:
    """One of the five words of runtime.md, "State", and ``paused``."""
    if record.pid == 0:
        return CREATING if record.status == CREATING else STOPPED
    if process.start_time(record.pid) != record.start_time:
        return STOPPED
    if record.status == RUNNING and record.cgroup and cgroup(record).frozen():
        return PAUSED
    return record.status


def cgroup(record: Record) -> Cgroup:
    """The container's control group."""
    from buildlib.linux.cgroups import Cgroup

    return Cgroup(record.cgroup)


def document(record: Record, now: str | None = None) -> dict[str, Any]:
    """The state as the spec has it (runtime.md), with the fields that engines read beyond it."""
    now = now or status(record)
    return {
        "ociVersion": record.version,
        "id": record.id,
        "pid": 0 if now == STOPPED else record.pid,
        "status": now,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        **({"annotations": record.annotations} if record.annotations else {}),
        "owner": record.owner,
    }
