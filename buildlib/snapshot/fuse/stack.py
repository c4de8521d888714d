"""How a stack of directories is seen as one: the only two ways in which anything is found in it, a name or a listing.

Whatever wants to know what was looked at, or to fetch it at that moment, stands here in the way (``find``, ``names``).
"""

from __future__ import annotations

import os
import stat

from buildlib.snapshot.fuse.node import Node, Nodes
from buildlib.snapshot.marks import is_opaque, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Stack:
    """Lower directories, topmost first, and maybe an upper. Paths are ``bytes``."""

    def __init__(self, lowers: Sequence[bytes], upper: bytes | None = None) -> None:
        self.upper = upper
        self.nodes = Nodes()
        root = self.nodes.root
        root.below = list(lowers)
        root.upper = upper is not None

    # --- where things are -------------------------------------------------------------------------------------------

    def path(self, node: Node) -> bytes:
        """Where it really is: in the upper, or else in the topmost lower directory that has it."""
        if node.orphan >= 0:
            return b"/proc/self/fd/%d" % node.orphan
        if node.upper:
            return self.upper_path(node)
        return self.below(node)[0] if node.is_directory else node.lower

    def upper_path(self, node: Node) -> bytes:
        """Where it is in the upper, or would be."""
        assert self.upper is not None
        return b"/".join([self.upper, *reversed(list(node.ancestors()))])

    def below(self, directory: Node) -> list[bytes]:
        """Its lower directories, topmost first."""
        if directory.below is None:
            parent, name = directory.links[0]
            hidden = directory.upper and is_opaque(self.upper_path(directory))
            directory.below = [] if hidden else self._places(parent, name)
        return directory.below

    def _places(self, parent: Node, name: bytes) -> list[bytes]:
        """The directories called ``name`` in those below ``parent``, down to where something ends the stack."""
        places = []
        for place in self.below(parent):
            path = b"%s/%s" % (place, name)
            try:
                info = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(info.st_mode):
                break
            places.append(path)
            if is_opaque(path):
                break
        return places

    def covers(self, directory: Node, name: bytes) -> bool:
        """Whether ``name`` would be seen in it without the upper: then its removal needs a whiteout."""
        for place in self.below(directory):
            path = b"%s/%s" % (place, name)
            try:
                return not is_whiteout(place, path, os.lstat(path))
            except (FileNotFoundError, NotADirectoryError):
                continue
        return False

    # --- what is seen -----------------------------------------------------------------------------------------------

    def find(self, directory: Node, name: bytes) -> tuple[Node, os.stat_result] | None:
        """What ``name`` is in it; None if there is no such thing. Every look-up comes through here."""
        known = directory.children.get(name)
        if known is not None:
            return known, self.stat(known)
        if directory.upper:
            place = self.upper_path(directory)
            path = b"%s/%s" % (place, name)
            try:
                info = os.lstat(path)
            except FileNotFoundError:
                pass
            else:
                return None if is_whiteout(place, path, info) else self._seen(directory, name, info, path, upper=True)
        for place in self.below(directory):
            path = b"%s/%s" % (place, name)
            try:
                info = os.lstat(path)
            except FileNotFoundError:
                continue
            return None if is_whiteout(place, path, info) else self._seen(directory, name, info, path, upper=False)
        return None

    def names(self, directory: Node) -> list[bytes]:
        """The names that are seen in it. Every listing comes through here."""
        seen: dict[bytes, bool] = {}
        places = [self.upper_path(directory)] if directory.upper else []
        for place in (*places, *self.below(directory)):
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name not in seen:
                        # A directory or a link can't be a whiteout, and needs no closer look.
                        plain = entry.is_dir(follow_symlinks=False) or entry.is_symlink()
                        seen[entry.name] = plain or not is_whiteout(
                            place, entry.path, entry.stat(follow_symlinks=False)
                        )
        return [name for name, visible in seen.items() if visible]

    def stat(self, node: Node) -> os.stat_result:
        """What it is. Raises ``OSError``."""
        if node.orphan >= 0:
            return os.fstat(node.orphan)
        return os.lstat(self.path(node))

    def _seen(
        self, directory: Node, name: bytes, info: os.stat_result, path: bytes, *, upper: bool
    ) -> tuple[Node, os.stat_result]:
        # With an upper, two names of one file below are two files: one of them may be copied up without the other.
        node = self.nodes.add(directory, name, info, identity=upper or self.upper is None)
        node.upper = upper
        if not upper and not node.is_directory:
            node.lower = path
        return node, info
