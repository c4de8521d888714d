"""Where images come from and go to: sources, destinations, and the names by which users call them.

The words:

A **transport** is a way to keep images: an OCI image layout in a folder, an archive, a registry, the store itself.
``oci:/tmp/layout:app`` names an image by its transport, ``oci``, and what only that transport understands.

An **image source** is one image that can be read. ``resolve()`` tells the descriptor of its topmost document, a
manifest or an index of several; everything else is found from there by descriptors, and ``open(descriptor)`` streams
the content of any of them, documents included. A source does not verify and does not choose a platform: the driver
does both, once for all transports.

An **image destination** takes one image, or several one after the other. The order of calls, for each image: ``has``
and ``push`` for its blobs (from several threads, unless its form says ``ordered``), ``put`` for each manifest below
an index, ``finish`` for the topmost document. What a destination has received is invisible until then: the name
appears last. ``close`` ends it; an archive is written out only there. After a failure, ``abort`` ends it instead:
:func:`writing` is the context that calls the right one.

A **form** is what a destination can take: which formats of manifests, which compression. The driver converts only
what the form (or the caller) demands, for every conversion changes digests.

A **blob** is content on its way. Its digest may be unknown until its last byte, because it is compressed while it
is sent. It can be opened again to resume, and always gives the same bytes.

A source whose layers exist only as unpacked trees (the store) lists them as plain tars, whose digest is their DiffID,
and makes other forms of them on request: it is a **packing source** as well. What it makes it has hashed already: a
stream of it that has a method ``stored`` tells by it, at its end, digest and size, and is not hashed once more.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from buildlib.content import PIECE, VerifiedReader
from buildlib.errors import TransportError, UsageError
from buildlib.oci import mediatype
from buildlib.oci.descriptor import Descriptor
from buildlib.oci.value import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from buildlib.content import Readable
    from buildlib.oci.digest import Digest
    from buildlib.oci.index import Index
    from buildlib.oci.manifest import Manifest


@frozen
class Form:
    """What a destination takes."""

    manifests: tuple[str, ...] = (mediatype.OCI_MANIFEST, mediatype.DOCKER_MANIFEST)
    """Media types of manifests; the first is what others are converted to."""
    indexes: bool = True
    """Whether it can hold an image for several platforms."""
    compression: str = "keep"
    """``keep`` layers as they come, ``compress`` those that are not, or want all of them plain: ``none``."""
    ordered: bool = False
    """Whether blobs are pushed one by one, in the order of the image: so an archive comes out the same twice."""


class ImageSource(Protocol):
    """One image to read. ``name`` says in messages what it is. Methods are called from several threads."""

    name: str

    def resolve(self) -> Descriptor:
        """The descriptor of the image's manifest, or of its index. Raises :class:`NotFound`."""

    def open(self, descriptor: Descriptor) -> Readable:
        """The content of a descriptor from its first byte, unverified. Raises :class:`NotFound`."""

    def close(self) -> None:
        """Let go of files and connections."""


@runtime_checkable
class PackingSource(Protocol):
    """What a source offers besides when it can make compressed forms of its plain layers itself."""

    def packed(self, layer: Descriptor, compression: str, level: int | None = None) -> Descriptor | None:
        """The form of this layer with that compression if its digest is known already; ``open`` gives its bytes.

        Without a ``level`` any will do.
        """

    def pack(self, layer: Descriptor, compression: str, level: int | None) -> Readable:
        """The layer compressed on the fly; its digest is known when the stream has ended. The same bytes every time."""


class ImageDestination(Protocol):
    """A place for images. ``name`` says in messages what it is."""

    name: str
    form: Form

    def has(self, descriptor: Descriptor) -> bool:
        """Whether that blob need not be pushed. A registry may make it so, by mounting it from another repository."""

    def push(self, blob: Blob) -> None:
        """Take a blob: read it to its end, then keep it under the digest that it turned out to have."""

    def put(self, document: Manifest | Index) -> None:
        """Take a document below an index. What it refers to is there already."""

    def finish(self, document: Manifest | Index, names: Sequence[str] = ()) -> None:
        """Take the topmost document of an image and call it by ``names``, by default by what was asked for at first."""

    def close(self) -> None:
        """End it: what was finished is there, what was not is gone."""

    def abort(self) -> None:
        """End it after a failure. An archive does not appear at all, the one that was there before stays."""


class Blob:
    """Content on its way to a destination. ``digest`` and ``size`` are None until they are known."""

    def __init__(
        self,
        media_type: str,
        opener: Callable[[], Readable],
        digest: Digest | None = None,
        size: int | None = None,
    ) -> None:
        self.media_type = media_type
        self.digest = digest
        self.size = size
        self._opener = opener
        self._moved: Callable[[int], None] | None = None

    def watch(self, moved: Callable[[int], None]) -> None:
        """Call ``moved`` with the number of bytes of each piece that is read from now on. What it raises stops it."""
        self._moved = moved

    def open(self, offset: int = 0) -> VerifiedReader:
        """The bytes from ``offset`` on; those before it are read too, so that all of it is verified.

        When the end was read, ``digest`` and ``size`` are known.
        """
        stream = self._opener()
        reader: _BlobReader
        if self.digest is None and hasattr(stream, "stored"):
            reader = _MadeReader(self, stream)
        else:
            reader = _BlobReader(self, stream)
        while offset:
            skipped = len(reader.read(min(offset, PIECE)))
            if not skipped:
                raise TransportError(f"{reader.name}: ended before byte {offset}")
            offset -= skipped
        reader.moved = self._moved
        return reader

    @property
    def descriptor(self) -> Descriptor:
        """What the blob is, once that is known."""
        if self.digest is None or self.size is None:
            raise TransportError("a blob was not read to its end")
        return Descriptor(self.media_type, self.digest, self.size)


