"""What one stack of layers has changed against another, from what each layer changed against those below it."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NamedTuple

    from buildlib.store import Store

    class Change(NamedTuple):
        """A path that differs."""

        kind: str
        path: str
        size: int
        mode: int
else:
    Change = namedtuple("Change", "kind path size mode")
    Change.__doc__ = """A path (from the root, with a leading "/") that was "added", "changed" or "deleted"; its size in
    bytes and its mode, both 0 for one that was deleted."""

_THEN = {
    ("added", "changed"): "added",
    ("added", "deleted"): None,
    ("deleted", "added"): "changed",
    ("changed", "deleted"): "deleted",
}
"""What two changes of one path, one after the other, are together; where nothing is said, the later one."""

_BACK = {"added": "deleted", "deleted": "added", "changed": "changed"}


def compare(store: Store, layers: Sequence[str], other: Sequence[str]) -> list[Change]:
    """How the stack ``layers`` differs from ``other``, both base first; sorted by path.

    Exact when ``other`` is the lower part of ``layers``. A path that both have changed above what they have in common
    is reported as changed without a look at its contents.
    """
    common = 0
    while common < min(len(layers), len(other)) and layers[common] == other[common]:
        common += 1
    ours, theirs = changed_above(store, layers, common), changed_above(store, other, common)
    result = dict(ours)
    for path, change in theirs.items():
        mine = ours.get(path)
        if mine is None:
            result[path] = change._replace(kind=_BACK[change.kind])
        elif mine.kind == change.kind == "deleted":
            del result[path]
        elif mine.kind != "deleted":
            result[path] = mine._replace(kind="added" if change.kind == "deleted" else "changed")
    return [result[path] for path in sorted(result)]


def changed_above(store: Store, layers: Sequence[str], base: int) -> dict[str, Change]:
    """What all layers from the number ``base`` on have changed together, by path."""
    total: dict[str, Change] = {}
    for position in range(base, len(layers)):
        args = {"layer": layers[position], "parents": list(layers[:position])}
        merge(total, (Change(*row) for row in store.worker.call("changes", args)["changes"]))
    return total


def merge(total: dict[str, Change], later: Iterable[Change]) -> None:
    """Let ``total`` be the changes of ``total`` and then ``later``."""
    for change in later:
        before = total.get(change.path)
        kind = _THEN.get((before.kind, change.kind), change.kind) if before else change.kind
        if kind is None:
            del total[change.path]
        else:
            total[change.path] = change._replace(kind=kind)
