"""Reads a stack of layer folders as the overlay that it makes, without mounting it. It changes nothing.

A look-up takes one name at a time, as the kernel does (overlayfs.rst, "Lower layers"): the topmost layer that has the
name decides; directories merge downwards until a whiteout, an opaque directory or something else ends it. It follows no
symbolic link, neither at the end nor on the way: every step was looked at, and layers never change.
"""

from __future__ import annotations

import os
import stat

from buildlib.layer import whiteout
from buildlib.linux import owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Found = tuple[str, os.stat_result]


class Merged:
    """A merged directory: ``places`` are the directories that make it, topmost first."""

    __slots__ = ("places",)

    def __init__(self, places: list[str]) -> None:
        self.places = places

    @classmethod
    def stack(cls, folders: Iterable[str]) -> Merged:
        """The root of a stack of layer folders, given base first."""
        return cls(list(folders)[::-1])

    def find(self, name: str) -> Found | None:
        """Where ``name`` is seen, as a path, and what it is; None if there is no such thing. Raises ``OSError``."""
        for place in self.places:
            path = f"{place}/{name}"
            try:
                info = os.lstat(path)
            except FileNotFoundError:
                continue
            return None if whiteout.deletes(place, path, info) else (path, owners.told(info, path, place, name))
        return None

    def enter(self, name: str) -> Merged | None:
        """The merged directory ``name``; None if there is no such directory."""
        places = []
        for place in self.places:
            path = f"{place}/{name}"
            try:
                info = os.lstat(path)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(info.st_mode):
                break  # it hides what is below, and is hidden by what is above
            places.append(path)
            if whiteout.opaque_mark(path) == b"y":
                break
        return Merged(places) if places else None

    def reach(self, path: str) -> Merged | None:
        """The merged directory at ``path``; None if there is no such directory."""
        here: Merged | None = self
        for name in path.split("/"):
            if here is not None and name not in ("", "."):
                here = here.enter(name)
        return here

    def names(self) -> list[str]:
        """The names that are seen in it, sorted."""
        seen: dict[str, bool] = {}
        for place in self.places:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name not in seen:
                        info = entry.stat(follow_symlinks=False)
                        seen[entry.name] = not whiteout.deletes(place, entry.path, info)
        return sorted(name for name, visible in seen.items() if visible)
