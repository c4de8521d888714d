"""The folders of cache mounts (``RUN --mount=type=cache``) as things of the store: listed, carried over, removed.

They are no part of any image or key; to carry them from one machine to another only makes builds there faster.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from buildlib.errors import NotFound, StoreBusy, from_os_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.store import Store

_FOLDER = re.compile(r"([0-9a-f]{32})(\.\d+)?\Z")


@frozen
class CacheMount:
    """``id``: as in the mount, or the name of the folder where that was never written down."""

    id: str
    folder: str
    """Its name below ``caches/``."""
    size: int
    """Bytes on disk."""
    changed: float
    """When its top was changed last, in seconds since 1970."""


class CacheMounts:
    """Those of one store; :attr:`Store.cache_mounts`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._root = f"{store.root}/caches"

    def all(self) -> list[CacheMount]:
        """All of them, by id."""
        with _reading(self._root):
            names = sorted(name for name in os.listdir(self._root) if _FOLDER.match(name))
        found = [self._look(name) for name in names]
        return sorted((one for one in found if one is not None), key=lambda one: (one.id, one.folder))

    def _look(self, name: str) -> CacheMount | None:
        try:
            changed = os.stat(f"{self._root}/{name}").st_mtime
        except FileNotFoundError:
            return None
        return CacheMount(self._id_of(name), name, _size(f"{self._root}/{name}"), changed)

    def _id_of(self, name: str) -> str:
        for told in (name, name.partition(".")[0]):
            try:
                with open(f"{self._root}/{told}.id", encoding="utf-8", errors="surrogateescape") as file:
                    return file.read(4096)
            except OSError:
                continue
        return name

    def _find(self, id: str) -> str:
        from buildlib.worker.running.caches import folder_name

        for name in (folder_name(id), id):
            if _FOLDER.match(name) and os.path.isdir(f"{self._root}/{name}"):
                return name
        known = ", ".join(dict.fromkeys(one.id for one in self.all()))
        hint = f"there are {known}" if known else "there are none yet"
        raise NotFound(f"there is no cache mount {id!r}", hint=hint, kind="cache", name=id)

    def export(self, id: str, fd: int) -> int:
        """Write its files to ``fd`` as an archive; how many bytes. Better while nothing runs with it."""
        name = self._find(id)
        with self._store.lease(f"cache:{name}"):
            return int(self._store.worker.call("files", {"cache": name}, (fd,))["bytes"])

    def fill(self, id: str, fd: int) -> None:
        """Make what the archive ``fd`` holds (of any compression) its contents; those of before are gone.

        Raises :class:`StoreBusy` while a run uses it, :class:`LayerError` for a damaged or hostile archive.
        """
        from buildlib.worker.running.caches import folder_name

        with self._store.lease(f"cache:{folder_name(id)}"):
            self._store.worker.call("fill", {"id": id}, (fd,))

    def remove(self, id: str) -> list[str]:
        """Delete it, with those that runs at the same time had of their own; the folders. Raises :class:`StoreBusy`."""
        from buildlib.recovery import remove_paths

        base = self._find(id)
        names = [one.folder for one in self.all() if one.folder == base or one.folder.startswith(f"{base}.")]
        if self._store.leases.held("cache") & set(names):
            raise StoreBusy(f"the cache mount {id!r} is in use", hint="wait for the build that uses it")
        remove_paths(self._store, [*(f"caches/{name}" for name in names), f"caches/{base}.id"])
        return names


def _size(path: str) -> int:
    """Bytes that the files below ``path`` take; what can't be read counts as nothing."""
    total, folders = 0, [path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:
            continue
    return total


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise from_os_error(error, f"listing {path}") from error
