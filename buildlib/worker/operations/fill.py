"""Fill the folder of a cache mount from an archive."""

from __future__ import annotations

import errno
import fcntl
import os

from buildlib.errors import StoreBusy, from_os_error
from buildlib.layer.archive import extract_archive
from buildlib.snapshot.tree import remove_tree
from buildlib.worker.running import caches
from buildlib.worker.running.scratch import half_made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def fill(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{id} fds[stream] -> {folder}``: what the archive holds becomes the contents of the cache mount ``id``.

    It appears whole; what was there before is gone. Raises :class:`StoreBusy` while a run uses it, and
    :class:`LayerError` for an archive that is damaged or hostile.
    """
    os.umask(0)
    name = caches.folder_name(args["id"])
    path, fresh = f"{root}/caches/{name}", half_made(root, 1)
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.mkdir(fresh, 0o755)
        into = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            extract_archive(fds[0], into, "/", keep_root=True)
        except BaseException:
            remove_tree(fresh)
            raise
        finally:
            os.close(into)
        caches.note(path, args["id"])
        old = half_made(root, 2)
        _swap(fresh, path, old, args["id"])
    except OSError as error:
        raise from_os_error(error, f"filling the cache {args['id']}") from error
    if os.path.lexists(old):
        remove_tree(old)
    return {"folder": name}


def _swap(fresh: str, path: str, old: str, id: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        os.rename(fresh, path)
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(path, old)
        os.rename(fresh, path)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        remove_tree(fresh)
        raise StoreBusy(f"the cache {id} is in use", hint="wait for the build that uses it") from error
    finally:
        os.close(fd)
