"""Make a directory in a working container."""

from __future__ import annotations

import os

from buildlib.worker.copying.place import Place
from buildlib.worker.operations.copy import opened, resolve
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def mkdir(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key, parents, path, mode, owner} -> {created}``: the directories that had to be made, outermost first.

    All of them get ``mode`` and ``owner``. Raises :class:`CopyError`, :class:`StoreFull`.
    """
    os.umask(0)
    with Workspace(root) as space, opened(space.container(args["key"], args["parents"])) as into:
        place = Place(into, mode=args["mode"])
        place.owner = resolve(place, args["owner"]) or (0, 0)
        fd, made = place.directory(args["path"])
        os.close(fd)
    return {"created": made}
