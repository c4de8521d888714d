"""Checking a store: every row has its files, every file its row, every digest holds. It repairs nothing."""

from __future__ import annotations

import os
from collections import namedtuple

from buildlib.errors import BuildlibError, DigestMismatch, LayerError, NotFound
from buildlib.recovery import orphans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple

    from buildlib.store import Store

    class Finding(NamedTuple):
        """One thing that is wrong."""

        kind: str
        name: str
        problem: str
else:
    Finding = namedtuple("Finding", "kind name problem")
    Finding.__doc__ = """One thing that is wrong: with an "image", "name", "layer", "blob", "container" or "database",
    its id, name or digest, and what is wrong in one line."""


def check(store: Store, *, digests: bool, diff_ids: bool) -> list[Finding]:
    """See :meth:`Store.check`."""
    store.recover()
    found = [*_database(store), *_folders(store), *_images(store)]
    if digests:
        found += _blobs(store)
    if diff_ids:
        found += _layers(store)
    return found


def _database(store: Store) -> Iterator[Finding]:
    for (line,) in store.db.rows("PRAGMA integrity_check"):
        if line != "ok":
            yield Finding("database", store.db.path, line)
    for table, _, parent, _ in store.db.rows("PRAGMA foreign_key_check"):
        yield Finding("database", table, f"a row refers to one in {parent} that is not there")


def _folders(store: Store) -> Iterator[Finding]:
    for kind in ("layers", "containers"):
        names = os.listdir(f"{store.root}/{kind}")
        for name in orphans(store, kind, names):
            yield Finding(kind.removesuffix("s"), name, "a folder that the database does not know")
    for (layer,) in store.db.rows("SELECT id FROM layers"):
        if not os.path.isdir(store.layers.path(layer)):
            yield Finding("layer", layer, "its folder is missing")


def _images(store: Store) -> Iterator[Finding]:
    for image in store.images():
        try:
            config, manifest = image.config, image.manifest
        except BuildlibError as error:
            yield Finding("image", image.id, error.message)
            continue
        sql = "SELECT diff_id FROM image_layers JOIN layers ON id = layer WHERE image = ? ORDER BY position"
        diff_ids = [row[0] for row in store.db.rows(sql, (image.id,))]
        if diff_ids != list(config.diff_ids):
            yield Finding("image", image.id, "its layers are not those that its config lists")
        for diff_id, layer in zip(config.diff_ids, manifest.layers, strict=False):
            if layer.digest != diff_id and not store.blobs.has(layer.digest):
                yield Finding("blob", layer.digest, f"is missing; image {image.id[:12]} was pulled with it")
    yield from _indexes(store)
    for name, digest in store.db.rows("SELECT name, image FROM names"):
        known = (
            store.blobs.has(digest) if ":" in digest else store.db.row("SELECT 1 FROM images WHERE id = ?", (digest,))
        )
        if not known:
            yield Finding("name", name, f"means {digest}, which is not there")


def _indexes(store: Store) -> Iterator[Finding]:
    sql = "SELECT DISTINCT name, digest FROM names JOIN index_members ON owner = names.image"
    for name, digest in store.db.rows(sql):
        if not store.blobs.has(digest):
            yield Finding("blob", digest, f"is missing; the index {name} refers to it")


def _blobs(store: Store) -> Iterator[Finding]:
    for digest in store.blobs.walk():
        try:
            store.blobs.verify(digest)
        except DigestMismatch as error:
            yield Finding("blob", digest, f"is damaged: its digest is now {error.actual}")
        except NotFound:
            continue  # collected by another process while this one was reading


def _layers(store: Store) -> Iterator[Finding]:
    """Whether folders still hold what they were made of."""
    for layer, diff_id, own in store.db.rows("SELECT id, diff_id, content_digest IS NOT NULL FROM layers"):
        try:
            if diff_id is not None:
                yield from _made_here(store, layer, diff_id) if own else _unpacked(store, layer, diff_id)
        except NotFound:
            continue  # collected by another process while this one was reading


def _made_here(store: Store, layer: str, diff_id: str) -> Iterator[Finding]:
    actual = store.worker.call("measure", {**store.layers.tar(layer), "content": False})["diff_id"]
    if actual != diff_id:
        yield Finding("layer", layer, f"its files changed: the DiffID was {diff_id} and is now {actual}")


def _unpacked(store: Store, layer: str, diff_id: str) -> Iterator[Finding]:
    """A foreign tar can't be rebuilt to the byte from the folder; so it is unpacked once more and compared.

    Not where the folder depends on its parents, or where its blob is gone.
    """
    sql = (
        "SELECT digest FROM layer_blobs JOIN layers USING (diff_id) "
        "WHERE layers.id = ? AND recipe IS NULL AND parent_chain IS NULL AND files IS NULL"
    )
    for (digest,) in store.db.rows(sql, (layer,)):
        if not store.blobs.has(digest):
            continue
        with store.lease() as lease, store.blobs.open(digest) as file:
            try:
                fresh = store.layers.ingest(file.fileno(), lease)
            except LayerError as error:
                yield Finding("blob", digest, error.message)
                continue
            measured = [store.worker.call("measure", {"layer": each}) for each in (fresh.layer, layer)]
            store.layers.discard([fresh])
        if measured[0]["diff_id"] != measured[1]["diff_id"]:
            yield Finding("layer", layer, f"its files are not those of its blob {digest}")
        return
