"""An image of containers-storage as a source. Nothing is copied: layers are streamed from where they lie.

The lists are read under their locks, layers are not: nobody waits for a copy that takes long. A layer that is removed
meanwhile is an error, never another layer, for the driver verifies what comes.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import TYPE_CHECKING

import attrs

from buildlib.content import VerifiedReader
from buildlib.errors import FormatError, InvalidReference, NotFound, TransportError
from buildlib.oci import mediatype
from buildlib.oci.config import ImageConfig
from buildlib.oci.descriptor import Descriptor
from buildlib.oci.digest import Digest
from buildlib.oci.document import MAX_BYTES
from buildlib.oci.manifest import Manifest
from buildlib.oci.reference import Reference
from buildlib.transports import Form
from buildlib.transports.containers_storage import layers
from buildlib.transports.containers_storage.locks import locked
from buildlib.transports.containers_storage.records import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildlib.content import Readable
    from buildlib.transports.containers_storage.layers import StoredLayer
    from buildlib.transports.containers_storage.names import Wanted
    from buildlib.transports.containers_storage.records import Record
    from buildlib.transports.containers_storage.settings import Settings

MANIFEST = "manifest"


class StorageSource:
    """The image ``wanted`` of a store, with plain layers; a packing source (see :mod:`buildlib.transports`).

    The compressed forms in which its layers came are not kept there, so the manifest that :meth:`resolve` tells is the
    stored one with the layers' archives in their places: its digest is the stored one's only if those were plain.
    """

    def __init__(self, name: str, wanted: Wanted, tmp: str | None = None) -> None:
        self.name = name
        self.remade: tuple[str, ...] = ()
        """Ids of layers whose archives are lost and are made anew. Then the DiffIDs in the config are those of the
        new ones, and so the image is not the stored one but one with the same files."""
        self._tmp = tmp
        self._content: dict[Digest, bytes] = {}
        self._layers: dict[Digest, StoredLayer] = {}
        places = places_of(wanted.settings)
        with ExitStack() as stack:
            for place in places:
                stack.enter_context(locked(f"{place.layers}/layers.lock", shared=True))
                stack.enter_context(locked(f"{place.images}/images.lock", shared=True))
            place, record = find(places, wanted, name)
            raw = _big_data(place, record, MANIFEST, name)
            stored = Manifest.parse(raw)
            config = _big_data(place, record, stored.config.digest, name)
            chain = layers.chain(record.get("layer") or "", layers.by_id(places), name)
        self.reference = wanted.reference or _first_name(record)
        """What the image is called, where it has a name."""
        VerifiedReader(io.BytesIO(config), stored.config.digest, stored.config.size).finish()
        self._root = self._keep(self._plain(stored, config, chain)).descriptor

    def _plain(self, stored: Manifest, config: bytes, chain: Sequence[StoredLayer]) -> Manifest:
        """The manifest with the archives that can be had for layers, and the config that fits them."""
        from buildlib.transports.conversion import Wanted, plan

        self._content[stored.config.digest] = config
        if not mediatype.is_config(stored.config.media_type):
            raise FormatError(f"{self.name}: not an image that can run, but {stored.config.media_type}")
        image = ImageConfig.parse(config)
        steps = plan(stored, image, Form(compression="none"), Wanted(), self.name)
        if len(chain) != len(image.diff_ids):
            counts = f"{len(chain)} layers in the store and {len(image.diff_ids)} in its config"
            raise FormatError(f"{self.name}: {counts}", hint="the store is damaged")
        archives = [self._archive(layer, diff_id) for layer, diff_id in zip(chain, image.diff_ids, strict=True)]
        manifest = steps.converted(archives)
        if not self.remade:
            return manifest
        new = attrs.evolve(image, diff_ids=tuple(archive.digest for archive in archives)).encode()
        self._content[Digest.of(new)] = new
        described = attrs.evolve(manifest.config, digest=Digest.of(new), size=len(new))
        plain = [
            attrs.evolve(layer, digest=archive.digest, size=archive.size)
            for layer, archive in zip(manifest.layers, archives, strict=True)
        ]
        return attrs.evolve(manifest, config=described, layers=tuple(plain))

    def _archive(self, layer: StoredLayer, expected: Digest) -> Descriptor:
        digest = layer.diff_id or expected
        if digest != expected:
            raise FormatError(f"{self.name}: {layer.name} is {digest}, but its config has {expected}")
        size = layer.size if layer.is_exact else None
        if not layer.is_exact:
            digest, size = layers.remade(layer)
            if digest != expected:
                self.remade = (*self.remade, layer.id)
        elif size is None:
            size = VerifiedReader(layer.open(), digest).finish().size
        assert size is not None
        self._layers[digest] = layer
        return Descriptor(mediatype.OCI_LAYER, digest, size)

    def _keep(self, manifest: Manifest) -> Manifest:
        self._content[manifest.digest] = manifest.raw
        return manifest

    def resolve(self) -> Descriptor:
        """The manifest with plain layers."""
        return self._root

    def open(self, descriptor: Descriptor) -> Readable:
        """The manifest, the config, or the archive of a layer."""
        if descriptor.digest in self._content:
            return io.BytesIO(self._content[descriptor.digest])
        if descriptor.digest in self._layers:
            return self._layers[descriptor.digest].open(self._tmp)
        raise NotFound(f"{self.name}: no blob {descriptor.digest}", kind="blob", name=str(descriptor.digest))

    def packed(self, layer: Descriptor, compression: str, level: int | None = None) -> Descriptor | None:
        """Nothing is compressed there."""
        return None

    def pack(self, layer: Descriptor, compression: str, level: int | None) -> Readable:
        """The layer compressed while it is read, and verified."""
        from buildlib.transports.packing import packed

        return packed(VerifiedReader(self.open(layer), layer.digest, layer.size), compression, level)

    def close(self) -> None:
        """Nothing is kept open."""


def places_of(settings: Settings) -> list[Place]:
    """The store itself and the stores that are read besides."""
    roots = (settings.root, *settings.more_roots)
    return [Place(root, settings.driver_name) for root in dict.fromkeys(roots)]


def find(places: Iterable[Place], wanted: Wanted, where: str) -> tuple[Place, Record]:
    """The image and the store that it is in. Raises :class:`NotFound`, or :class:`TransportError` for several."""
    images = [(place, record) for place in places for record in place.read_images()]
    for beginning in filter(None, (wanted.id, wanted.maybe_id)):
        found = {record["id"]: (place, record) for place, record in images if record["id"].startswith(beginning)}
        if len(found) > 1:
            raise TransportError(f"{where}: {len(found)} images have an id that begins with {beginning}")
        for image in found.values():
            return image
        if wanted.id:
            raise _missing(where, images)
    assert wanted.reference is not None
    for place, record in images:
        if _is_called(record, wanted.reference):
            return place, record
    raise _missing(where, images)


def _is_called(record: Record, reference: Reference) -> bool:
    names = record.get("names") or ()
    if str(reference) in names:
        return True
    digests = {record.get("digest"), *(record.get("big-data-digests") or {}).values()}
    return reference.digest in digests and any(name.startswith(f"{reference.name}:") for name in names)


def _missing(where: str, images: Iterable[tuple[Place, Record]]) -> NotFound:
    known = [name for _, record in images for name in record.get("names") or ()]
    some = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
    return NotFound(f"{where}: no such image", hint=f"there are {some}" if some else None, kind="image", name=where)


def _first_name(record: Record) -> Reference | None:
    for name in record.get("names") or ():
        try:
            return Reference.parse(name)
        except InvalidReference:
            continue
    return None


def _big_data(place: Place, record: Record, key: str, where: str) -> bytes:
    try:
        with open(place.big_data(record["id"], key), "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise FormatError(f"{where}: its {key} is not in the store", hint="the store is damaged") from None
    except OSError as error:
        raise TransportError(f"{where}: reading its {key}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise FormatError(f"{where}: its {key} has more than the {MAX_BYTES} bytes allowed")
    return raw
