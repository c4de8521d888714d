"""What an index is made of: entries for images that are here, in other places, or in a registry, where they stay."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import attrs

from buildlib import transports
from buildlib.content import VerifiedReader
from buildlib.errors import FormatError, NotFound
from buildlib.manifest_list import ManifestList, Member, reached
from buildlib.oci import Index, Manifest, Platform, mediatype
from buildlib.oci.config import ImageConfig
from buildlib.oci.document import MAX_BYTES

if TYPE_CHECKING:
    from typing import Any

    from buildlib.image import Image
    from buildlib.oci import Descriptor
    from buildlib.store import Store
    from buildlib.transports import ImageSource
    from buildlib.transports.registry import RegistrySource

    Found = tuple[list[Descriptor], dict[str, Member]]


def found_entries(store: Store, image: Image | ManifestList | str, *, all: bool = False, access: Any = None) -> Found:
    """Entries for an index, and the members that they need; see :meth:`ManifestList.add`."""
    if isinstance(image, str):
        return _named(store, image, all, access)
    if not isinstance(image, ManifestList):
        entry = attrs.evolve(image.manifest.descriptor, platform=image.platform)
        return [entry], {image.digest: Member(image.id)}
    if all:
        return list(image.index.manifests), image.members()
    entry = image.index.select(Platform.host())
    return [entry], reached(store, Index.build([entry]), image.members())


def _named(store: Store, name: str, all: bool, access: Any) -> Found:
    from buildlib.bases import has_transport
    from buildlib.transfer import arrive

    if not has_transport(name):
        try:
            return found_entries(store, store.find(name), all=all)
        except NotFound:
            name = f"docker://{name}"
    if not name.startswith("docker://"):
        return found_entries(store, arrive(store, name, (), multi_arch="all" if all else "system"), all=all)
    with closing(transports.source(name, tmp=store.tmp, access=access)) as source:
        return _Remote(store, source).entries(all)


class _Remote:
    """An image of a registry, of which only documents are fetched."""

    def __init__(self, store: Store, source: ImageSource) -> None:
        self.store = store
        self.source = source
        self.members: dict[str, Member] = {}

    def entries(self, all: bool) -> Found:
        """Its own entry, or those of the index that it is."""
        root = self.source.resolve()
        if not mediatype.is_index(root.media_type):
            return [self._manifest(root)], self.members
        index = Index.parse(self._read(root), root.media_type)
        chosen = index.manifests if all else (index.select(Platform.host()),)
        return [self._entry(entry) for entry in chosen], self.members

    def _entry(self, entry: Descriptor) -> Descriptor:
        return entry if mediatype.is_index(entry.media_type) else self._manifest(entry)

    def _manifest(self, entry: Descriptor) -> Descriptor:
        raw = self._read(entry)
        manifest = Manifest.parse(raw, entry.media_type)
        self.store.blobs.add(raw)
        source: RegistrySource = self.source  # type: ignore[assignment]
        self.members[entry.digest] = Member(None, f"docker://{source.reference.with_digest(entry.digest)}")
        if not mediatype.is_config(manifest.config.media_type):
            return entry
        config = self._read(manifest.config)
        self.store.blobs.add(config)
        self.members[manifest.config.digest] = Member()
        return entry if entry.platform else attrs.evolve(entry, platform=ImageConfig.parse(config).platform)

    def _read(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_BYTES:
            raise FormatError(f"{descriptor.digest}: {descriptor.size} bytes are more than the {MAX_BYTES} allowed")
        with VerifiedReader(self.source.open(descriptor), descriptor.digest, descriptor.size) as reader:
            return reader.readall()
