"""Clear away what a run left that its own process could not."""

from __future__ import annotations

from buildlib.snapshot.tree import remove_tree
from buildlib.worker.running import root as roots
from buildlib.worker.tier import current
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def after(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key, parents, made, folders, group?} -> {}``: mount points made in the tree, folders to throw away, a group.

    What was written in a tree that is a copy of the layers is brought into the upper.
    """
    if args.get("group"):
        from buildlib.worker.running.limits import release

        release(args["group"])
    for folder in args["folders"]:
        remove_tree(folder)
    if args["made"] or current().driver == "copy":
        with Workspace(root) as space:
            roots.clear(space, args["key"], args["parents"], args["made"])
    return {}
