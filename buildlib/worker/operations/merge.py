"""Make one layer of several, which does to the layers below what they did one after the other."""

from __future__ import annotations

from buildlib.layer.measure import measure
from buildlib.worker.copying import merge as folders
from buildlib.worker.operations.apply import new_layer
from buildlib.worker.workspace import snapshotter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def merge(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{layers, base, layer} -> {diff_id, content_digest, size, crc32}``: ``layer`` becomes the id of the new one."""
    place = snapshotter(root)
    layers, base = ([place.layer(layer) for layer in args[name]] for name in ("layers", "base"))
    with new_layer(root, args["layer"]) as folder:
        folders.merge(layers, base, folder, userxattr=place.userxattr)
        measured = measure(folder)
    return {name: getattr(measured, name) for name in ("diff_id", "content_digest", "size", "crc32")}
