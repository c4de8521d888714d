"""Whether a command can run as the user that it is to run as: in a user namespace there may be no such id."""

from __future__ import annotations

from buildlib.errors import SandboxError
from buildlib.linux import subids


def require(uid: int, gid: int) -> None:
    """Raise :class:`SandboxError`, with the command that helps, where ``uid`` or ``gid`` is not mapped here."""
    maps = {kind: _map(kind) for kind in ("uid", "gid")}
    for kind, id in (("uid", uid), ("gid", gid)):
        if not any(first <= id < first + count for first, _, count in maps[kind]):
            outside = next((outside for first, outside, _ in maps["uid"] if first == 0), 0)
            raise SandboxError(
                f"the user {uid}:{gid} can't be had: the {kind} {id} is not among the ids of this user",
                hint=subids.command_for_more(outside),
            )


def _map(kind: str) -> list[tuple[int, int, int]]:
    with open(f"/proc/self/{kind}_map", "rb") as file:
        numbers = [[int(field) for field in line.split()] for line in file]
    return [(first, outside, count) for first, outside, count in numbers]
