"""Make one layer of a whole stack."""

from __future__ import annotations

from buildlib.layer import squash as layer_squash
from buildlib.layer.measure import measure
from buildlib.worker.operations.apply import new_layer
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def squash(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{layers, key?, timestamp?, clamp?, into} -> {diff_id, content_digest, size, crc32}``.

    ``into`` becomes the id of a new layer with what is seen in the stack ``layers`` (and above it in the container
    ``key``): no whiteouts. ``timestamp`` and ``clamp`` change the times in the folder itself.
    """
    times = {"timestamp": args.get("timestamp"), "clamp": args.get("clamp")}
    layers = args["layers"]
    with Workspace(root) as space, new_layer(root, args["into"]) as folder:
        tree = space.look(args["key"], layers) if args.get("key") else space.view(layers)
        layer_squash.squash(tree, folder, **times)
        measured = measure(folder)
    return {name: getattr(measured, name) for name in ("diff_id", "content_digest", "size", "crc32")}
