"""Turn what was written in a working container into a layer."""

from __future__ import annotations

from buildlib.layer.prune import prune_opaque
from buildlib.worker.workspace import snapshotter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def commit(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key, parents, layer} -> {}``: a rename, see :meth:`Snapshotter.commit`. It must not be mounted."""
    place = snapshotter(root)
    prune_opaque(place.upper(args["key"]), map(place.layer, args["parents"]))
    place.commit(args["layer"], args["key"], args["parents"])
    return {}
