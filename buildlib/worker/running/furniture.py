"""What a run needs in a tree into which nothing can be mounted: put there for the run, and taken away after it.

What stood in its place is moved aside meanwhile, beside the tree. A journal on the disk comes before each change, so
that :func:`clear` also knows what to do when the run that put it there was killed.
"""

from __future__ import annotations

import contextlib
import json
import os

from buildlib.linux import beneath
from buildlib.snapshot.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

JOURNAL, ASIDE = "furniture.json", "aside"
"""Beside the tree."""


class Furniture:
    """Puts things into ``tree``, which no process but ours uses yet."""

    def __init__(self, tree: str) -> None:
        self.tree = tree
        self.journal = f"{os.path.dirname(tree)}/{JOURNAL}"
        self.aside = f"{os.path.dirname(tree)}/{ASIDE}"
        self.notes: list[dict[str, Any]] = []

    def put(self, target: str, make: Callable[[str], None], *, home: str | None = None) -> None:
        """Let ``make`` create what is seen at ``target`` during the run; it is given a path where nothing is.

        Links of the image are followed within the tree, but for the last. ``home`` is where it is moved to afterwards,
        unless it is deleted. Raises ``OSError``.
        """
        root = os.open(self.tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            folder, name = os.path.split(target.rstrip("/"))
            self._make_folders(root, folder)
            parent = beneath.open_in_root(root, folder, os.O_PATH | os.O_DIRECTORY)
        finally:
            os.close(root)
        try:
            real = os.readlink(f"/proc/self/fd/{parent}")
            self._put(f"{real}/{name}", make, home)
        finally:
            os.close(parent)

    def _put(self, path: str, make: Callable[[str], None], home: str | None) -> None:
        info = os.lstat(os.path.dirname(path))
        note: dict[str, Any] = {"path": path, "home": home, "times": [info.st_atime_ns, info.st_mtime_ns]}
        if os.path.lexists(path):
            os.makedirs(self.aside, 0o700, exist_ok=True)
            note["aside"] = f"{self.aside}/{len(self.notes)}"
        self._note(note)
        if "aside" in note:
            os.rename(path, note["aside"])
        make(path)
        info = os.lstat(os.path.dirname(path))
        note["made"] = [info.st_atime_ns, info.st_mtime_ns]
        self._note(None)

    def _make_folders(self, root: int, folder: str) -> None:
        for spot in beneath.missing(root, folder):
            self.put(spot, os.mkdir)

    def _note(self, note: dict[str, Any] | None) -> None:
        if note is not None:
            self.notes.append(note)
        _write(self.journal, self.notes, [])


def _write(journal: str, notes: list[dict[str, Any]], touched: list[str]) -> None:
    with open(f"{journal}.new", "w", encoding="utf-8") as file:
        json.dump({"notes": notes, "touched": touched}, file)
    os.rename(f"{journal}.new", journal)


def clear(tree: str) -> None:
    """Take away all that the last run was given in ``tree``, and let it be as it was before.

    Whatever the run did to its furniture itself is gone with it. Doing it twice is doing it once.
    """
    journal = f"{os.path.dirname(tree)}/{JOURNAL}"
    try:
        with open(journal, encoding="utf-8") as file:
            kept = json.load(file)
    except FileNotFoundError:
        return
    touched: list[str] = kept["touched"]
    for note in reversed(kept["notes"]):
        with contextlib.suppress(OSError):  # the run has moved the folder away: then it is its own
            touched += [path.removeprefix(tree) for path in _clear(note)]
    remove_tree(f"{os.path.dirname(tree)}/{ASIDE}")
    _write(journal, [], touched)


def touched(tree: str) -> list[str]:
    """After :func:`clear`: what was touched on the way and is as it was before, below the tree. It is told once."""
    journal = f"{os.path.dirname(tree)}/{JOURNAL}"
    try:
        with open(journal, encoding="utf-8") as file:
            found: list[str] = json.load(file)["touched"]
    except FileNotFoundError:
        return []
    os.unlink(journal)
    return found


def _clear(note: dict[str, Any]) -> Iterator[str]:
    path, home, aside = note["path"], note["home"], note.get("aside")
    parent = os.path.dirname(path)
    if os.path.realpath(parent) != parent:
        return  # a link was put on the way; nothing outside is touched
    info = os.lstat(parent)
    if home is not None and not os.path.lexists(home) and os.path.isdir(path) and not os.path.islink(path):
        os.rename(path, home)
    if aside is None or os.path.lexists(aside):  # else it was never moved
        remove_tree(path)
    if aside is not None and os.path.lexists(aside):
        os.rename(aside, path)
        yield path
    # Nobody but us has changed that folder? Then it is as if nobody had.
    now = [info.st_atime_ns, info.st_mtime_ns]
    if now[1:] == note.get("made", now)[1:]:
        os.utime(parent, ns=tuple(note["times"]))
    else:
        os.utime(parent, ns=(now[0], now[1]))
    yield parent
