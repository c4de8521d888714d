"""Delete containers, layers and other things of the store."""

from __future__ import annotations

import os

from buildlib.errors import UsageError, from_os_error
from buildlib.snapshot.tree import remove_tree
from buildlib.worker.workspace import snapshotter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def remove(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{keys, layers, paths} -> {}``: ids of containers and layers, and paths below the root of the store.

    What is gone already is fine. Nothing of it may be mounted. Raises :class:`UsageError` for a path elsewhere.
    """
    snapshots = snapshotter(root)
    for key in args.get("keys") or ():
        snapshots.remove(_name(key))
    for layer in args.get("layers") or ():
        snapshots.remove_layer(_name(layer))
    for path in args.get("paths") or ():
        full = os.path.normpath(os.path.join(root, path))
        if os.path.commonpath([root, full]) != root or full == root:
            raise UsageError(f"{path} is not in the store")
        try:
            remove_tree(full)
        except OSError as error:
            raise from_os_error(error, f"deleting {full}") from error
    return {}


def _name(name: str) -> str:
    if not name or "/" in name or name in (".", ".."):
        raise UsageError(f"{name!r} is not an id")
    return str(name)
