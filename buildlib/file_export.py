"""The files of an image leave the store: into a folder of the host, or as a plain archive without whiteouts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildlib.errors import UsageError, from_os_error

if TYPE_CHECKING:
    from buildlib.image import Image
    from buildlib.store import Store


def export_files(store: Store, image: Image, to: str | int, timestamp: int | None = None) -> int:
    """See :meth:`Store.export_files`."""
    with store.lease(*(f"layer:{layer}" for layer in image.layers)):
        if isinstance(to, int):
            return _give(store, image, to, timestamp)
        fd = _open(store, to)
        try:
            return _give(store, image, fd, timestamp)
        finally:
            os.close(fd)


def _give(store: Store, image: Image, fd: int, timestamp: int | None) -> int:
    reply = store.worker.call("files", {"parents": list(image.layers), "timestamp": timestamp}, (fd,))
    return int(reply["bytes"])


def _open(store: Store, path: str) -> int:
    """The folder ``path``, made if it is not there; never one that holds the store."""
    try:
        os.makedirs(path, exist_ok=True)
        if os.path.commonpath([os.path.realpath(path), os.path.realpath(store.root)]) == os.path.realpath(store.root):
            raise UsageError(f"{path} lies within the store", hint="name a folder elsewhere")
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error(error, f"opening {path}") from error
