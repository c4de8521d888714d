"""Garbage collection: deletes the layers, blobs and cache contents that nothing refers to and nobody is at work on.

It is safe beside running builds of other processes: what exists is decided in one transaction, and who wants to keep
something for later takes a lease in a transaction of its own, either before (then it stays) or after (then it is
gone and has to be made again). Rows go first and folders after; recovery deletes a folder that has no row.
"""

from __future__ import annotations

import os
import time
from collections import namedtuple

from buildlib.errors import from_os_error
from buildlib.recovery import remove_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from buildlib.store import Store

    class Collected(NamedTuple):
        """What a collection deleted."""

        layers: tuple[str, ...]
        blobs: tuple[str, ...]
        caches: tuple[str, ...]
        records: int
        bytes: int
else:
    Collected = namedtuple("Collected", "layers blobs caches records bytes")
    Collected.__doc__ = """What a collection deleted: ids of layers, digests of blobs, ids of cache mounts, the number
    of cache records, and the bytes of it all (layers as tar; one that was never measured counts as nothing)."""

_KEPT = "SELECT layer FROM image_layers UNION SELECT layer FROM container_layers"
_LEASED = "SELECT substr(resource, 7) FROM leases WHERE resource LIKE 'layer:%'"

_DEAD_LAYERS = f"""
WITH used (id) AS ({_KEPT} UNION SELECT layer FROM cache UNION {_LEASED})
SELECT id, coalesce(iif(files IS NULL, size, 0), 0) FROM layers
WHERE id NOT IN used AND id NOT IN (SELECT files FROM layers WHERE id IN used AND files IS NOT NULL)
"""  # noqa: S608 - constants
"""Layers that nothing refers to, with their bytes. A layer whose folder another one shows is in use with it."""

_ONLY_CACHED = f"""
SELECT cache.layer, coalesce(layers.size, 0), max(cache.used) FROM cache JOIN layers ON layers.id = cache.layer
WHERE cache.layer NOT IN ({_KEPT} UNION {_LEASED}) GROUP BY cache.layer ORDER BY 3 DESC
"""  # noqa: S608 - constants

_USED_BLOBS = """
SELECT 'sha256:' || id FROM images
UNION SELECT manifest FROM images
UNION SELECT image FROM names WHERE image LIKE 'sha%:%'
UNION SELECT digest FROM layer_blobs WHERE diff_id IN (SELECT diff_id FROM layers)
UNION SELECT digest FROM fetched
UNION SELECT digest FROM index_members
UNION SELECT substr(resource, 6) FROM leases WHERE resource LIKE 'blob:%'
"""


def collect(store: Store, cache_age: float | None, cache_bytes: int | None, everything: bool) -> Collected:
    """See :meth:`Store.gc`."""
    store.recover(again=True)
    records = _forget(store, cache_age, cache_bytes, everything)
    with store.db.transaction() as conn:
        # What only an index refers to goes with its last name; its images stay, as all images do.
        conn.execute("DELETE FROM index_members WHERE owner NOT IN (SELECT image FROM names)")
        dead = conn.execute(_DEAD_LAYERS).fetchall()
        _delete_layers(conn, [row[0] for row in dead])
        conn.execute("DELETE FROM layer_blobs WHERE diff_id NOT IN (SELECT diff_id FROM layers WHERE diff_id NOT NULL)")
        conn.execute("DELETE FROM places WHERE digest NOT IN (SELECT digest FROM layer_blobs)")
        conn.execute(
            "DELETE FROM pushed WHERE manifest NOT IN (SELECT manifest FROM images UNION SELECT image FROM names)"
        )
        # Within the transaction: a pull that wants to use a blob that is here takes its lease before it looks.
        blobs, freed = _delete_blobs(store, {row[0] for row in conn.execute(_USED_BLOBS)})
    remove_paths(store, [f"layers/{row[0]}" for row in dead])
    caches = _empty_caches(store) if everything else ()
    freed += sum(row[1] for row in dead)
    return Collected(tuple(row[0] for row in dead), tuple(blobs), caches, records, freed)


def _forget(store: Store, cache_age: float | None, cache_bytes: int | None, everything: bool) -> int:
    """Delete cache records; how many."""
    with store.db.transaction() as conn:
        if everything:
            conn.execute("DELETE FROM file_digests")
            conn.execute("DELETE FROM tree_digests")
            conn.execute("DELETE FROM fetched")
            return int(conn.execute("DELETE FROM cache").rowcount)
        count = 0
        if cache_age is not None:
            limit = (time.time() - cache_age,)
            conn.execute("DELETE FROM fetched WHERE used < ?", limit)
            count += conn.execute("DELETE FROM cache WHERE used < ?", limit).rowcount
        if cache_bytes is not None:
            total, unwanted = 0, []
            for layer, size, _ in conn.execute(_ONLY_CACHED).fetchall():
                total += size
                if total > cache_bytes:
                    unwanted.append((layer,))
            count += conn.executemany("DELETE FROM cache WHERE layer = ?", unwanted).rowcount if unwanted else 0
        return count


def _delete_layers(conn: Any, layers: list[str]) -> None:
    # A layer that only shows another one's folder goes before that one does.
    conn.executemany("DELETE FROM layers WHERE id = ? AND files IS NOT NULL", [(layer,) for layer in layers])
    conn.executemany("DELETE FROM layers WHERE id = ?", [(layer,) for layer in layers])


def _delete_blobs(store: Store, used: set[str]) -> tuple[list[str], int]:
    deleted, freed = [], 0
    for digest in store.blobs.walk():
        if digest not in used:
            freed += store.blobs.size(digest) or 0
            if store.blobs.delete(digest):
                deleted.append(str(digest))
    return deleted, freed


def _empty_caches(store: Store) -> tuple[str, ...]:
    """Delete the contents of cache mounts that no run holds a lease on."""
    try:
        names = os.listdir(f"{store.root}/caches")
    except OSError as error:
        raise from_os_error(error, f"listing {store.root}/caches") from error
    unused = sorted(set(names) - store.leases.held("cache"))
    remove_paths(store, [f"caches/{name}" for name in unused])
    return tuple(unused)
