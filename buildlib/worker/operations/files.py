"""Give out the files of a stack of layers: copied into a folder of the host, or as a plain archive."""

from __future__ import annotations

import os
import stat

from buildlib.errors import from_os_error
from buildlib.layer.measure import export
from buildlib.worker.copying.effect import Effect
from buildlib.worker.copying.place import Place
from buildlib.worker.copying.transfer import Transfer
from buildlib.worker.copying.walk import Filter, walk
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def files(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{parents | cache, timestamp?} fds[into] -> {entries, bytes}``: of layers, or of a cache mount's folder.

    Where ``into`` is a directory, the files appear in it with their owners, modes, times and extended attributes; what
    is there stays or is replaced, and nothing beside it is touched. Else they are written to it as an archive without
    whiteouts, in which ``timestamp`` replaces all times.
    """
    if args.get("cache") is not None:
        return _give(f"{root}/caches/{args['cache']}", args, fds[0])
    if not args["parents"]:
        return _give(f"{root}/empty", args, fds[0])
    with Workspace(root) as space:
        return _give(space.view(args["parents"]), args, fds[0])


def _give(tree: str, args: dict[str, Any], into: int) -> dict[str, Any]:
    if not stat.S_ISDIR(os.fstat(into).st_mode):
        written = export(tree, into, compression="none", timestamp=args.get("timestamp"), overlay=False)
        return {"entries": 0, "bytes": written.tar_size}
    os.umask(0)
    source = _open(tree)
    try:
        transfer = Transfer(Place(into), Effect(owner=None), None, "the image")
        transfer.contents(walk(source, Filter()), into, "")
    finally:
        os.close(source)
    return {"entries": transfer.entries, "bytes": transfer.bytes}


def _open(tree: str) -> int:
    try:
        return os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error(error, f"opening {tree}") from error
