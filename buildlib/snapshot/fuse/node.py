"""What the kernel has a number for: a file, or a merged directory, and where its real parts lie."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = 1
"""The number of the root directory (FUSE_ROOT_ID)."""


class Node:
    """One inode of the overlay.

    A path in the upper is never kept, because directories may be renamed: it is put together from the names above.
    A path in a lower directory stays as it is for ever.
    """

    __slots__ = ("below", "children", "handles", "known", "links", "lower", "mode", "number", "orphan", "upper")

    def __init__(self, number: int, mode: int) -> None:
        self.number = number
        self.mode = stat.S_IFMT(mode)
        self.known = 0
        """How often the kernel was told of it (its lookup count)."""
        self.links: list[tuple[Node, bytes]] = []
        """Its names; those of a file that lies below only ever one."""
        self.upper = False
        """Whether it is in the upper."""
        self.lower = b""
        """Of what is no directory and not in the upper: where it is."""
        self.below: list[bytes] | None = None
        """Of a directory: its lower directories, topmost first; None until somebody asks."""
        self.children: dict[bytes, Node] = {}
        """Of a directory: those below it that are known to the kernel, and lie on the way to such."""
        self.handles: set[int] = set()
        """Of a file that is not in the upper: the descriptors through which it is being read."""
        self.orphan = -1
        """A descriptor of a file in the upper that has lost its last name (O_PATH)."""

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return self.mode == stat.S_IFDIR

    @property
    def is_gone(self) -> bool:
        """Whether it has lost its last name."""
        return not self.links and self.number != ROOT

    def ancestors(self) -> Iterator[bytes]:
        """The names from itself up to the root, which has none."""
        node = self
        while node.links:
            node, name = node.links[0]
            yield name

    def drop_link(self, parent: Node, name: bytes) -> None:
        """Forget one of its names."""
        self.links = [link for link in self.links if link[0] is not parent or link[1] != name]


class Nodes:
    """All nodes by number, and the files of the upper by their real identity, so that hard links stay one file."""

    def __init__(self) -> None:
        self.root = Node(ROOT, stat.S_IFDIR)
        self.by_number: dict[int, Node] = {ROOT: self.root}
        self.by_identity: dict[tuple[int, int], Node] = {}
        self._identity: dict[int, tuple[int, int]] = {}
        self._last = ROOT

    def __getitem__(self, number: int) -> Node:
        return self.by_number[number]

    def add(self, parent: Node, name: bytes, info: os.stat_result, *, identity: bool) -> Node:
        """The node of ``name`` in ``parent``; with ``identity`` the one that has other names already, if it has."""
        same = (info.st_dev, info.st_ino)
        shared = identity and not stat.S_ISDIR(info.st_mode)
        node = self.by_identity.get(same) if shared else None
        if node is None:
            self._last += 1
            node = self.by_number[self._last] = Node(self._last, info.st_mode)
            if shared:
                self.identify(node, info)
        node.links.append((parent, name))
        parent.children[name] = node
        return node

    def identify(self, node: Node, info: os.stat_result) -> None:
        """Remember which file it is now."""
        same = (info.st_dev, info.st_ino)
        self.by_identity[same] = node
        self._identity[node.number] = same

    def forget(self, number: int, count: int) -> None:
        """The kernel has dropped ``count`` references (FUSE_FORGET)."""
        node = self.by_number.get(number)
        if node is None or number == ROOT:
            return
        node.known -= count
        if node.known <= 0:
            self._release(node)

    def _release(self, node: Node) -> None:
        while node.known <= 0 and not node.children and node.number != ROOT:
            if self.by_number.pop(node.number, None) is None:
                return
            same = self._identity.pop(node.number, None)
            if same is not None and self.by_identity.get(same) is node:
                del self.by_identity[same]
            if node.orphan >= 0:
                os.close(node.orphan)
            parents = [parent for parent, name in node.links if parent.children.get(name) is node]
            for parent, name in node.links:
                if parent.children.get(name) is node:
                    del parent.children[name]
            if not parents:
                return
            node = parents[0]
