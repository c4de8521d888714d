"""Layers on their way into an overlay store: unpacked beside the others, in a folder that no engine takes for a layer.

The folder lies in ``overlay/l``: there everybody expects links and collects no garbage, and it is on the same mount as
the layers, also where engines have mounted ``overlay`` onto itself, so that a layer arrives by one rename. It is held
by a lock (flock(2)), so whoever comes next knows what is left of the dead, in whatever pid namespace they lived.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from attrs import define

from buildlib.layer.complete import complete
from buildlib.layer.remove import remove
from buildlib.oci import mediatype
from buildlib.transports.containers_storage.layers import rebuilt
from buildlib.transports.containers_storage.recording import Recorded, unpack_recording
from buildlib.transports.containers_storage.tarsplit import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildlib.content import Readable
    from buildlib.oci.digest import Digest
    from buildlib.transports.containers_storage.records import Place

PREFIX = ".buildlib-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@define
class StagedLayer:
    """A layer that is unpacked and waits; ``folder`` becomes that of the layer. ``blob`` is what it came as."""

    folder: str
    tar_split: str
    recorded: Recorded
    blob: tuple[Digest, int]
    media_type: str
    is_free: bool = True
    """Whether no layer of the image is going to be this one already."""

    @property
    def compression(self) -> str:
        """How it came. Docker's media type for layers is used for plain ones, too."""
        is_plain = self.blob[0] == self.recorded.applied.diff_id
        return "none" if is_plain else mediatype.compression_of(self.media_type)

    @property
    def files(self) -> str:
        """Its unpacked files."""
        return f"{self.folder}/diff"

    def archive(self) -> Readable:
        """Its archive once more."""
        return rebuilt(self.tar_split, [self.files], f"the layer in {self.folder}")

    def complete(self, parents: Sequence[str], userxattr: bool) -> None:
        """Fill in what the archive left to the layers below: folders, base first."""
        applied = self.recorded.applied
        if applied.missing_parents or applied.pending_links:
            complete(self.files, applied.missing_parents, applied.pending_links, parents, userxattr=userxattr)


class Staging:
    """The folder for what one destination has on its way. Raises ``OSError``, and what unpacking raises."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._names = itertools.count(1)
        os.makedirs(place.root, 0o700, exist_ok=True)
        os.makedirs(f"{place.root}/overlay", 0o700, exist_ok=True)
        os.makedirs(place.links, 0o755, exist_ok=True)
        os.makedirs(place.layers, 0o700, exist_ok=True)
        os.makedirs(place.images, 0o700, exist_ok=True)
        with _alone(place.links) as links:
            _sweep(links, place)
            self.name = f"{PREFIX}{secrets.token_hex(8)}"
            os.mkdir(self.name, 0o700, dir_fd=links)
            self._fd = os.open(self.name, _DIRECTORY, dir_fd=links)
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    @property
    def path(self) -> str:
        """The folder."""
        return f"{self._place.links}/{self.name}"

    def half(self, folder: str) -> str:
        """A name in another folder of the store for a file that is not finished yet."""
        return f"{folder}/{self.name}.{next(self._names)}"

    def add(self, stream: Readable, blob: tuple[Digest, int] | None, media_type: str, userxattr: bool) -> StagedLayer:
        """Unpack a layer. ``blob`` is what it came as; None where that is ``stream`` itself, read to its end."""
        number = next(self._names)
        folder = f"{self.path}/{number}"
        os.mkdir(folder, 0o700)
        tar_split = self.half(self._place.layers)
        with open(tar_split, "wb", buffering=0, opener=_private) as out:
            recorded = unpack_recording(stream, f"{folder}/diff", Recorder(out.write), userxattr=userxattr)
        applied = recorded.applied
        assert applied.blob_digest is not None
        return StagedLayer(folder, tar_split, recorded, blob or (applied.blob_digest, applied.blob_size), media_type)

    def close(self) -> None:
        """Delete what was not moved away."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            _remove(self.name, self._place)
        finally:
            os.close(fd)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _alone(folder: str) -> Iterator[int]:
    """The open folder while nobody else makes or sweeps such folders in it."""
    fd = os.open(folder, _DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _sweep(links: int, place: Place) -> None:
    """Delete the folders that nobody holds."""
    for name in os.listdir(links):
        if not name.startswith(PREFIX) or not stat.S_ISDIR(os.lstat(name, dir_fd=links).st_mode):
            continue
        fd = os.open(name, _DIRECTORY, dir_fd=links)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(name, place)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)


def _remove(name: str, place: Place) -> None:
    for folder in (place.layers, place.images):
        for left in os.listdir(folder):
            if left.startswith(f"{name}."):
                os.unlink(f"{folder}/{left}")
    fd = os.open(place.links, _DIRECTORY)
    try:
        with suppress(FileNotFoundError):
            remove(fd, name.encode())
    finally:
        os.close(fd)
