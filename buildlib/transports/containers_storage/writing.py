"""containers-storage as a destination: layers are unpacked as they come, several at a time, and appear all at once."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildlib.content import VerifiedReader
from buildlib.errors import DigestMismatch, FormatError, StoreFull, TransportError, from_os_error
from buildlib.oci import mediatype
from buildlib.oci.config import ImageConfig
from buildlib.oci.document import MAX_BYTES
from buildlib.oci.manifest import Manifest
from buildlib.oci.reference import Reference
from buildlib.transports import Form
from buildlib.transports.containers_storage import layers as stored
from buildlib.transports.containers_storage import records
from buildlib.transports.containers_storage.locks import locked
from buildlib.transports.containers_storage.publishing import NewImage, NewLayer, publish
from buildlib.transports.containers_storage.reading import MANIFEST
from buildlib.transports.containers_storage.records import Place
from buildlib.transports.containers_storage.staging import StagedLayer, Staging

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildlib.oci.descriptor import Descriptor
    from buildlib.oci.digest import Digest
    from buildlib.oci.index import Index
    from buildlib.transports import Blob
    from buildlib.transports.containers_storage.layers import StoredLayer
    from buildlib.transports.containers_storage.names import Wanted

_REFUSED = ("force_mask",)
"""Options of the driver under which files are not what they are in the archive."""


class StorageDestination:
    """Writes images into the store of ``wanted``; the first one is called so too."""

    form = Form((mediatype.OCI_MANIFEST, mediatype.DOCKER_MANIFEST), indexes=False)

    def __init__(self, name: str, wanted: Wanted) -> None:
        self.name = name
        self._wanted = wanted
        self._place = Place(wanted.settings.root, wanted.settings.driver_name)
        self._check()
        self._userxattr = in_user_namespace()
        self._lock = threading.Lock()
        self._configs: dict[Digest, bytes] = {}
        self._staged: dict[Digest, StagedLayer] = {}
        """By the digest of the blob."""
        with self._storing():
            self._staging = Staging(self._place)
        try:
            self._known = self._look()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        settings = self._wanted.settings
        refused = next((option for option in _REFUSED if settings.option(option)), None)
        why = None
        if self._place.driver != "overlay":
            why = f"stores of the driver {self._place.driver} are only read"
        elif refused or settings.image_store:
            why = f"stores with the option {refused or 'imagestore'} are only read"
        elif os.geteuid() != 0:
            raise TransportError(
                f"{self.name}: files of several owners can't be made without root",
                hint="run it as root, or in the user namespace of `podman unshare`",
            )
        if why:
            raise TransportError(f"{self.name}: {why}", hint="use a store of the overlay driver, without that option")

    def _look(self) -> dict[str, StoredLayer]:
        """The finished layers of the store."""
        with locked(f"{self._place.layers}/layers.lock", shared=True):
            known = stored.by_id([self._place])
        return {layer: found for layer, found in known.items() if not records.is_incomplete(found.record)}

    def has(self, descriptor: Descriptor) -> bool:
        """Whether some layer of the store came as that blob, or has such an archive."""
        digest = str(descriptor.digest)
        fields = ("compressed-diff-digest", "diff-digest")
        return any(layer.record.get(field) == digest for layer in self._known.values() for field in fields)

    def push(self, blob: Blob) -> None:
        """Unpack a layer, or take a config."""
        if not mediatype.is_layer(blob.media_type):
            with blob.open() as reader:
                data = reader.read(MAX_BYTES + 1)
                if reader.read(1):
                    raise FormatError(f"{self.name}: a config of more than the {MAX_BYTES} bytes allowed")
            self._configs[blob.descriptor.digest] = data
            return
        with blob.open() as reader, self._storing():
            staged = self._staging.add(reader, None, blob.media_type, self._userxattr)
            reader.finish()
        with self._lock:
            self._staged[blob.descriptor.digest] = staged

    def put(self, document: Manifest | Index) -> None:
        """Never called: this destination takes no indexes."""
        raise FormatError(f"{self.name}: takes the images of an index one by one")

    def finish(self, document: Manifest | Index, names: Sequence[str] = ()) -> None:
        """Stack the layers and make them an image."""
        if not isinstance(document, Manifest) or not mediatype.is_config(document.config.media_type):
            raise FormatError(f"{self.name}: not an image that can run", hint="only images of file systems can be kept")
        raw = self._configs[document.config.digest]
        config = ImageConfig.parse(raw)
        if len(config.diff_ids) != len(document.layers):
            counts = f"{len(document.layers)} layers in its manifest and {len(config.diff_ids)} in its config"
            raise FormatError(f"{self.name}: the image has {counts}")
        image = NewImage(
            self._wanted.id or document.config.digest.hex,
            tuple(self._names(document, names)),
            config.created,
            document.digest,
            {
                str(document.config.digest): (document.config.digest, raw),
                f"manifest-{document.digest}": (document.digest, document.raw),
                MANIFEST: (document.digest, document.raw),
            },
        )
        with self._storing():
            publish(self._place, self._staging, self._stack(document, config.diff_ids), image)
            # What was used has moved; who wants it once more takes it from the store.
            self._staged = {blob: staged for blob, staged in self._staged.items() if staged.is_free}
            self._known = self._look()

    def _names(self, document: Manifest, names: Sequence[str]) -> list[str]:
        references = [Reference.parse(name, "latest") for name in names]
        if not references and self._wanted.reference is not None:
            references = [self._wanted.reference]
        for reference in references:
            if reference.digest and reference.digest != document.digest:
                raise TransportError(
                    f"{self.name}: the image to store has the digest {document.digest}, not {reference.digest}",
                    hint="give it a tag; a digest is what the content makes it",
                )
        return list(dict.fromkeys(map(str, references)))

    def _stack(self, document: Manifest, diff_ids: Sequence[Digest]) -> list[NewLayer]:
        """The layers of the image with their ids; those that the store lacks are unpacked and completed."""
        ids = records.layer_ids(diff_ids)
        found: list[NewLayer] = []
        folders: list[str] = []
        for layer, blob, diff_id in zip(ids, document.layers, diff_ids, strict=True):
            staged = None
            if layer not in self._known:
                staged = self._unpacked(blob, diff_id)
                staged.complete(folders, self._userxattr)
            found.append(NewLayer(layer, found[-1].id if found else "", staged))
            folders.append(staged.files if staged else self._place.files(layer))
        return found

    def _unpacked(self, blob: Descriptor, diff_id: Digest) -> StagedLayer:
        """The blob unpacked in a folder that becomes a layer; its archive must be what the config says."""
        staged = self._staged.get(blob.digest)
        if staged is None:
            staged = self._copied(blob, diff_id)
        elif not staged.is_free:
            # An image may have a layer twice; each needs a folder of its own, for an overlay can't have one twice.
            staged = self._again(staged)
        if staged.recorded.applied.diff_id != diff_id:
            actual = staged.recorded.applied.diff_id
            raise DigestMismatch(
                f"{self.name}: layer {blob.digest}: expected {diff_id}, got {actual}",
                hint="the image is damaged or was tampered with",
                expected=str(diff_id),
                actual=str(actual),
            )
        staged.is_free = False
        return staged

    def _again(self, staged: StagedLayer) -> StagedLayer:
        return self._staging.add(staged.archive(), staged.blob, staged.media_type, self._userxattr)

    def _copied(self, blob: Descriptor, diff_id: Digest) -> StagedLayer:
        """The blob as the store has it, in a layer above other ones than are wanted."""
        for layer in self._known.values():
            if layer.diff_id == diff_id and layer.is_exact:
                stream = VerifiedReader(layer.open(), diff_id)
                return self._staging.add(stream, (blob.digest, blob.size), blob.media_type, self._userxattr)
        raise TransportError(
            f"{self.name}: the layer {blob.digest} is not to be had",
            hint="was it removed meanwhile? Then copy the image again",
        )

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Let errors of the system say what they mean here."""
        try:
            yield
        except OSError as error:
            where = f"{self.name}: {error.filename}" if error.filename else self.name
            problem = from_os_error(error, where)
            if isinstance(problem, StoreFull):
                raise problem from error
            hint = "is it the store of another user?" if error.errno in (errno.EACCES, errno.EPERM) else None
            raise TransportError(f"{where}: {error.strerror}", hint=hint) from error

    def close(self) -> None:
        """Delete what belongs to no finished image."""
        with self._storing():
            self._staging.close()

    abort = close


def in_user_namespace() -> bool:
    """Whether this process is in a user namespace of its own, where the overlay's marks have another name."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() != ["0", "0", "4294967295"]
