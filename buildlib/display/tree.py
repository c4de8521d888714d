"""A tree of files that can be opened folder by folder, coloured by what became of them. Pure."""

from __future__ import annotations

import stat

from buildlib.display.html import fold, size, tag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST = 1500
"""Lines of one tree; the largest come first, and the rest is counted."""

_MANY = 60
"""Lines of one folder."""

_DEEP = 40
"""Folders within each other; more is not for people."""


class _Node:
    __slots__ = ("children", "kind", "own", "shown", "total")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.shown: list[tuple[str, _Node]] = []
        self.kind = ""
        self.own = 0
        self.total = 0


def tree(entries: Iterable[tuple[str, int, int, str]]) -> str:
    """The tree of ``(path, size, mode, kind)``; ``kind`` is "added", "changed", "deleted", or "" for no colour."""
    top = _Node()
    for path, bytes_, mode, kind in entries:
        node = top
        for part in path.strip("/").split("/") if path != "/" else ():
            node = node.children.setdefault(part, _Node())
        node.kind = kind
        node.own = bytes_ if stat.S_ISREG(mode) else 0
    _add_up(top)
    _choose(top)
    return "".join(_lines(top, alone=len(top.children) == 1))


def _add_up(top: _Node) -> None:
    """Let each folder have the size of all that is in it; without recursion, for paths may be deep."""
    order = [top]
    for node in order:
        order += node.children.values()
    for node in reversed(order):
        node.total = node.own + sum(child.total for child in node.children.values())


def _choose(top: _Node) -> None:
    """Mark what is shown: of each folder the largest, and folders near the top before those deep down."""
    left, order = MOST, [(top, 0)]
    for node, depth in order:
        children = sorted(node.children.items(), key=lambda item: (-item[1].total, item[0]))
        node.shown = children[: min(_MANY, left) if depth < _DEEP else 0]
        left -= len(node.shown)
        order += [(child, depth + 1) for _, child in node.shown]


def _lines(node: _Node, *, alone: bool = False) -> Iterator[str]:
    for name, child in node.shown:
        label = tag("span", text(name) + ("/" if child.children else ""), class_=f"m {child.kind}".rstrip())
        label += tag("span", size(child.total), class_="s") if child.total else ""
        if child.children:
            yield fold(label, "".join(_lines(child)), opened=alone)
        else:
            yield tag("div", label, class_="f")
    if len(node.shown) < len(node.children):
        yield tag("div", f"… {len(node.children) - len(node.shown)} more", class_="f s")
