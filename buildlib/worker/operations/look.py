"""Look at one path of a working container, or of layers."""

from __future__ import annotations

import os

from buildlib.errors import CopyError
from buildlib.linux.beneath import IN_ROOT, open_in_root
from buildlib.worker.operations.copy import opened
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def look(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key?, parents, path, follow, list?} -> {stat: [mode, size, uid, gid, mtime_ns] | None, link?, names?}``.

    Links on the way are resolved within the container; the last one too with ``follow``, else ``link`` is its text.
    None: there is nothing. ``names``, where ``list`` asks for it: what is in the directory. Raises :class:`CopyError`.
    """
    path, flags = args["path"], os.O_PATH if args["follow"] else os.O_PATH | os.O_NOFOLLOW
    with Workspace(root) as space:
        tree = space.look(args["key"], args["parents"]) if args.get("key") else space.view(args["parents"])
        with opened(tree) as top:
            try:
                fd = open_in_root(top, path, flags, resolve=IN_ROOT)
            except (FileNotFoundError, NotADirectoryError):
                return {"stat": None}
            except OSError as error:
                raise CopyError(f"{path}: {error.strerror}", path=path) from error
            try:
                return _describe(fd, path, names=args.get("list", False))
            finally:
                os.close(fd)


def _describe(fd: int, path: str, *, names: bool) -> dict[str, Any]:
    info = os.fstat(fd)
    reply: dict[str, Any] = {"stat": [info.st_mode, info.st_size, info.st_uid, info.st_gid, info.st_mtime_ns]}
    if info.st_mode & 0o170000 == 0o120000:
        reply["link"] = os.readlink("", dir_fd=fd)
    if names:
        try:
            reply["names"] = sorted(os.listdir(f"/proc/self/fd/{fd}"))
        except NotADirectoryError:
            raise CopyError(f"{path}: is not a directory", path=path) from None
    return reply
