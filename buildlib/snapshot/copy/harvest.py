"""Brings what was changed in a tree into an upper, in the form in which the kernel's overlay would have left it."""

from __future__ import annotations

import contextlib
import os
import stat

from buildlib.linux.statx import birth_time
from buildlib.snapshot import marks
from buildlib.snapshot.copy.grow import put
from buildlib.snapshot.metadata import copy_metadata
from buildlib.snapshot.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.snapshot.copy.index import Entries

_KIND, _DIRECTORY = 0o170000, 0o040000


def harvest(
    tree: bytes, upper: bytes, lowers: Sequence[bytes], before: Entries, now: Entries, since: int, *, userxattr: bool
) -> int:
    """Let ``upper`` have what makes of ``before`` what is ``now``; ``lowers``, topmost first, are below it.

    ``since`` is when it was as ``before``, in nanoseconds.

    Doing it twice is doing it once. Returns how many entries were written. Raises ``OSError``.
    """
    changed = [path for path, entry in now.items() if before.get(path) != entry]
    gone = before.keys() - now.keys()
    if not changed and not gone:
        return 0
    work = _Harvest(tree, upper, lowers, before, now, since, userxattr=userxattr)
    for path in changed:
        if now[path][4] & _KIND == _DIRECTORY:
            work.directory(path)
    for path in gone:
        work.deleted(path)
    for path in changed:
        if now[path][4] & _KIND != _DIRECTORY and not work.only_lost_a_name(path):
            work.file(path)
    for path in work.unseen_in_new():
        work.file(path)
    work.finish()
    return work.count


