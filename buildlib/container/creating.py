"""The rows of working containers: made, named, forked and deleted. Nothing is prepared on disk here."""

from __future__ import annotations

import os
import re
import time
from contextlib import nullcontext

from buildlib.cache import base_state
from buildlib.container.state import CLEAN, State
from buildlib.errors import NameInUse, StoreFull, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.image import Image
    from buildlib.leases import Lease
    from buildlib.store import Store

SUFFIX = "working-container"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


def create(
    store: Store, image: Image | None, image_name: str, name: str | None, fields: Mapping[str, Any]
) -> WorkingContainer:
    """See :meth:`WorkingContainer.create`."""
    from buildlib.container import WorkingContainer
    from buildlib.oci import chain_id

    fields = dict(fields)
    given, suffix = fields.pop("run", None), fields.pop("suffix", None) or SUFFIX
    if given is not None:
        fields["run"] = given.given()
    if name is None:
        name = free_name(store, image_name, suffix)
    chain = chain_id(image.config.diff_ids) if image is not None else ()
    state = State.fresh(image, base_state(chain[-1] if chain else None), **fields)
    layers = image.layers if image is not None else ()
    row = insert(store, image.id if image is not None else None, image_name, name, layers, state)
    return WorkingContainer(store, row, layers)


def insert(
    store: Store, image_id: str | None, image_name: str, name: str | None, layers: Sequence[str], state: State
) -> tuple[Any, ...]:
    """Write the rows of a new container; return that of the container."""
    id, text = os.urandom(32).hex(), state.encode()
    with store.db.transaction() as conn:
        if name is not None:
            check_name(store, name)
        else:
            name = free_name(store, image_name)
        row = (id, name, image_id, image_name, time.time(), text)
        conn.execute(
            "INSERT INTO containers (id, name, image, image_name, created, state) VALUES (?, ?, ?, ?, ?, ?)", row
        )
        positions = [(id, position, layer) for position, layer in enumerate(layers)]
        conn.executemany("INSERT INTO container_layers VALUES (?, ?, ?)", positions)
    return row


def check_name(store: Store, name: str) -> None:
    """Raises :class:`UsageError` for a malformed name, :class:`NameInUse` for one that is taken."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a container", hint="letters, digits, '_', '.' and '-' make one")
    if store.db.row("SELECT 1 FROM containers WHERE name = ?", (name,)):
        raise NameInUse(
            f"a container is called {name!r} already", hint="choose another name", kind="container", name=name
        )


def free_name(store: Store, image_name: str, suffix: str = SUFFIX) -> str:
    """``debian-working-container`` for ``docker.io/library/debian:12``, with -1, -2 … as far as they are taken."""
    base = stem(image_name)
    prefix = f"{base}-{suffix}" if base else suffix
    rows = store.db.rows("SELECT name FROM containers WHERE name >= ? AND name < ?", (prefix, prefix + "."))
    taken = {row[0] for row in rows}
    name, number = prefix, 0
    while name in taken:
        number += 1
        name = f"{prefix}-{number}"
    return name


def stem(image_name: str) -> str:
    """What the name of a container takes from that of its image: the last part, without tag and digest."""
    if image_name in ("", "scratch"):
        return ""
    transport, colon, path = image_name.partition(":")
    if colon and transport in ("tarball", "oci", "oci-archive", "docker-archive", "dir", "containers-storage"):
        path = path.rstrip("/").rpartition("/")[2].partition(":")[0]
        name = path.removesuffix(".gz").removesuffix(".xz").removesuffix(".zst").removesuffix(".tar")
    else:
        name = image_name.partition("@")[0].rpartition("/")[2].partition(":")[0]
    name = re.sub(r"[^a-zA-Z0-9_.-]", "-", name).lstrip("_.-")
    return name[:12] if re.fullmatch(r"[0-9a-f]{64}", name) else name[:100]


def fork(container: WorkingContainer, name: str | None) -> WorkingContainer:
    """A row with the same state and layers; the upper of ``container`` has to be settled."""
    from buildlib.container import WorkingContainer

    store, state = container.store, container.state.evolve(upper=CLEAN, prepared=None, checkpoints={})
    row = insert(store, container.image_id, container.image_name, name, container.layers, state)
    return WorkingContainer(store, row, container.layers)


def rename(container: WorkingContainer, name: str) -> None:
    """See :meth:`WorkingContainer.rename`."""
    with container.store.db.transaction() as conn:
        if name != container.name:
            check_name(container.store, name)
        conn.execute("UPDATE containers SET name = ? WHERE id = ?", (name, container.id))
    container.name = name


def remove(container: WorkingContainer, lease: Lease | None) -> None:
    """See :meth:`WorkingContainer.remove`; ``lease`` is what it was held by and goes with it."""
    from buildlib.container.performing import executing
    from buildlib.recovery import remove_paths

    store, folder = container.store, f"containers/{container.id}"
    try:
        _forget(container, lease)
    except StoreFull:
        # To write down that it goes takes room, which only its going makes.
        with executing(container) if container.execution else nullcontext():
            container.umount()
            remove_paths(store, [folder])
        _forget(container, lease)
    if os.path.lexists(f"{store.root}/{folder}"):
        remove_paths(store, [folder])
    for kept in container.state.checkpoints.values():
        store.container(kept).remove()
    own = container.layers[container.state.base_layers :]
    if own and orphans(store, own):
        store.gc()


def _forget(container: WorkingContainer, lease: Lease | None) -> None:
    from buildlib.container.performing import executing

    with executing(container):
        container.umount()
        with container.store.db.transaction() as conn:
            conn.execute("DELETE FROM containers WHERE id = ?", (container.id,))
            if lease is not None:
                lease.drop()


def orphans(store: Store, layers: Sequence[str]) -> set[str]:
    """Those of the layers that no image, no container and no record of the cache needs."""
    marks = ",".join("?" * len(layers))
    sql = " UNION ".join(
        f"SELECT {column} FROM {table} WHERE {column} IN ({marks})"  # noqa: S608 - our own names
        for table, column in (
            ("image_layers", "layer"),
            ("container_layers", "layer"),
            ("cache", "layer"),
            ("layers", "files"),
        )
    )
    return set(layers) - {row[0] for row in store.db.rows(sql, tuple(layers) * 4)}
