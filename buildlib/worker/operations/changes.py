"""What a layer, or a container that is not finished, changes against the layers below it."""

from __future__ import annotations

from buildlib.layer import diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def changes(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{layer | key, parents} -> {changes: [[kind, path, size, mode], …]}``; see :mod:`buildlib.layer.diff`."""
    folder = f"layers/{args['layer']}/fs" if args.get("layer") else f"containers/{args['key']}/upper"
    parents = [f"{root}/layers/{parent}/fs" for parent in args["parents"]]
    found = diff.changes(f"{root}/{folder}", parents)
    return {"changes": [[change.kind, change.path, change.size, change.mode] for change in found]}
