"""Makes layers and an image part of a store, under its locks, in steps that a kill leaves usable after each.

First the list says that the new layers are incomplete; then their folders move into place; then the list says that they
are whole. In between whoever loads the list deletes them, which is right, for we are gone then: the lock was ours.
"""

from __future__ import annotations

import base64
import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from attrs import frozen

from buildlib.errors import TransportError
from buildlib.layer.remove import remove
from buildlib.transports.containers_storage import records
from buildlib.transports.containers_storage.locks import locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.oci.digest import Digest
    from buildlib.transports.containers_storage.locks import Lock
    from buildlib.transports.containers_storage.records import Place, Record
    from buildlib.transports.containers_storage.staging import StagedLayer, Staging

_LINK_LENGTH = 26
_DEFAULT_MODE = 0o555
"""Of a root directory that no layer says anything about, as containers/storage makes it."""


@frozen
class NewLayer:
    """A layer that the image has: ``staged`` is None where the store had it when we looked."""

    id: str
    parent: str
    staged: StagedLayer | None


@frozen
class NewImage:
    """What becomes a record in images.json."""

    id: str
    names: tuple[str, ...]
    created: str | None
    manifest_digest: Digest
    data: dict[str, tuple[Digest, bytes]]
    """Big data: key → digest and content."""


def publish(place: Place, staging: Staging, layers: Sequence[NewLayer], image: NewImage) -> None:
    """Make it all visible. Raises ``OSError`` and :class:`TransportError`; then nothing of it is."""
    with ExitStack() as stack:
        # The first one keeps other programs from unmounting what they mounted at overlay, or from looking at it.
        stack.enter_context(locked(f"{place.root}/storage.lock"))
        lock = stack.enter_context(locked(f"{place.layers}/layers.lock"))
        images = _Images(place, staging, stack.enter_context(locked(f"{place.images}/images.lock")))
        images.check(image, layers[-1].id if layers else "")
        _Layers(place, staging, lock).add(layers)
        images.add(image)


