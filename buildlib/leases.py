"""Leases: rows that say which process is at work on what. While the owner lives, nobody sweeps or collects it.

An owner is a pid with its start time, so it is known to be dead even when the pid has come again. All processes that
share a store must see each other's pids: a store is not to be shared between pid namespaces at the same time.
"""

from __future__ import annotations

import os

from buildlib.errors import StoreBusy
from buildlib.linux.process import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from buildlib.database import Database

_started: dict[int, int] = {}
"""Our own start time by our own pid, which a fork changes."""


def owner() -> tuple[int, int]:
    """This process: its pid and its start time."""
    pid = os.getpid()
    if pid not in _started:
        _started[pid] = start_time(pid) or 0
    return pid, _started[pid]


def alive(pid: int, started: int) -> bool:
    """Whether the process that took a lease (or made a file in ``tmp``) still runs."""
    return (pid, started) == owner() or start_time(pid) == started


class Leases:
    """The leases of one store.

    A resource is "kind:name": ``layer:<id>``, ``container:<id>``, ``blob:<digest>``, ``path:<path below the root>``.
    """

    def __init__(self, db: Database) -> None:
        self.db = db

    def lease(self, *resources: str, note: Any = None, exclusive: bool = False) -> Lease:
        """A lease on ``resources``, for a ``with`` block; more can be taken into it as the work goes on."""
        lease = Lease(self)
        if resources:
            lease.take(*resources, note=note, exclusive=exclusive)
        return lease

    def dead(self) -> list[tuple[int, str, Any]]:
        """(token, resource, note) of each lease whose owner is dead, oldest first."""
        import json

        rows = self.db.rows("SELECT token, resource, pid, start_time, note FROM leases ORDER BY token")
        living = {who: alive(*who) for who in {(row[2], row[3]) for row in rows}}
        return [(row[0], row[1], json.loads(row[4] or "null")) for row in rows if not living[row[2], row[3]]]

    def held(self, kind: str) -> set[str]:
        """The names of all leased resources of a kind, also those of dead owners."""
        rows = self.db.rows("SELECT resource FROM leases WHERE resource LIKE ?", (f"{kind}:%",))
        return {row[0].partition(":")[2] for row in rows}


class Lease:
    """What one piece of work holds. Leaving the ``with`` block gives all of it back. Thread-safe."""

    def __init__(self, leases: Leases) -> None:
        self._db = leases.db
        self.tokens: list[int] = []

    def take(self, *resources: str, note: Any = None, exclusive: bool = False) -> None:
        """Hold more resources, in one transaction. ``note`` is JSON data for recovery.

        Several owners may hold the same one; ``exclusive`` raises :class:`StoreBusy` when a living one does already,
        this process included.
        """
        import json

        text = None if note is None else json.dumps(note)
        with self._db.transaction() as conn:
            if exclusive:
                self._refuse_held(resources)
            sql = "INSERT INTO leases (resource, pid, start_time, note) VALUES (?, ?, ?, ?)"
            self.tokens += [conn.execute(sql, (resource, *owner(), text)).lastrowid or 0 for resource in resources]

    def _refuse_held(self, resources: Iterable[str]) -> None:
        for resource in resources:
            for pid, started in self._db.rows("SELECT pid, start_time FROM leases WHERE resource = ?", (resource,)):
                if alive(pid, started):
                    raise StoreBusy(f"{resource} is in use by process {pid}", hint="wait until it has finished")

    def drop(self) -> None:
        """Give everything back. Within a transaction this happens together with what makes the work permanent."""
        if self.tokens:
            with self._db.transaction() as conn:
                conn.executemany("DELETE FROM leases WHERE token = ?", [(token,) for token in self.tokens])
            self.tokens = []

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
