"""Layers of the store as blobs: opened as they came, or packed from their folders. It knows no image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildlib.errors import NotFound
from buildlib.oci import Descriptor, Digest, mediatype
from buildlib.streamed import Exporting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildlib.ahead import Ahead
    from buildlib.content import Readable
    from buildlib.store import Store


class StoredLayers:
    """Layers by DiffID (``diff_ids``: DiffID → id of the layer), the part of a packing source that opens them.

    See :mod:`buildlib.transports`. ``ahead`` may hold layers that are being packed already.
    """

    def __init__(self, store: Store, name: str, diff_ids: Mapping[Digest, str], ahead: Ahead | None = None) -> None:
        self.name = name
        self._store = store
        self._diff_ids = diff_ids
        self._ahead = ahead

    def open(self, descriptor: Descriptor) -> Readable:
        """A blob as it is in the store, or a layer made anew from its folder."""
        digest = descriptor.digest
        if self._store.blobs.has(digest):
            return self._store.blobs.open(digest)
        if digest in self._diff_ids:
            return self._foreign(digest) or self._export(digest, "none", None)
        sql = "SELECT diff_id, recipe FROM layer_blobs WHERE digest = ? AND recipe IS NOT NULL"
        for diff_id, recipe in self._store.db.rows(sql, (digest,)):
            if diff_id in self._diff_ids:
                compression, _, level = recipe.partition(":")
                return self._export(diff_id, compression, int(level))
        raise NotFound(f"{self.name}: no blob {digest}", kind="blob", name=digest)

    def _foreign(self, diff_id: str) -> Readable | None:
        """The tar of a layer that came from elsewhere: our own writer need not give it again to the byte."""
        sql = "SELECT digest FROM layer_blobs WHERE diff_id = ? AND recipe IS NULL"
        for (digest,) in self._store.db.rows(sql, (diff_id,)):
            if self._store.blobs.has(digest):
                from buildlib.transports.packing import unpacked

                return unpacked(self._store.blobs.open(digest))
        return None

    def packed(self, layer: Descriptor, compression: str, level: int | None = None) -> Descriptor | None:
        """The form of a plain layer with that compression that was seen or made before."""
        docker = mediatype.is_docker(layer.media_type)
        sql = (
            "SELECT digest, size, recipe FROM layer_blobs WHERE diff_id = ? AND media_type = ? "
            "ORDER BY recipe IS NOT NULL, recipe"
        )
        for digest, size, recipe in self._store.db.rows(sql, (layer.digest, mediatype.layer(compression))):
            if level is not None and recipe != f"{compression}:{level}":
                continue
            if recipe is not None or self._store.blobs.has(digest):
                return Descriptor(mediatype.layer(compression, docker=docker), Digest(digest), size)
        return None

    def pack(self, layer: Descriptor, compression: str, level: int | None) -> Readable:
        """The layer compressed while it is read."""
        begun = self._ahead.take(layer.digest, compression, level) if self._ahead is not None else None
        if begun is not None:
            return begun
        foreign = self._foreign(layer.digest)
        if foreign is None:
            return self._export(layer.digest, compression, level)
        from buildlib.transports.packing import packed

        return packed(foreign, compression, level)

    def _export(self, diff_id: str, compression: str, level: int | None) -> Readable:
        layer = self._diff_ids[Digest(diff_id)]
        return Exporting(lambda fd: self._store.layers.export(layer, fd, compression, level))
