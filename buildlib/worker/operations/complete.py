"""Fetch from the layers below what a layer's archive did not carry."""

from __future__ import annotations

from buildlib.layer import complete as layer_complete
from buildlib.worker.workspace import snapshotter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def complete(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{layer, missing_parents, pending_links, parents} -> {}``; see :func:`buildlib.layer.complete.complete`."""
    store = snapshotter(root)
    layer_complete.complete(
        store.layer(args["layer"]),
        args["missing_parents"],
        args["pending_links"],
        [store.layer(parent) for parent in args["parents"]],
        userxattr=store.userxattr,
    )
    return {}
