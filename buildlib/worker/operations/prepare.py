"""Make the folders of a working container."""

from __future__ import annotations

from buildlib.worker.workspace import snapshotter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def prepare(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key, parents} -> {}``: see :meth:`Snapshotter.prepare`."""
    snapshotter(root).prepare(args["key"], args["parents"])
    return {}
