"""What stacks of layers hold and change, from what each layer changed against those below it."""

from __future__ import annotations

import stat

from buildlib.display import Changes
from buildlib.layer.diff import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildlib.store import Store

_BACK = {"added": "deleted", "deleted": "added", "changed": "changed"}


def compare(store: Store, layers: Sequence[str], other: Sequence[str]) -> Changes:
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
    return Changes(result[path] for path in sorted(result))


def changed_above(store: Store, layers: Sequence[str], base: int, key: str | None = None) -> dict[str, Change]:
    """What all layers from the number ``base`` on have changed together, by path; last the upper of container ``key``.

    From 0 on, that is all that the stack holds.
    """
    total: dict[str, Change] = {}
    for position in range(base, len(layers)):
        merge(total, changed_by(store, layers[:position], layer=layers[position]))
    if key is not None:
        merge(total, changed_by(store, layers, key=key))
    return total


def changed_by(store: Store, parents: Sequence[str], **what: str) -> list[Change]:
    """What one ``layer``, or the upper of the container ``key``, changes of what is below it."""
    reply = store.worker.call("changes", {**what, "parents": list(parents)})
    return [Change(path, kind, size, mode) for kind, path, size, mode in reply["changes"]]


def merge(total: dict[str, Change], later: Iterable[Change]) -> None:
    """Let ``total`` be the changes of ``total`` and then ``later``, by path. Pure.

    >>> found = {"/a": Change("/a", "added", 1, 0o100644)}
    >>> merge(found, [Change("/a", "deleted"), Change("/b", "changed", 2, 0o100600)])
    >>> found
    {'/b': Change(path='/b', kind='changed', size=2, mode=33152)}
    """
    for change in later:
        before = total.get(change.path)
        was_new = before is not None and before.kind == "added"
        if before is not None and stat.S_ISDIR(before.mode) and not stat.S_ISDIR(change.mode):
            below = f"{change.path}/"
            for path in [path for path in total if path.startswith(below)]:
                del total[path]
        if change.kind == "deleted":
            if was_new:
                del total[change.path]
                continue
        elif before is not None:
            change = change._replace(kind="added" if was_new else "changed")
        total[change.path] = change
