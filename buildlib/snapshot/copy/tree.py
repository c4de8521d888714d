"""The tree of a working container: made when it is first wanted, kept for the next step, harvested after each."""

from __future__ import annotations

import os

from buildlib.snapshot.copy import index
from buildlib.snapshot.copy.grow import grow
from buildlib.snapshot.copy.harvest import harvest
from buildlib.snapshot.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildlib.snapshot.copy.index import Entries

TREE, INDEX = "tree", "index"
"""Beside the upper: the tree, and what it looked like."""


class Tree:
    """The files of ``lowers`` (topmost first) and ``upper`` in one folder, ``path``."""

    def __init__(self, lowers: Sequence[str], upper: str, *, userxattr: bool) -> None:
        folder = os.path.dirname(upper)
        self.path = f"{folder}/{TREE}"
        self._index = f"{folder}/{INDEX}"
        self._lowers = [os.fsencode(lower) for lower in lowers]
        self._upper = os.fsencode(upper)
        self._userxattr = userxattr
        self._before: Entries | None = None
        self._since = 0

    @classmethod
    def kept(cls, folder: str, *, userxattr: bool) -> Tree | None:
        """The one that there is in the folder of a container, as it was last; None if there is none."""
        found = index.load(f"{folder}/{INDEX}")
        if found is None:
            return None
        *layers, _ = (path for path, _ in found[1]["layers"])
        tree = cls(layers[::-1], f"{folder}/upper", userxattr=userxattr)
        tree._before, tree._since = found[0], found[1]["since"]
        return tree

    @property
    def is_ready(self) -> bool:
        """Whether it is there and shows these layers."""
        kept = index.load(self._index)
        return kept is not None and self._missing(kept[1]["layers"]) == []

    def make_ready(self) -> None:
        """Put it together, or add what is new to it. Raises ``OSError``."""
        kept = index.load(self._index)
        missing = self._missing(kept[1]["layers"]) if kept is not None else None
        if kept is not None and missing == []:
            self._before, self._since = kept[0], kept[1]["since"]
            return
        tree = os.fsencode(self.path)
        if os.path.lexists(self._index):  # half of a tree must not be taken for one
            os.unlink(self._index)
        fresh = missing is None
        if fresh:
            remove_tree(self.path)
            os.mkdir(self.path, 0o700)
        for layer in self._stack() if missing is None else missing:
            grow(tree, layer, fresh=fresh)
            fresh = False
        self._keep(index.scan(tree))

    def harvest(self) -> None:
        """Bring what has changed since :meth:`make_ready` into the upper. Raises ``OSError``."""
        before = self._before
        assert before is not None
        now = index.scan(os.fsencode(self.path))
        if now == before:
            return
        harvest(os.fsencode(self.path), self._upper, self._lowers, before, now, self._since, userxattr=self._userxattr)
        self._keep(now)

    def forgive(self, paths: Iterable[str]) -> None:
        """Take no notice that these (below the tree) have another time of change, if they are else as they were."""
        assert self._before is not None
        for path in paths:
            name = os.fsencode(path.strip("/"))
            old = self._before.get(name)
            if old is None:
                continue
            try:
                info = os.lstat(b"%s/%s" % (os.fsencode(self.path), name) if name else self.path)
            except OSError:
                continue
            size = 0 if old[4] & 0o170000 == 0o040000 else info.st_size
            if (info.st_ino, size, info.st_mtime_ns, info.st_mode) == (old[0], old[1], old[2], old[4]):
                self._before[name] = (*old[:3], info.st_ctime_ns, *old[4:])

    def _stack(self) -> list[bytes]:
        """All that it shows, base first."""
        return [*reversed(self._lowers), self._upper]

    def _identities(self) -> list[list[object]]:
        return [[os.fsdecode(layer), os.stat(layer).st_ino] for layer in self._stack()]

    def _missing(self, shown: list[list[object]]) -> list[bytes] | None:
        """Which layers lie on top of those that it shows; None if it shows others.

        A layer is known by its inode, too: an upper keeps that when it becomes a layer.
        """
        wanted = self._identities()
        if len(shown) > len(wanted) or not os.path.lexists(self.path):
            return None
        for (path, inode), (wanted_path, wanted_inode) in zip(shown, wanted, strict=False):
            if inode != wanted_inode or (path != wanted_path and path != os.fsdecode(self._upper)):
                return None
        return self._stack()[len(shown) :]

    def _keep(self, entries: Entries) -> None:
        self._before, self._since = entries, index.settle(entries)
        index.save(self._index, entries, {"layers": self._identities(), "since": self._since})


def show(lowers: Sequence[str], place: str) -> None:
    """Put ``lowers`` (topmost first) together in the empty folder ``place``, for reading only: most are hard links."""
    fresh = True
    for layer in reversed(lowers):
        grow(os.fsencode(place), os.fsencode(layer), link=True, fresh=fresh)
        fresh = False