class _Layers:
    def __init__(self, place: Place, staging: Staging, lock: Lock) -> None:
        self.place = place
        self.staging = staging
        self.lock = lock

    def add(self, layers: Sequence[NewLayer]) -> None:
        stable = records.load(f"{self.place.layers}/layers.json")
        volatile = records.load(f"{self.place.layers}/volatile-layers.json")
        whole = {record["id"] for record in [*stable, *volatile] if not records.is_incomplete(record)}
        new = [layer for layer in layers if layer.id not in whole]
        missing = next((layer for layer in new if layer.staged is None), None)
        if missing is not None:
            raise TransportError(
                f"{self.place.root}: the layer {missing.id[:12]} was removed meanwhile", hint="copy the image again"
            )
        if not new:
            return
        # What is incomplete here belongs to nobody alive, for the lock is ours.
        before = [record for record in stable if record["id"] not in {layer.id for layer in new}]
        added = [_record(layer) for layer in new]
        try:
            self._save([*before, *({**record, "flags": {records.INCOMPLETE: True}} for record in added)])
            for layer in new:
                self._place(layer)
            self._save([*before, *added])
        except BaseException:
            with suppress(OSError):
                for layer in reversed(new):
                    self._remove(layer.id)
                self._save(before)
            raise

    def _save(self, layers: Sequence[Record]) -> None:
        self.lock.written()
        path = f"{self.place.layers}/layers.json"
        records.save(path, layers, self.staging.half(self.place.layers))

    def _place(self, layer: NewLayer) -> None:
        """Give the folder what the overlay driver expects in it, and its name."""
        assert layer.staged is not None
        folder, files = layer.staged.folder, layer.staged.files
        below = self.place.folder(layer.parent)
        if not layer.staged.recorded.has_root:
            model = os.stat(f"{below}/diff") if layer.parent else None
            os.chown(files, model.st_uid if model else 0, model.st_gid if model else 0)
            os.chmod(files, stat.S_IMODE(model.st_mode) if model else _DEFAULT_MODE)
        self._remove(layer.id)
        link = base64.b32encode(os.urandom(17))[:_LINK_LENGTH].decode()
        _write(f"{folder}/link", link)
        for name in ("work", "merged", *(() if layer.parent else ("empty",))):
            os.mkdir(f"{folder}/{name}", 0o700)
        if layer.parent:
            _write(f"{folder}/lower", _lower(below))
        os.rename(layer.staged.tar_split, self.place.tar_split(layer.id))
        os.symlink(f"../{layer.id}/diff", f"{self.place.links}/{link}")
        os.rename(folder, self.place.folder(layer.id))

    def _remove(self, layer: str) -> None:
        """Remove a folder that no list knows."""
        folder = self.place.folder(layer)
        with suppress(FileNotFoundError):
            link = _read(f"{folder}/link").strip()
            if len(link) == _LINK_LENGTH and link.isalnum():
                os.unlink(f"{self.place.links}/{link}")
        fd = os.open(os.path.dirname(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(FileNotFoundError):
                remove(fd, layer.encode())
        finally:
            os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(self.place.tar_split(layer))


def _lower(below: str) -> str:
    """What the file ``lower`` says above the layer in the folder ``below``."""
    try:
        link = _read(f"{below}/link").strip()
    except FileNotFoundError:
        hint = "let podman mount it once, which makes lost links again"
        raise TransportError(f"{below}: the layer has lost its link", hint=hint) from None
    with suppress(FileNotFoundError):
        return f"l/{link}:{_read(f'{below}/lower').strip()}"
    return f"l/{link}"


def _record(layer: NewLayer) -> Record:
    """The object in layers.json, with the fields in containers/storage's order and without empty ones."""
    assert layer.staged is not None
    recorded = layer.staged.recorded
    digest, size = layer.staged.blob
    found = {
        "id": layer.id,
        "parent": layer.parent,
        "created": records.now(),
        "compressed-diff-digest": str(digest),
        "compressed-size": size,
        "diff-digest": str(recorded.applied.diff_id),
        "diff-size": recorded.applied.tar_size,
        "compression": records.COMPRESSIONS[layer.staged.compression],
        "uidset": list(recorded.uids),
        "gidset": list(recorded.gids),
    }
    return {key: value for key, value in found.items() if value}


class _Images:
    def __init__(self, place: Place, staging: Staging, lock: Lock) -> None:
        self.place = place
        self.staging = staging
        self.lock = lock
        self.images = place.read_images()
        self.record: Record = {}

    def check(self, image: NewImage, top: str) -> None:
        """Find or make the record of the image. Raises :class:`TransportError` where the id has other layers."""
        known = [record for record in self.images if record["id"] == image.id]
        if known and (known[0].get("layer") or "") != top:
            what = f"there is an image {image.id[:12]} already, with other layers"
            raise TransportError(f"{self.place.root}: {what}", hint="remove it first")
        self.record = known[0] if known else _fresh(image, top)
        self.images += [] if known else [self.record]

    def add(self, image: NewImage) -> None:
        """Write the big data and the list; names go over to this image."""
        record = self.record
        os.makedirs(f"{self.place.images}/{image.id}", 0o700, exist_ok=True)
        self.lock.written()
        for key, (_, data) in image.data.items():
            records.write(self.place.big_data(image.id, key), data, self.staging.half(self.place.images))
        for other in self.images:
            if other is not record and not set(image.names).isdisjoint(other.get("names") or ()):
                _set(other, names=[name for name in other["names"] if name not in image.names])
        sizes = {key: len(data) for key, (_, data) in image.data.items()}
        digests = {key: str(digest) for key, (digest, _) in image.data.items()}
        _set(
            record,
            digest=str(image.manifest_digest),
            names=[*dict.fromkeys([*image.names, *(record.get("names") or ())])],
            names_history=[*dict.fromkeys([*image.names, *(record.get("names-history") or ())])],
            big_data_names=[*dict.fromkeys([*(record.get("big-data-names") or ()), *image.data])],
            big_data_sizes={**(record.get("big-data-sizes") or {}), **sizes},
            big_data_digests={**(record.get("big-data-digests") or {}), **digests},
        )
        records.save(f"{self.place.images}/images.json", self.images, self.staging.half(self.place.images))


def _fresh(image: NewImage, top: str) -> Record:
    """The object in images.json of an image that is new, with the fields in containers/storage's order."""
    return {
        "id": image.id,
        "digest": "",
        "names": [],
        "names-history": [],
        "layer": top,
        "metadata": "{}",
        "big-data-names": [],
        "big-data-sizes": {},
        "big-data-digests": {},
        "created": image.created or records.now(),
    }


def _set(record: Record, **fields: Any) -> None:
    """Change fields where they stand; empty ones are left out."""
    for name, value in fields.items():
        key = name.replace("_", "-")
        record[key] = value
        if not value:
            del record[key]


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
