"""The cache of calls on working containers: keys, records, and what made a key differ.

A record says: the state ``parent``, changed by a step with these inputs, is the state ``result``, which is ``parent``
with ``layer`` on top. It never executes anything and knows nothing of Dockerfiles.

Not in a key, because they must not decide what is built: values of secrets, contents of cache mounts, proxy
variables, host paths and times of files. Everything else that a step can see is.
"""

from __future__ import annotations

import hashlib
import json
import time

from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from buildlib.cache_exchange import Import
    from buildlib.store import Store

VERSION = 1
"""Part of every key: raised when what a step does with the same parts changes."""

SIBLINGS = 100
"""With so many others a new layer is compared; a step that has given more outcomes will not repeat one."""

SCRATCH = "scratch"
"""The state of a container with no layers at all."""


class Step(NamedTuple):
    """One call that may change files, with all that it depends on beyond the state it starts from."""

    kind: str
    """``run``, ``copy``, ``add``, ``mkdir``, …"""
    values: Mapping[str, Any]
    """Plain data, fully expanded."""
    inputs: tuple[str, ...] = ()
    """Digests of the files that it reads."""
    names: Mapping[str, str] = {}
    """What the inputs are made of: path → short digest. Only for people, not in the key."""

    def parts(self, **more: Any) -> str:
        """The JSON that a record keeps; ``more`` is kept beside."""
        return _json({"kind": self.kind, "step": self.values, "inputs": self.inputs, "names": self.names, **more})


class Record(NamedTuple):
    """What the cache knows about a key."""

    layer: str
    result: str
    created: float


class Looked(NamedTuple):
    """One look-up, for those who watch."""

    container: str
    """The id of the container."""
    created_by: str
    hit: bool
    why: tuple[str, ...] = ()
    """Of a miss: what differs from the nearest step that was cached."""


class Miss(NamedTuple):
    """Why a step was executed: the nearest step that was cached, and in which parts this one differs from it."""

    differences: tuple[str, ...]
    """Each one line, like ``src/app.py changed`` or ``env VERSION: 1 → 2``."""
    created: float


def base_state(chain: str | None) -> str:
    """The state of a fresh container, given the ChainID of its image (None for an image without layers)."""
    return chain or SCRATCH


def key(parent: str, step: Step) -> str:
    """The key of a step on the state ``parent``: the one place where keys are computed."""
    text = _json({"v": VERSION, "parent": parent, "kind": step.kind, "step": step.values, "inputs": step.inputs})
    return hashlib.sha256(text.encode()).hexdigest()


