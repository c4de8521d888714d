"""The store as a source and a destination of images, for the copy driver of the transports.

Layers leave as the blobs they came as, or are packed from their folders; they come in unpacked while they arrive,
several at a time. An image that comes in has no row and no name before all of it is there.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from buildlib.content import PIECE, Stored
from buildlib.errors import FormatError, NotFound
from buildlib.image import Image
from buildlib.layers import ANYWHERE, mismatch
from buildlib.manifest_list import Member, save
from buildlib.oci import Descriptor, Digest, ImageConfig, Index, Manifest, chain_id, mediatype
from buildlib.stored_layers import StoredLayers
from buildlib.streamed import pipe
from buildlib.transports import Blob, Form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from buildlib.ahead import Ahead
    from buildlib.content import Readable, VerifiedReader
    from buildlib.layers import Arrived
    from buildlib.manifest_list import ManifestList
    from buildlib.store import Store
    from buildlib.transports import ImageSource


class StoreSource(StoredLayers):
    """An image or an index of the store to read; a packing source (see :mod:`buildlib.transports`).

    Blobs of an index that are not here are read from the registry that has them, reached by ``access``. ``ahead`` may
    hold layers that are being packed already.
    """

    def __init__(self, image: Image | ManifestList, access: Any = None, ahead: Ahead | None = None) -> None:
        images: Sequence[Image]
        self.origins: dict[str, str] = {}
        """Digests of blobs that are not here → where they are."""
        if isinstance(image, Image):
            self._root, images = image.manifest.descriptor, (image,)
        else:
            self._root, images = image.index.descriptor, image.images
            self._find_origins(image)
        layers = {diff_id: layer for one in images for diff_id, layer in zip(one.diff_ids, one.layers, strict=True)}
        super().__init__(image.store, f"image {image.name or image.id[:12]}", layers, ahead)
        self._access = access
        self._sources: dict[str, ImageSource] = {}
        self._lock = threading.Lock()

    def _find_origins(self, of: ManifestList) -> None:
        for digest, member in of.members().items():
            if member.origin is not None:
                manifest = Manifest.parse(of.store.blobs.read(digest))
                self.origins |= dict.fromkeys((blob.digest for blob in manifest.layers), member.origin)
                self.origins[manifest.config.digest] = member.origin

    def resolve(self) -> Descriptor:
        """The image's manifest, or the index."""
        return self._root

    def open(self, descriptor: Descriptor) -> Readable:
        """A blob as it is in the store or where it was left, or a layer made anew from its folder."""
        try:
            return super().open(descriptor)
        except NotFound:
            if descriptor.digest not in self.origins:
                raise
        return self._origin(self.origins[descriptor.digest]).open(descriptor)

    def _origin(self, place: str) -> ImageSource:
        from buildlib import transports

        with self._lock:
            if place not in self._sources:
                self._sources[place] = transports.source(place, tmp=self._store.tmp, access=self._access)
                self._sources[place].resolve()
            return self._sources[place]

    def close(self) -> None:
        """Let go of what was opened elsewhere."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()


class StoreDestination:
    """The store as the place for an image that comes in. ``images`` are those that were finished.

    With ``indexes`` it takes indexes too; the last one finished is in ``list``.
    """

    def __init__(self, store: Store, names: Sequence[str] = (), *, indexes: bool = False) -> None:
        self.name = f"store {store.root}"
        self.form = Form(indexes=indexes)
        self.images: list[Image] = []
        self.list: ManifestList | None = None
        self._members: dict[str, Member] = {}
        self._store = store
        self._names = tuple(names)
        self._lease = store.lease()
        self._lock = threading.Lock()
        self._arrived: dict[str, Arrived] = {}

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here, whole, or can be made anew: a plain tar whose layer is here. From now on it stays.

        A layer whose blob is here but not its folder is unpacked from it later.
        """
        self._hold(f"blob:{descriptor.digest}")
        if self._store.blobs.size(descriptor.digest) == descriptor.size:
            return True
        with self._lock:
            return self._store.layers.take(descriptor.digest, ANYWHERE, self._lease) is not None

    def push(self, blob: Blob) -> None:
        """Store a blob; a layer is unpacked as it comes."""
        with blob.open() as reader:
            if blob.digest is not None:
                self._hold(f"blob:{blob.digest}")
            if mediatype.is_layer(blob.media_type):
                self._take_layer(reader)
            else:
                self._store.blobs.ingest(reader)

    def _take_layer(self, reader: VerifiedReader) -> None:
        """Write the blob and unpack it at the same time."""
        read_end, write_end = pipe()
        with self._store.blobs.writer(None) as writer:  # the reader hashes

            def feed() -> None:
                os.close(read_end)  # the worker has its own: when that is closed, writing must fail
                try:
                    while data := reader.read(PIECE):
                        writer.write(data)
                        _write_all(write_end, data)
                    writer.sync_early()
                finally:
                    os.close(write_end)

            arrived = self._store.layers.ingest(read_end, self._lease, feed=feed)
            stored = writer.publish(Stored(reader.digest, reader.position))
        with self._lock:
            self._arrived[stored.digest] = arrived

    def layer(self, blob: Descriptor, diff_id: Digest, below: Sequence[str], opener: Callable[[], Readable]) -> str:
        """One layer on its own, to stand on the stack ``below``: the one that is here, or ``blob`` unpacked; its id.

        It is held until this is closed. Raises what :meth:`push` does, and :class:`DigestMismatch`.
        """
        chain = self._store.layers.chain(below)
        with self._lock:
            layer = self._store.layers.take(diff_id, chain, self._lease)
        if layer is not None:
            return layer
        if not self.has(blob):
            self.push(Blob(blob.media_type, opener, blob.digest, blob.size))
        return self._settle(blob, diff_id, below)

    def put(self, document: Manifest | Index) -> None:
        """Keep a document of an index: an image, or whatever else it is with all its blobs."""
        self._hold(f"blob:{document.digest}")
        self._store.blobs.add(document.raw)
        image = None
        if isinstance(document, Manifest) and mediatype.is_config(document.config.media_type):
            image = self._image(document, ()).id
        elif isinstance(document, Manifest):
            self._members |= dict.fromkeys((blob.digest for blob in (document.config, *document.layers)), Member())
        self._members[document.digest] = Member(image)

    def finish(self, document: Manifest | Index, names: Sequence[str] = ()) -> None:
        """Verify that config and layers belong together, and make them an image; or keep an index of such images."""
        if isinstance(document, Index):
            self.list = save(self._store, document, self._members, names or self._names)
            return
        if not mediatype.is_config(document.config.media_type):
            raise FormatError(f"{self.name}: not an image that can run", hint="only images of file systems can be kept")
        self.images.append(self._image(document, names or self._names))

    def _image(self, document: Manifest, names: Sequence[str]) -> Image:
        raw = self._store.blobs.read(document.config.digest)
        config = ImageConfig.parse(raw)
        if len(config.diff_ids) != len(document.layers):
            counts = f"{len(document.layers)} layers in its manifest and {len(config.diff_ids)} in its config"
            raise FormatError(f"the image has {counts}")
        layers: list[str] = []
        for blob, diff_id in zip(document.layers, config.diff_ids, strict=True):
            layers.append(self._settle(blob, diff_id, layers))
        return self._store.add_image(raw, document.raw, layers, names)

    def _settle(self, blob: Descriptor, diff_id: Digest, below: Sequence[str]) -> str:
        store = self._store
        with self._lock:
            arrived = self._arrived.pop(blob.digest, None)
        layer = None
        if arrived is None:  # the blob was here already, so most likely the layer is too
            chain = chain_id(store.layers.diff_ids(below))
            layer = store.layers.take(diff_id, chain[-1] if chain else None, self._lease)
            arrived = None if layer else self._unpack(blob)
        if arrived is not None:
            if arrived.diff_id != diff_id:
                store.layers.discard([arrived])
                raise mismatch(f"layer {blob.digest}", diff_id, arrived.diff_id)
            layer = store.layers.settle(arrived, below, self._lease)
        assert layer is not None
        if store.blobs.has(blob.digest):  # else it is the plain tar of a layer that was here
            store.layers.remember(diff_id, blob.digest, blob.size, mediatype.to_oci(blob.media_type), None)
        return layer

    def _unpack(self, blob: Descriptor) -> Arrived:
        with self._store.blobs.open(blob.digest) as file:
            return self._store.layers.ingest(file.fileno(), self._lease)

    def _hold(self, resource: str) -> None:
        with self._lock:
            self._lease.take(resource)

    def close(self) -> None:
        """Let go; what belongs to no finished image is deleted, or becomes garbage."""
        with self._lock:
            arrived = list(self._arrived.values())
            self._arrived.clear()
        self._store.layers.discard(arrived)
        self._lease.drop()

    abort = close


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
