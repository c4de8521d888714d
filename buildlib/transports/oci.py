"""``oci:path[:name]``: an OCI image layout in a folder, to read and to write.

Blobs and names appear whole; several processes may write to one layout. An image that loses its name stays in
``blobs/`` until somebody collects garbage there.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildlib.content import ContentStore, abandoned, sync_folder, temporary
from buildlib.errors import FormatError, NotFound, TransportError, from_os_error
from buildlib.oci import document, mediatype
from buildlib.oci.index import Index
from buildlib.oci.manifest import Manifest
from buildlib.transports import Form, layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from buildlib.oci.descriptor import Descriptor
    from buildlib.transports import Blob

HALF_MADE = ".buildlib-"
"""How the names of files begin that are not finished yet."""


def source(rest: str, *, shared_blobs: str | None = None, tmp: str | None = None) -> layout.LayoutSource:
    """The image of ``path[:name]`` or ``path:@number``; ``shared_blobs`` is a folder of blobs that lies elsewhere."""
    path, wanted = layout.split(rest)
    return layout.LayoutSource(f"oci:{rest}", Folder(path, shared_blobs), wanted)


def destination(rest: str, *, shared_blobs: str | None = None, tmp: str | None = None) -> LayoutDestination:
    """The layout at ``path``, made where there is none; the image becomes ``name``."""
    path, wanted = layout.split(rest)
    return LayoutDestination(path, wanted, shared_blobs)


def delete(rest: str, *, shared_blobs: str | None = None) -> tuple[str, ...]:
    """Take the image of ``path[:name]`` out of a layout, with the blobs that only it had (not ``shared_blobs``)."""
    path, wanted = layout.split(rest)
    folder = Folder(path, shared_blobs)
    layout.check_version(folder.read(layout.VERSION_FILE), f"oci:{rest}")
    try:
        with _locked(path):
            kept, gone = layout.without(Index.parse(folder.read(layout.INDEX_FILE)), wanted, f"oci:{rest}")
            write_file(f"{path}/{layout.INDEX_FILE}", kept.raw)
            if shared_blobs is None:
                for digest in folder.reached(gone) - folder.reached(kept.manifests):
                    folder.content.delete(digest)
    except OSError as error:
        raise from_os_error(error, f"deleting from {path}") from error
    return tuple(name for entry in gone for name in layout.names_of(entry) or (str(entry.digest),))


class Folder:
    """The files of a layout in a folder."""

    def __init__(self, path: str, shared_blobs: str | None = None) -> None:
        self.path = path
        self.content = ContentStore(path, blobs=shared_blobs, tmp=shared_blobs or path, prefix=HALF_MADE)

    def read(self, name: str) -> bytes:
        """A small file of the layout."""
        return read_file(f"{self.path}/{name}", "OCI image layout")

    def blob(self, descriptor: Descriptor) -> BinaryIO:
        """The content of a blob."""
        return self.content.open(descriptor.digest)

    def reached(self, entries: Sequence[Descriptor]) -> set[str]:
        """The digests of these documents and of all that they refer to, as far as it is here."""
        found: set[str] = set()
        todo = list(entries)
        while todo:
            entry = todo.pop()
            if entry.digest in found:
                continue
            found.add(entry.digest)
            if not self.content.has(entry.digest):
                continue
            if mediatype.is_index(entry.media_type):
                todo += Index.parse(self.content.read(entry.digest)).manifests
            elif mediatype.is_manifest(entry.media_type):
                manifest = Manifest.parse(self.content.read(entry.digest))
                todo += [manifest.config, *manifest.layers]
        return found

    def close(self) -> None:
        """Nothing is kept open."""


class LayoutDestination:
    """Writes images into a layout in a folder."""

    form = Form((mediatype.OCI_MANIFEST,), compression="compress")

    def __init__(self, path: str, wanted: str | None, shared_blobs: str | None = None) -> None:
        self.name = f"oci:{path}" + (f":{wanted}" if wanted else "")
        if wanted and wanted.startswith("@"):
            raise TransportError(f"{self.name}: {wanted} is a number to read by, not a name to write to")
        self._path = path
        self._wanted = wanted
        self._folder = Folder(path, shared_blobs)
        claim(path, {layout.VERSION_FILE, "blobs"}, "an OCI image layout")
        sweep(path)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there, in its full size."""
        return self._folder.content.size(descriptor.digest) == descriptor.size

    def push(self, blob: Blob) -> None:
        """Store a blob."""
        with blob.open() as reader:
            self._folder.content.ingest(reader)

    def put(self, document: Manifest | Index) -> None:
        """Store a document as the blob that it is."""
        self._folder.content.add(document.raw)

    def finish(self, document: Manifest | Index, names: Sequence[str] = ()) -> None:
        """List the image in index.json."""
        self.put(document)
        try:
            self._folder.content.sync()
            with _locked(self._path):
                write_file(f"{self._path}/{layout.VERSION_FILE}", layout.VERSION)
                index = layout.add(self._index(), document, names or ((self._wanted,) if self._wanted else ()))
                write_file(f"{self._path}/{layout.INDEX_FILE}", index.raw)
        except OSError as error:
            raise from_os_error(error, f"writing {self.name}") from error

    def _index(self) -> Index:
        if not os.path.exists(f"{self._path}/{layout.INDEX_FILE}"):
            return Index.build(())
        return Index.parse(self._folder.read(layout.INDEX_FILE))

    def close(self) -> None:
        """Nothing is left to do."""

    def abort(self) -> None:
        """Nothing is left to do: blobs without a name do no harm."""


def read_file(path: str, what: str, limit: int = document.MAX_BYTES) -> bytes:
    """A small file; raises :class:`NotFound`, :class:`TransportError`, :class:`FormatError` when it is too large."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO in its place must not hang us
        with os.fdopen(fd, "rb", buffering=0) as file:
            data = file.read(limit + 1) or b""
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path}: no such file, so this is no {what}", kind="image", name=path) from None
    except OSError as error:
        raise TransportError(f"{path}: {error.strerror}") from error
    if len(data) > limit:
        raise FormatError(f"{path}: more than the {limit} bytes allowed")
    return data


def write_file(path: str, data: bytes) -> None:
    """Put a small file in place, whole and synced. Raises OSError."""
    folder = os.path.dirname(path)
    half = temporary(folder, HALF_MADE)
    try:
        fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(half, path)
    except OSError:
        if os.path.lexists(half):
            os.unlink(half)
        raise
    sync_folder(folder)


def claim(path: str, marks: set[str], what: str) -> None:
    """Make the folder ``path``; refuse one that has files but none of ``marks``, for it holds something else."""
    try:
        os.makedirs(path, exist_ok=True)
        inside = [name for name in os.listdir(path) if not name.startswith(HALF_MADE)]
    except OSError as error:
        raise TransportError(f"{path}: {error.strerror}") from error
    if inside and not marks & set(inside):
        raise TransportError(f"{path}: has files but is not {what}", hint="name an empty or a new folder")


def sweep(path: str) -> None:
    """Delete what processes that are gone left half-made."""
    for name in os.listdir(path):
        if abandoned(name, HALF_MADE):
            try:
                os.unlink(f"{path}/{name}")
            except OSError:  # another process swept it, or it is not ours to sweep
                continue


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """One writer of index.json at a time, by a lock on the folder itself."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
