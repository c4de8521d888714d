"""``ps``: the processes of a container, by ps(1) or as JSON."""

from __future__ import annotations

import json
import os

from buildlib.errors import SandboxError, UsageError
from buildlib.sandbox.runtime import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS = {"format": "text", "f": "=format"}
ACCEPTS = "[--format table|json] ID [ps options]"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Raises :class:`SandboxError` where there is no control group to look into, or no ps(1)."""
    if not positionals:
        raise UsageError("'ps' takes the id of a container")
    record = place.read(positionals[0])
    if not record.cgroup:
        raise SandboxError("ps: the container has no control group of its own")
    pids = lifecycle.cgroup(record).pids()
    if given.get("format", "table") == "json":
        print(json.dumps(pids))
        return
    head, *lines = _ps(positionals[1:] or ["-ef"]).splitlines()
    if "PID" not in head.split():
        raise SandboxError("ps: its output has no column PID")
    column = head.split().index("PID")
    print(head)
    for line in lines:
        words = line.split()
        if len(words) > column and words[column].isdigit() and int(words[column]) in pids:
            print(line)


def _ps(options: list[str]) -> str:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.posix_spawnp("ps", ["ps", *options], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    except FileNotFoundError:
        raise SandboxError("ps is not installed", hint="--format json needs none") from None
    finally:
        os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as file:
        text = file.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise SandboxError(f"ps {' '.join(options)} failed")
    return text or "PID"
