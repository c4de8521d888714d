"""Clear away what a run left that its own process could not."""

from __future__ import annotations

from buildlib.snapshot.tree import remove_tree
from buildlib.worker.running import root as roots
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def after(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key, parents, made, scratch} -> {}``: mount points made in the tree, a folder for what is thrown away."""
    if args["scratch"]:
        remove_tree(args["scratch"])
    if args["made"]:
        with Workspace(root) as space:
            roots.clear(space, args["key"], args["parents"], args["made"])
    return {}
