"""``docker-archive:path[:name]``: what ``docker save`` writes and ``docker load`` reads. It may hold several images.

Read in place, also from a pipe or compressed. Layers are plain tars when we write; when we read, they may be
compressed, and may be links to each other as in archives of older versions.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

from buildlib.content import VerifiedReader
from buildlib.errors import FormatError, InvalidReference, NotFound, TransportError, UsageError
from buildlib.oci import document, mediatype
from buildlib.oci.config import ImageConfig
from buildlib.oci.descriptor import Descriptor
from buildlib.oci.document import REQUIRED, TEXT, TEXTS, Field
from buildlib.oci.manifest import Manifest
from buildlib.oci.reference import Reference
from buildlib.transports import Form, layout
from buildlib.transports.archive import Archive, compression_at
from buildlib.transports.archive_writer import ArchiveWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from buildlib.content import Readable
    from buildlib.oci.digest import Digest
    from buildlib.oci.index import Index
    from buildlib.transports import Blob

MANIFEST_FILE = "manifest.json"


def source(rest: str, *, tmp: str | None = None) -> DockerArchiveSource:
    """The image of ``path[:name]`` or ``path:@number``; ``tmp`` is for what has to be decompressed first."""
    path, wanted = layout.split(rest)
    archive = Archive(path, tmp)
    try:
        return DockerArchiveSource(f"docker-archive:{rest}", archive, wanted)
    except BaseException:
        archive.close()
        raise


def destination(rest: str, *, tmp: str | None = None) -> DockerArchiveDestination:
    """A new archive at ``path``, in place of one that is there."""
    path, wanted = layout.split(rest)
    return DockerArchiveDestination(f"docker-archive:{rest}", wanted, lambda: ArchiveWriter(path, tmp))


class Item:
    """One object of manifest.json."""

    FIELDS = (
        Field("Config", "config", TEXT, REQUIRED),
        Field("RepoTags", "tags", TEXTS),
        Field("Layers", "layers", TEXTS),
    )

    def __init__(
        self, config: str, tags: tuple[str, ...] = (), layers: tuple[str, ...] = (), extra: object = None
    ) -> None:
        self.config = config
        self.tags = tags
        self.layers = layers


class DockerArchiveSource:
    """The image ``wanted`` (a name, ``@position``, or None for the only one) of an archive, as a schema 2 manifest."""

    def __init__(self, name: str, archive: Archive, wanted: str | None) -> None:
        self.name = name
        self._archive = archive
        items = self._items()
        self.images = tuple(layout.Entry(i, item.tags) for i, item in enumerate(items))
        item = items[_choose(self.images, wanted, name)]
        self._openers: dict[Digest, Callable[[], Readable]] = {}
        raw = archive.read(item.config)
        config = ImageConfig.parse(raw)
        if len(config.diff_ids) != len(item.layers):
            raise FormatError(f"{name}: {len(item.layers)} layers, but its config lists {len(config.diff_ids)}")
        descriptor = self._keep(config.descriptor(mediatype.DOCKER_CONFIG), lambda: io.BytesIO(raw))
        layers = [self._layer(path, diff_id) for path, diff_id in zip(item.layers, config.diff_ids, strict=True)]
        manifest = Manifest.build(descriptor, layers, media_type=mediatype.DOCKER_MANIFEST)
        self._root = self._keep(manifest.descriptor, lambda: io.BytesIO(manifest.raw))

    def _items(self) -> list[Item]:
        try:
            raw = self._archive.read(MANIFEST_FILE)
        except NotFound as error:
            hint = "it looks like an oci-archive" if layout.VERSION_FILE in self._archive else None
            raise TransportError(f"{error.message}, so this is no docker-archive", hint=hint) from None
        # The document is a list, but the checks of an object are wanted for its size, depth and encoding.
        items = document.load(b'{"items":' + raw + b"}", f"{self.name}: {MANIFEST_FILE}").get("items")
        where = f"{self.name}: {MANIFEST_FILE}"
        return [document.read(Item, x, f"{where}[{i}]") for i, x in enumerate(document.array(items, where))]

    def _layer(self, path: str, diff_id: Digest) -> Descriptor:
        """The layer as it lies there; one whose compression no media type can name, as the tar that is in it."""
        from buildlib.transports.packing import unpacked

        member = self._archive.member(path)
        compression = compression_at(self._archive.fileno(), member.offset)
        if compression == "none":
            plain = Descriptor(mediatype.DOCKER_LAYER, diff_id, member.size)
            return self._keep(plain, lambda: self._archive.open(path))
        if compression in ("gzip", "zstd"):
            stored = VerifiedReader(self._archive.open(path)).finish()
            packed = Descriptor(mediatype.layer(compression, docker=True), *stored)
            return self._keep(packed, lambda: self._archive.open(path))
        size = VerifiedReader(unpacked(self._archive.open(path)), diff_id).finish().size
        inner = Descriptor(mediatype.DOCKER_LAYER, diff_id, size)
        return self._keep(inner, lambda: unpacked(self._archive.open(path)))

    def _keep(self, descriptor: Descriptor, opener: Callable[[], Readable]) -> Descriptor:
        self._openers[descriptor.digest] = opener
        return descriptor

    def resolve(self) -> Descriptor:
        """The manifest that was made of manifest.json."""
        return self._root

    def open(self, descriptor: Descriptor) -> Readable:
        """The content of a descriptor of that manifest."""
        opener = self._openers.get(descriptor.digest)
        if opener is None:
            raise NotFound(f"{self.name}: no {descriptor.digest}", kind="blob", name=str(descriptor.digest))
        return opener()

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


class Members(Protocol):
    """What writes the members of an archive: :class:`ArchiveWriter`, or a stream to a daemon."""

    names: set[str]
    """Of the members so far."""

    def add(self, name: str, data: bytes) -> None:
        """A small file."""

    def add_stream(self, stream: Readable, name: Callable[[], str]) -> None:
        """A file of which size and name are asked for when ``stream`` has ended."""

    def finish(self) -> None:
        """The archive is complete."""

    def close(self) -> None:
        """End it; what is not finished is thrown away."""


class DockerArchiveDestination:
    """Collects images and writes them as one archive when it is closed."""

    form = Form((mediatype.DOCKER_MANIFEST,), indexes=False, compression="none", ordered=True)

    def __init__(self, name: str, wanted: str | None, writer: Callable[[], Members]) -> None:
        self.name = name
        self._tags = [_tag(wanted)] if wanted else []
        self._items: list[dict[str, Any]] = []
        self._writer = writer()

    def has(self, descriptor: Descriptor) -> bool:
        """Whether an image before had the blob too."""
        return member_name(descriptor) in self._writer.names

    def push(self, blob: Blob) -> None:
        """Append a layer or a config."""
        with blob.open() as reader:
            self._writer.add_stream(reader, lambda: member_name(blob.descriptor))

    def put(self, document: Manifest | Index) -> None:
        """Documents have no place in it; manifest.json says it all."""

    def finish(self, document: Manifest | Index, names: Sequence[str] = ()) -> None:
        """Note the image for manifest.json. A tag that an image before had goes over to this one."""
        if not isinstance(document, Manifest):
            raise TransportError(f"{self.name}: can't hold an image for several platforms", hint="choose one platform")
        missing = [layer for layer in document.layers if not self.has(layer)]
        if missing:
            raise TransportError(f"{self.name}: the layer {missing[0].digest} is not to be had, only its address")
        tags = [_tag(name) for name in names] or self._tags
        for item in self._items:
            item["RepoTags"] = [tag for tag in item["RepoTags"] if tag not in tags]
        layers = [member_name(layer) for layer in document.layers]
        self._items.append({"Config": member_name(document.config), "RepoTags": tags, "Layers": layers})

    def close(self) -> None:
        """Write manifest.json, and make the archive appear if an image was finished."""
        try:
            if self._items:
                self._writer.add(MANIFEST_FILE, document.encode(self._items))
                self._writer.finish()
        finally:
            self._writer.close()

    def abort(self) -> None:
        """Throw the new archive away."""
        self._writer.close()


def member_name(descriptor: Descriptor) -> str:
    """What a blob is called in the archive."""
    return descriptor.digest.hex + (".json" if mediatype.is_config(descriptor.media_type) else ".tar")


def _tag(name: str) -> str:
    """The full name with a tag; docker's format has no digests. Raises :class:`UsageError`."""
    if name.startswith("@"):
        raise UsageError(f"docker-archive: {name} is a number to read by, not a name to write to")
    reference = Reference.parse(name, "latest")
    if reference.digest or not reference.tag:
        raise UsageError(f"docker-archive: {name!r} has a digest, which such an archive can't record", hint="use a tag")
    return str(reference)


def _choose(images: Sequence[layout.Entry], wanted: str | None, where: str) -> int:
    """Which image is meant; raises :class:`NotFound`, and :class:`UsageError` when it may be several."""
    if wanted is not None and wanted.startswith("@"):
        return layout.position_of(wanted, len(images), where)
    found = [image for image in images if wanted is None or _has_name(image, wanted)]
    if len(found) == 1:
        return found[0].position
    if found:
        raise layout.ambiguous(where, found)
    known = ", ".join(name for image in images for name in image.names)
    raise NotFound(
        f"{where}: no image {wanted}" if wanted else f"{where}: no image in it",
        hint=f"it has {known}" if known else None,
        kind="image",
        name=wanted or where,
    )


def _has_name(image: layout.Entry, wanted: str) -> bool:
    reference = Reference.parse(wanted, "latest")
    for name in image.names:
        try:
            if Reference.parse(name, "latest") == reference:
                return True
        except InvalidReference:
            continue
    return False
