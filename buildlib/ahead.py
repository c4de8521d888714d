"""Layers that a push will have to pack are packed from its first moment on.

Meanwhile the client of registries is imported, connects and asks what is there: a good part of the whole time. Only
what is certain is begun: a layer of which no packed form is known can't be in a registry by its digest.
"""

from __future__ import annotations

from buildlib.streamed import Exporting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildlib.image import Image
    from buildlib.manifest_list import ManifestList
    from buildlib.store import Store

AT_ONCE = 2
"""Layers: one keeps two processors busy, two bridge what is serial in each."""
BYTES = 16 << 20
"""Made before anybody reads, where the system permits."""

_UNPACKED = """
SELECT layers.id, diff_id FROM image_layers JOIN layers ON layers.id = layer
WHERE image = ? AND diff_id IS NOT NULL
AND diff_id NOT IN (SELECT diff_id FROM layer_blobs WHERE recipe IS NULL OR media_type = ?) ORDER BY position LIMIT ?
"""
"""Layers that were made here, and never packed so."""


class Ahead:
    """Streams that were begun before they were asked for. Leave the context to end those that nobody took."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str, int | None], Exporting] = {}

    def begin(self, store: Store, image: str, compression: str, level: int | None) -> None:
        """Begin to pack the first layers of an image (by its id)."""
        from buildlib.oci import mediatype

        for layer, diff_id in store.db.rows(_UNPACKED, (image, mediatype.layer(compression), AT_ONCE)):

            def export(fd: int, layer: str = layer) -> object:
                return store.layers.export(layer, fd, compression, level)

            store.worker  # noqa: B018 - forked while this process has one thread
            self._streams.setdefault((diff_id, compression, level), Exporting(export, BYTES))

    def take(self, diff_id: str, compression: str, level: int | None) -> Exporting | None:
        """The stream of a layer, if it was begun; once."""
        return self._streams.pop((diff_id, compression, level), None)

    def close(self) -> None:
        """End what nobody took."""
        while self._streams:
            self._streams.popitem()[1].close()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ahead_of_push(
    store: Store, image: Image | ManifestList, destination: str | None, options: Mapping[str, Any]
) -> Ahead:
    """What can be begun for a push of ``image`` with these options."""
    from buildlib.bases import has_transport
    from buildlib.image import Image

    ahead = Ahead()
    compression = options.get("compression") or "gzip"
    elsewhere = destination is not None and not destination.startswith("docker://") and has_transport(destination)
    # What other destinations want nobody knows here; nor does Docker's format take zstd.
    certain = compression == "gzip" or (compression == "zstd" and options.get("format") != "docker")
    if isinstance(image, Image) and certain and not elsewhere:
        ahead.begin(store, image.id, compression, options.get("level"))
    return ahead