def changed_state(parent: str, content_digest: str) -> str:
    """The state ``parent`` with a layer on top that nobody can name a step for: it counts by its content."""
    return hashlib.sha256(f"content {parent} {content_digest}".encode()).hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Cache:
    """The records of one store. Thread-safe, as the database is."""

    def __init__(self, store: Store) -> None:
        self._db = store.db
        self.imports: list[Import] = []
        """Caches from elsewhere; the first goes first."""
        self.watch: Callable[[Looked], None] | None = None
        """Is told of each look-up, by the thread that looks; the reasons of a miss are found out only for it."""

    def find(self, key: str) -> Record | None:
        """The record of ``key``: one indexed look-up."""
        row = self._db.row("SELECT layer, result, created FROM cache WHERE key = ?", (key,))
        return Record(*row) if row else None

    def seek(self, key: str, below: Sequence[str], max_age: float | None = None) -> Record | None:
        """As :meth:`find`, also in the caches from elsewhere; from there the layer is fetched for the stack ``below``.

        A record that was neither made nor confirmed within ``max_age`` seconds does not count.
        """
        record = self.find(key)
        if record is not None and max_age is not None and self._age(key, record) >= max_age:
            return None
        if record is not None:
            return record
        for one in self.imports:
            known = one.records.get(key)
            if known is not None and (max_age is None or time.time() - known.created < max_age):
                record = one.fetch(key, below)
                if record is not None:
                    return record
        return None

    def _age(self, key: str, record: Record) -> float:
        row = self._db.row("SELECT json_extract(parts, '$.checked') FROM cache WHERE key = ?", (key,))
        return time.time() - max(record.created, row[0] if row and row[0] else 0.0)

    def use(self, key: str) -> None:
        """Note that the record was of use just now; within the transaction that makes it so."""
        with self._db.transaction() as conn:
            conn.execute("UPDATE cache SET used = ? WHERE key = ?", (time.time(), key))

    def printed(self, key: str) -> list[str] | None:
        """What the step printed: standard output, standard error and both; None if that was not kept."""
        row = self._db.row("SELECT json_extract(parts, '$.printed') FROM cache WHERE key = ?", (key,))
        return json.loads(row[0]) if row and row[0] else None

    def add(
        self, key: str, parent: str, step: Step, record: Record, printed: Sequence[str] | None = None, *,
        checked: float | None = None,
    ) -> None:  # fmt: skip
        """Remember; a record that was there is replaced. ``printed``: see :meth:`printed`.

        ``checked``: when the step was executed again, with the outcome that the record had before.
        """
        more = {"printed": printed, "checked": checked}
        parts = step.parts(**{name: value for name, value in more.items() if value is not None})
        row = (key, parent, record.layer, record.result, parts, record.created, time.time())
        with self._db.transaction() as conn:
            conn.execute("INSERT OR REPLACE INTO cache VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def siblings(self, parent: str, kind: str, layer: str) -> list[Record]:
        """What steps of that kind made of the state before, other than ``layer``; the oldest first."""
        sql = (
            "SELECT layer, result, created FROM cache "
            "WHERE parent = ? AND layer <> ? AND json_extract(parts, '$.kind') = ? ORDER BY created LIMIT ?"
        )
        return [Record(*row) for row in self._db.rows(sql, (parent, layer, kind, SIBLINGS))]

    def explain(self, parent: str, step: Step) -> Miss | None:
        """What makes ``step`` differ from the nearest one of its kind on the same state; None if there is none."""
        rows = self._db.rows("SELECT parts, created FROM cache WHERE parent = ? ORDER BY used DESC", (parent,))
        best: Miss | None = None
        for text, created in rows:
            parts = json.loads(text)
            if parts["kind"] != step.kind:
                continue
            differences = compare(parts, json.loads(step.parts()))
            if best is None or len(differences) < len(best.differences):
                best = Miss(tuple(differences), created)
        return best

    def knows_elsewhere(self, step: Step) -> bool:
        """Whether the very same step was recorded on whatever state. It reads all records: only for explanations."""
        sql = (
            "SELECT 1 FROM cache WHERE json_extract(parts, '$.kind') = ? AND json_extract(parts, '$.step') = json(?) "
            "AND json_extract(parts, '$.inputs') = json(?) LIMIT 1"
        )
        return self._db.row(sql, (step.kind, _json(step.values), _json(step.inputs))) is not None

    def forget(self, key: str) -> None:
        """Delete one record; its layer is garbage once nothing else needs it."""
        with self._db.transaction() as conn:
            conn.execute("DELETE FROM cache WHERE key = ?", (key,))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The differences between the parts of two records, one line each, for people."""
    lines: list[str] = []
    for name in sorted({*old["step"], *new["step"]}):
        lines += _value(name, old["step"].get(name), new["step"].get(name))
    if list(old["inputs"]) != list(new["inputs"]):
        lines += _files(old["names"], new["names"]) or ["the files it reads changed"]
    return lines


def _value(name: str, old: object, new: object) -> list[str]:
    if old == new:
        return []
    if name == "env" and isinstance(old, list) and isinstance(new, list):
        before, after = (dict(pair.partition("=")[::2] for pair in pairs) for pairs in (old, new))
        return [
            f"{name} {key}: {_brief(before.get(key))} → {_brief(after.get(key))}"
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        ]
    return [f"{name}: {_brief(old)} → {_brief(new)}"]


def _brief(value: object) -> str:
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"


def _files(old: Mapping[str, str], new: Mapping[str, str]) -> Sequence[str]:
    lines = []
    for path in sorted({*old, *new}):
        if path not in old:
            lines.append(f"{path} is new")
        elif path not in new:
            lines.append(f"{path} is gone")
        elif old[path] != new[path]:
            lines.append(f"{path} changed")
    return lines