class _Harvest:
    def __init__(
        self,
        tree: bytes,
        upper: bytes,
        lowers: Sequence[bytes],
        before: Entries,
        now: Entries,
        since: int,
        *,
        userxattr: bool,
    ) -> None:
        self.tree, self.upper, self.before, self.now = tree, upper, before, now
        self.since = since
        self.userxattr = userxattr
        self.below: dict[bytes, list[bytes]] = {b"": list(lowers)}
        """The lower directories of a directory, topmost first."""
        self.new: set[bytes] = set()
        """Directories that are not those of before."""
        self.had: set[bytes] = {b""}
        """Directories that the upper has."""
        self.touched: set[bytes] = set()
        """Those whose attributes are to be as in the tree."""
        self.first: dict[int, bytes] = {}
        self.count = 0

    def directory(self, path: bytes) -> None:
        """It is new, or its attributes are. Parents come first."""
        self.touched.add(path)
        if path and not self._is_old(path):
            self._make_new(path)
        else:
            self._have(path)
        self.count += 1

    def _is_old(self, path: bytes) -> bool:
        """Whether it is the directory that was there before."""
        old = self.before.get(path)
        if old is None or old[0] != self.now[path][0] or old[4] & _KIND != _DIRECTORY:
            return False
        # What is made right after something was deleted may get the inode of that.
        born = birth_time(b"%s/%s" % (self.tree, path))
        return born is None or born <= self.since

    def _make_new(self, path: bytes) -> None:
        self._have(_parent(path))
        target = self._at(path)
        hides = self._covered(path)
        remove_tree(os.fsdecode(target))
        os.mkdir(target, 0o700)
        if hides:
            marks.make_opaque(target, userxattr=self.userxattr)
        self.new.add(path)
        self.had.add(path)
        self.below[path] = []

    def deleted(self, path: bytes) -> None:
        """It is not there any more; what hid or held it goes only once."""
        parent = _parent(path)
        above = self.now.get(parent)
        if above is None or above[4] & _KIND != _DIRECTORY or parent in self.new:
            return
        self._have(parent)
        self.touched.add(parent)
        target = self._at(path)
        remove_tree(os.fsdecode(target))
        if self._covered(path):
            marks.make_whiteout(target, userxattr=self.userxattr)
        self.count += 1

    def only_lost_a_name(self, path: bytes) -> bool:
        """Whether another name of the file went, and it is else as below (which sets its time of change, too)."""
        old, new = self.before.get(path), self.now[path]
        if old is None or old[5] <= new[5] or (*old[:3], old[4]) != (*new[:3], new[4]):
            return False
        below = self._find(path)
        return below is not None and same_file(below, b"%s/%s" % (self.tree, path))

    def _find(self, path: bytes) -> bytes | None:
        """Where the upper, or else the layers have it."""
        own = self._at(path)
        if os.path.lexists(own):
            return own
        name = path.rpartition(b"/")[2]
        spots = (b"%s/%s" % (place, name) for place in self._places(_parent(path)))
        return next((spot for spot in spots if os.path.lexists(spot)), None)

    def file(self, path: bytes) -> None:
        """It is new or has changed."""
        parent = _parent(path)
        self._have(parent)
        self.touched.add(parent)
        source, target = b"%s/%s" % (self.tree, path), self._at(path)
        info = os.lstat(source)
        remove_tree(os.fsdecode(target))
        self.count += 1
        if info.st_nlink > 1:
            first = self.first.setdefault(info.st_ino, target)
            if first is not target:
                os.link(first, target, follow_symlinks=False)
                return
        if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            return  # nothing that an overlay lets anybody make
        put(source, target, info)

    def unseen_in_new(self) -> list[bytes]:
        """What was moved into a directory that is new, where the file system does not note that as a change."""
        if not self.new:
            return []
        return [
            path
            for path, entry in self.now.items()
            if self.before.get(path) == entry and entry[4] & _KIND != _DIRECTORY and _parent(path) in self.new
        ]

    def _have(self, path: bytes) -> None:
        """The directory is in the upper, with the attributes that it has in the tree."""
        if path in self.had:
            return
        self._have(_parent(path))
        target = self._at(path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(target, 0o700)
        self.had.add(path)
        self.touched.add(path)

    def finish(self) -> None:
        """Attributes of directories, when nothing is put into them any more."""
        for path in sorted(self.touched, key=len, reverse=True):
            source = b"%s/%s" % (self.tree, path) if path else self.tree
            copy_metadata(source, self._at(path), os.lstat(source))

    def _at(self, path: bytes) -> bytes:
        return b"%s/%s" % (self.upper, path) if path else self.upper

    def _covered(self, path: bytes) -> bool:
        """Whether the layers below would show something there."""
        name = path.rpartition(b"/")[2]
        for place in self._places(_parent(path)):
            spot = b"%s/%s" % (place, name)
            try:
                return not marks.is_whiteout(place, spot, os.lstat(spot))
            except (FileNotFoundError, NotADirectoryError):
                continue
        return False

    def _places(self, path: bytes) -> list[bytes]:
        found = self.below.get(path)
        if found is None:
            found = []
            name = path.rpartition(b"/")[2]
            own = self._at(path)
            hidden = os.path.isdir(own) and marks.is_opaque(own)
            for place in () if hidden else self._places(_parent(path)):
                spot = b"%s/%s" % (place, name)
                try:
                    info = os.lstat(spot)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                if not stat.S_ISDIR(info.st_mode):
                    break
                found.append(spot)
                if marks.is_opaque(spot):
                    break
            self.below[path] = found
        return found


def same_file(one: bytes, other: bytes) -> bool:
    """Whether two files are equal in all but names and times of change. Raises ``OSError``."""
    a, b = os.lstat(one), os.lstat(other)
    if (a.st_mode, a.st_uid, a.st_gid, a.st_size, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_size, b.st_rdev):
        return False
    if _xattrs(one) != _xattrs(other):
        return False
    if not stat.S_ISREG(a.st_mode):
        return True
    with open(one, "rb") as first, open(other, "rb") as second:
        while True:
            data = first.read(1 << 20)
            if data != second.read(1 << 20):
                return False
            if not data:
                return True


def _xattrs(path: bytes) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if not marks.is_mark(name)}


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
