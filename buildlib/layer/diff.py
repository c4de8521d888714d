"""What a layer folder changes against the layers below it, as ``docker diff`` tells it. It reads no contents."""

from __future__ import annotations

import os
import stat

from buildlib.errors import from_os_error
from buildlib.layer import whiteout
from buildlib.layer.merged import Merged
from buildlib.layer.walk import ROOT, walk
from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Change(NamedTuple):
    """A ``path`` (from the root, with a leading "/") that was "added", "changed" or "deleted".

    ``size`` in bytes, of files only, and ``mode`` with its type bits (``st_mode``); both 0 for what was deleted.
    """

    path: str
    kind: str
    size: int = 0
    mode: int = 0


def changes(fs_dir: str, parents: Iterable[str]) -> Iterator[Change]:
    """Compare a layer folder (or the upper of a container) with the stack of folders ``parents``, base first.

    Parents come before children. A directory counts as changed when its mode, owner or time changed or anything in it
    did; a file as soon as the layer has it. Of a directory that was deleted and made again, what is gone is told one
    by one; of one that is gone only its own name. Raises :class:`StoreError`.
    """
    try:
        root = os.open(fs_dir, ROOT)
        try:
            yield from _Comparison(Merged.stack(parents)).changes(root)
        finally:
            os.close(root)
    except OSError as error:
        raise from_os_error(error, f"comparing {fs_dir}") from error


class _Level:
    """A directory on the way to where the comparison is."""

    __slots__ = ("below", "change", "opaque", "prefix")

    def __init__(self, prefix: bytes, below: Merged | None, opaque: bool, change: Change | None) -> None:
        self.prefix = prefix
        self.below = below
        """What the lower layers have there, even if it is hidden."""
        self.opaque = opaque
        self.change = change
        """What is still to be told of it; for an unchanged directory only when anything in it changed."""


class _Comparison:
    def __init__(self, below: Merged) -> None:
        self._levels = [_Level(b"", below, False, None)]

    def changes(self, root: int) -> Iterator[Change]:
        levels = self._levels
        for path, name, info, _, own in walk(root):
            while not path.startswith(levels[-1].prefix):
                levels.pop()
            here = levels[-1]
            found = here.below.find(name) if here.below is not None else None
            if stat.S_ISDIR(info.st_mode):
                inside = here.below.enter(name) if here.below is not None else None
                opaque = here.opaque or whiteout.opaque_mark(own) == b"y"
                levels.append(_Level(path + b"/", inside, opaque, _change(path, found, info)))
                if found is None or opaque or _described(found[1]) != _described(info):
                    yield from self._tell()
                if opaque and inside is not None:
                    yield from self._gone(path, inside, own)
            elif not whiteout.is_whiteout(info):
                yield from self._tell(_change(path, found, info))
            elif found is not None:
                yield from self._tell(Change(f"/{os.fsdecode(path)}", "deleted"))

    def _tell(self, change: Change | None = None) -> Iterator[Change]:
        """What was not told yet of the directories around, then the change."""
        for level in self._levels:
            if level.change is not None:
                yield level.change
                level.change = None
        if change is not None:
            yield change

    def _gone(self, path: bytes, below: Merged, own: int) -> Iterator[Change]:
        """What an opaque directory does not have any more."""
        kept = set(os.listdir(own))
        for name in below.names():
            if name not in kept:
                yield Change(f"/{os.fsdecode(path)}/{name}", "deleted")


def _change(path: bytes, found: tuple[str, os.stat_result] | None, info: os.stat_result) -> Change:
    size = info.st_size if stat.S_ISREG(info.st_mode) else 0
    return Change(f"/{os.fsdecode(path)}", "added" if found is None else "changed", size, info.st_mode)


def _described(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns
