"""What is known of registries: in which repositories a blob is, and what an image became when it was pushed.

Only hints: a registry is always asked before one is relied on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from buildlib.oci import Reference
from buildlib.repush import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from buildlib.image import Image
    from buildlib.manifest_list import ManifestList
    from buildlib.oci import Descriptor
    from buildlib.store import Store
    from buildlib.transports.registry import RegistryDestination

MOST = 3
"""So many repositories are asked for a blob before it is uploaded."""


def neighbours(store: Store, registry: str, origins: Mapping[str, str]) -> Callable[[str], Sequence[str]]:
    """Digest → repositories of ``registry`` that may have that blob.

    ``origins`` are blobs that are not in the store, with where they are: ``docker://host/name@digest``.
    """

    def find(digest: str) -> Sequence[str]:
        if digest in origins:
            place = Reference.parse(origins[digest].removeprefix("docker://"))
            return (place.repository,) if place.registry == registry else ()
        sql = "SELECT repository FROM places WHERE digest = ? AND registry = ? ORDER BY seen DESC LIMIT ?"
        return tuple(row[0] for row in store.db.rows(sql, (digest, registry, MOST)))

    return find


def note_pulled(store: Store, reference: Reference, images: Iterable[Image]) -> None:
    """Note where the layers of images came from that were pulled."""
    _note(store, reference, {layer.digest for image in images for layer in image.manifest.layers})


def note_pushed(
    store: Store, image: Image | ManifestList, options: str, target: RegistryDestination, result: Descriptor
) -> None:
    """Note what a push has made of an image, and which blobs the repository has now."""
    _note(store, target.reference, target.present)
    with store.db.transaction() as conn:
        row = (image.digest, options, encode(result.digest, target.present))
        conn.execute("INSERT OR REPLACE INTO pushed VALUES (?, ?, ?)", row)


def _note(store: Store, reference: Reference, digests: Iterable[str]) -> None:
    now = time.time()
    rows = [(digest, reference.registry, reference.repository, now) for digest in digests]
    with store.db.transaction() as conn:
        conn.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", rows)
