"""What the worker can do: one module an operation, imported when it is first asked for.

Each module has a function of its own name: ``function(root, args, fds) -> reply``. ``root`` is the store's,
``args`` and the reply are plain data, ``fds`` are descriptors of this request and are closed with it. It runs in a
process of its own, which ends with it; it raises errors of :mod:`buildlib.errors`. A cancelled request raises
:class:`Cancelled` in the middle of it, once, so that what was begun can be cleared away.
"""

from __future__ import annotations

import sys

from buildlib.worker.tier import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Operation = Callable[[str, dict[str, Any], Sequence[int]], dict[str, Any]]

OPERATIONS = {
    "after": "buildlib.worker.operations.after",
    "apply": "buildlib.worker.operations.apply",
    "changes": "buildlib.worker.operations.changes",
    "commit": "buildlib.worker.operations.commit",
    "complete": "buildlib.worker.operations.complete",
    "copy": "buildlib.worker.operations.copy",
    "digest": "buildlib.worker.operations.digest",
    "export": "buildlib.worker.operations.export",
    "extract": "buildlib.worker.operations.extract",
    "files": "buildlib.worker.operations.files",
    "fill": "buildlib.worker.operations.fill",
    "look": "buildlib.worker.operations.look",
    "measure": "buildlib.worker.operations.measure",
    "merge": "buildlib.worker.operations.merge",
    "mkdir": "buildlib.worker.operations.mkdir",
    "mount": "buildlib.worker.operations.mount",
    "prepare": "buildlib.worker.operations.prepare",
    "read": "buildlib.worker.operations.read",
    "remove": "buildlib.worker.operations.remove",
    "run": "buildlib.worker.operations.run",
    "run_beside": "buildlib.worker.operations.run_beside",
    "squash": "buildlib.worker.operations.squash",
    "umount": "buildlib.worker.operations.umount",
}

PRIVATE = frozenset({"changes", "copy", "digest", "files", "look", "mkdir", "read", "squash"})
"""Operations that get a mount namespace of their own; see :class:`~buildlib.worker.workspace.Workspace`."""

CONTAINED = frozenset({"run", "run_beside"})
"""Operations that are process 1 of a pid namespace, and have a mount namespace, too. They return a
:class:`~buildlib.worker.request.Command`, and all that they started is dead when the client gets the answer."""


def stays(name: str) -> bool:
    """Whether the process of this contained operation outlives its command, and makes the pid namespace for that."""
    return name == "run_beside" or current().stays


def find(name: str) -> Operation:
    """The operation ``name``, imported. Raises :class:`UsageError` if there is none."""
    module = OPERATIONS.get(name)
    if module is None:
        from buildlib.errors import UsageError

        raise UsageError(f"the worker has no operation {name!r}")
    __import__(module)  # importlib imports more
    operation: Operation = getattr(sys.modules[module], name)
    return operation
