"""Mount a working container for all to see."""

from __future__ import annotations

import os

from buildlib.errors import SandboxError, from_os_error
from buildlib.linux.mount import is_mount_point
from buildlib.snapshot.activate import activate
from buildlib.worker.tier import current
from buildlib.worker.workspace import snapshotter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def mount(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key, parents, target} -> {}``: the container's tree at ``target``, in the mount namespace of the client.

    ``target`` is ``containers/<key>/merged`` below the root, so that runs and copies find it and join it. It stays
    until ``umount``, also when the worker ends. Mounted already is fine. Raises :class:`StoreError`;
    :class:`SandboxError` where nothing can be mounted.
    """
    target = args["target"]
    if not current().mounts:
        raise SandboxError("nothing can be mounted here", hint="`buildlib run` and `buildlib copy` work without")
    try:
        os.makedirs(target, 0o755, exist_ok=True)
        if is_mount_point(target):
            return {}
    except OSError as error:
        raise from_os_error(error, f"mounting at {target}") from error
    activate(snapshotter(root).mounts(args["key"], args["parents"]), target, lasting=True)
    return {}
