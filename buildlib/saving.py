"""Archives of several images: written from the store, and taken into it, as ``docker save`` and ``docker load`` do."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from buildlib import transports
from buildlib.content import PIECE, temporary
from buildlib.errors import BuildlibError, TransportError, UsageError, from_os_error
from buildlib.events import silent
from buildlib.exchange import StoreDestination, StoreSource
from buildlib.names import normalise
from buildlib.transfer import names_of
from buildlib.transports.copy import copy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from buildlib.events import Sink
    from buildlib.image import Image
    from buildlib.manifest_list import ManifestList
    from buildlib.store import Store
    from buildlib.transports import ImageSource

FORMATS = {
    "docker-archive": "docker-archive",
    "oci-archive": "oci-archive",
    "oci-dir": "oci",
    "docker-dir": "dir",
}
"""What podman calls it → the transport."""
STREAMS = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def save(
    images: Mapping[Image | ManifestList, Sequence[str]],
    path: str,
    format: str = "docker-archive",
    *,
    progress: Sink = silent,
    **options: Any,
) -> None:
    """Write images of a store with their names into one archive (or folder) at ``path``.

    ``format``: "docker-archive", "oci-archive", "oci-dir", or "docker-dir", which holds one image without its name.
    Of an index, a docker-archive gets the image for this machine. ``options`` are those of
    :func:`buildlib.transports.copy.copy`.
    """
    if format not in FORMATS:
        raise UsageError(f"no format {format!r}", hint=f"there are {', '.join(FORMATS)}")
    if format == "docker-dir" and len(images) > 1:
        raise UsageError("docker-dir holds one image", hint="save to an oci-archive or a docker-archive")
    with transports.writing(transports.destination(f"{FORMATS[format]}:{path}")) as target:
        for image, names in images.items():
            many = "all" if target.form.indexes else "system"
            with closing(StoreSource(image)) as source:
                copy(source, target, names=names, multi_arch=many, progress=progress, **options)


def load(
    store: Store, path: str, *, progress: Sink | None = None
) -> list[tuple[Image | ManifestList, tuple[str, ...]]]:
    """Take all images of an archive (or a folder) into the store, whatever kind it is; each with its names there.

    ``path`` may be ``-`` for standard input, and the archive may be compressed. Raises :class:`TransportError` for what
    is no archive of images.
    """
    with _seekable(store, path) as file:
        transport = _kind(file, store.tmp)
        loaded = []
        for position in range(_count(transport, file, store.tmp)):
            name = f"{transport}:{file}" + (f":@{position}" if transport != "dir" else "")
            loaded.append(_load(store, name, progress or silent))
        return loaded


def _load(store: Store, name: str, progress: Sink) -> tuple[Image | ManifestList, tuple[str, ...]]:
    destination = StoreDestination(store, indexes=True)
    with transports.writing(destination), closing(transports.source(name, tmp=store.tmp)) as source:
        called = [normalise(each) for each in names_of(source, name)]
        # An index can't be kept without a name; an image can.
        copy(source, destination, names=called, multi_arch="all" if called else "system", progress=progress)
    return destination.list or destination.images[0], tuple(called)


@contextmanager
def _seekable(store: Store, path: str) -> Iterator[str]:
    """A path of the same bytes that can be opened again and again: standard input is written to a file first."""
    if path not in STREAMS:
        yield path
        return
    copied = temporary(store.tmp)
    try:
        with open(0, "rb", buffering=0, closefd=False) as stream, open(copied, "wb", buffering=0) as out:
            while data := stream.read(PIECE):
                view = memoryview(data)
                while view:
                    view = view[out.write(view) :]
    except OSError as error:
        raise from_os_error(error, f"writing {copied}") from error
    try:
        yield copied
    finally:
        os.unlink(copied)


def _kind(path: str, tmp: str) -> str:
    """The transport that can read what lies at ``path``."""
    if not os.path.exists(path):
        raise TransportError(f"{path}: no such file or folder")
    kinds = ("oci", "dir") if os.path.isdir(path) else ("docker-archive", "oci-archive")
    failures: list[BuildlibError] = []
    for transport in kinds:
        try:
            _open_first(transport, path, tmp).close()
        except UsageError:
            return transport  # it has several images
        except BuildlibError as error:
            failures.append(error)
        else:
            return transport
    if os.path.isdir(path):
        raise TransportError(f"{path}: neither an OCI image layout nor a folder that dir: has written")
    hint = "a root file system is taken in by tarball:"
    raise TransportError(f"{path}: no archive of images: {failures[0].message}", hint=hint)


def _open_first(transport: str, path: str, tmp: str) -> ImageSource:
    return transports.source(f"{transport}:{path}" + (":@0" if transport != "dir" else ""), tmp=tmp)


def _count(transport: str, path: str, tmp: str) -> int:
    if transport == "dir":
        return 1
    with closing(_open_first(transport, path, tmp)) as source:
        return len(source.images)  # type: ignore[attr-defined]