class _BlobReader(VerifiedReader):
    moved: Callable[[int], None] | None = None

    def __init__(self, blob: Blob, stream: Readable) -> None:
        super().__init__(stream, blob.digest, blob.size)
        self._blob = blob

    def read(self, size: int = -1, /) -> bytes:
        data = super().read(size)
        if self.complete:
            self._blob.digest, self._blob.size = self.digest, self.position
        if self.moved is not None and data:
            self.moved(len(data))
        return data


class _MadeReader(_BlobReader):
    """A stream that was hashed where it was made."""

    @property
    def digest(self) -> Digest:
        """What it was; at its end."""
        return self._blob.descriptor.digest

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return self.readall()
        data = self._stream.read(size)
        self.position += len(data)
        if not data and size and not self.complete:
            digest, length = self._stream.stored()  # type: ignore[attr-defined]
            if length != self.position:
                raise TransportError(f"{self.name}: {self.position} bytes came of {length}")
            self.complete = True
            self._blob.digest, self._blob.size = digest, length
        if self.moved is not None and data:
            self.moved(len(data))
        return data


TRANSPORTS = {
    "oci": "oci",
    "oci-archive": "oci_archive",
    "docker-archive": "docker_archive",
    "dir": "directory",
    "docker": "registry",
    "docker-daemon": "docker_daemon",
    "containers-storage": "containers_storage",
    "tarball": "tarball",
}
"""Transport → the module that has ``source(rest, …)`` and, where images can be written, ``destination(rest, …)``."""

_REMOVED = "is no more: the library behind skopeo and podman has removed it"
REFUSED = {
    "atomic": (_REMOVED, "registries are reached by docker://"),
    "ostree": (_REMOVED, "copy the image to oci: with an old skopeo"),
    "sif": ("is not supported", "build an OCI image from its file system: tarball:PATH"),
}
"""Transports that other programs have or had → why they are refused, and what to do instead."""


def parse(name: str) -> tuple[str, str] | None:
    """Split ``transport:rest``; None where there is no known transport, so that it is the name of an image.

    Only ``docker://`` is a transport: ``docker:28`` is a well-known image. So may be ``ostree:28``, but nothing with a
    slash behind the colon: that raises :class:`UsageError`.
    """
    transport, colon, rest = name.partition(":")
    if transport in REFUSED and "/" in rest:
        raise _refusal(name, transport)
    if not colon or transport not in TRANSPORTS or (transport == "docker" and not rest.startswith("//")):
        return None
    return transport, rest


COMMON = {"access", "tmp"}
"""Options that may be given to every transport: how to reach registries, a folder for what has to be kept for a while.
Those that have no use for them are not told."""


def check(name: str) -> None:
    """Raise :class:`UsageError` unless ``name`` begins with a transport."""
    _split(name)


def source(name: str, **options: Any) -> ImageSource:
    """The image that ``transport:rest`` names. ``options`` are those in :data:`COMMON` and the transport's own.

    Raises :class:`UsageError` for an unknown transport or option, :class:`NotFound` and :class:`TransportError`.
    """
    make = _module(name, "source").source
    found: ImageSource = make(_split(name)[1], **_understood(name, make, options))
    return found


def destination(name: str, **options: Any) -> ImageDestination:
    """The place that ``transport:rest`` names; options and errors as for :func:`source`."""
    make = _module(name, "destination").destination
    found: ImageDestination = make(_split(name)[1], **_understood(name, make, options))
    return found


def delete(name: str, **options: Any) -> tuple[str, ...]:
    """Delete the image that ``transport:rest`` names; what is gone now. Not every transport can."""
    remove = _module(name, "delete").delete
    gone: Sequence[str] = remove(_split(name)[1], **_understood(name, remove, options))
    return tuple(gone)


def _understood(name: str, make: Any, options: dict[str, Any]) -> dict[str, Any]:
    known = make.__kwdefaults__ or {}
    strange = options.keys() - known - COMMON
    if strange:
        own = ", ".join(sorted(known.keys() - COMMON)) or "none"
        raise UsageError(f"{name!r}: no option {sorted(strange)[0]!r}", hint=f"options of this transport: {own}")
    return {key: value for key, value in options.items() if key in known}


@contextmanager
def writing(target: ImageDestination) -> Iterator[ImageDestination]:
    """Close ``target`` when the block ends well, abort it when it does not."""
    try:
        yield target
    except BaseException:
        target.abort()
        raise
    target.close()


def _split(name: str) -> tuple[str, str]:
    parts = parse(name)
    if parts is None and name.partition(":")[0] in REFUSED:
        raise _refusal(name, name.partition(":")[0])
    if parts is None:
        known = ", ".join(TRANSPORTS)
        raise UsageError(f"{name!r} names no transport", hint=f"begin it with one of {known}, and a colon")
    return parts


def _refusal(name: str, transport: str) -> UsageError:
    why, instead = REFUSED[transport]
    return UsageError(f"{name!r}: the transport {transport} {why}", hint=instead)


def _module(name: str, wanted: str) -> Any:
    from importlib import import_module

    transport, rest = _split(name)
    if not rest:
        raise UsageError(f"{name!r}: nothing behind {transport}:", hint=f"write {transport}:PATH")
    module = import_module(f"{__name__}.{TRANSPORTS[transport]}")
    if not hasattr(module, wanted):
        what = "nothing can be deleted there" if wanted == "delete" else f"{transport} can only be read"
        raise UsageError(f"{name!r}: {what}")
    return module
