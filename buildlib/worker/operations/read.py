"""Read a file of a working container, or of layers."""

from __future__ import annotations

import os

from buildlib.errors import CopyError, NotFound, from_os_error
from buildlib.linux.beneath import open_file
from buildlib.worker.operations.copy import opened
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def read(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key?, parents, path, limit} fds[out] -> {size}``: the bytes of a regular file are written to ``out``.

    Links are resolved within the container. Raises :class:`NotFound`; :class:`CopyError` for what is no file, or has
    more than ``limit`` bytes.
    """
    path = args["path"]
    with Workspace(root) as space:
        tree = space.look(args["key"], args["parents"]) if args.get("key") else space.view(args["parents"])
        with opened(tree) as top:
            fd = _open(top, path)
            try:
                size = _size(fd, path, args["limit"])
                _send(fd, fds[0], size)
            finally:
                os.close(fd)
    return {"size": size}


def _open(top: int, path: str) -> int:
    try:
        return open_file(top, path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{path}: no such file in the container", kind="file", name=path) from error
    except OSError as error:
        raise CopyError(f"{path}: can't be read: {error.strerror}", path=path) from error


def _size(fd: int, path: str, limit: int) -> int:
    size = os.fstat(fd).st_size
    if size > limit:
        raise CopyError(f"{path}: has {size} bytes, more than the {limit} that were asked for", path=path)
    return size


def _send(fd: int, out: int, size: int) -> None:
    try:
        left = size
        while left:
            sent = os.sendfile(out, fd, None, left)
            if not sent:
                return
            left -= sent
    except OSError as error:
        raise from_os_error(error, "passing a file on") from error
