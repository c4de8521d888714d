"""States of a working container that it can go back to: each is a fork of it, which goes when it goes."""

from __future__ import annotations

from buildlib.container.state import CLEAN
from buildlib.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.container import WorkingContainer


def checkpoint(container: WorkingContainer, name: str) -> None:
    """See :meth:`WorkingContainer.checkpoint`."""
    from buildlib.container.creating import fork
    from buildlib.container.performing import settle

    store = container.store
    with container.lock:
        container.refresh()
        settle(container)
        known = dict(container.state.checkpoints)
        with store.db.transaction() as conn:
            if name in known:
                conn.execute("DELETE FROM containers WHERE id = ?", (known[name],))
            kept = fork(container, None)
            kept.rename(f"{container.name}.{kept.id[:8]}")
            container.write(container.state.evolve(checkpoints={**known, name: kept.id}))


def rollback(container: WorkingContainer, name: str) -> None:
    """See :meth:`WorkingContainer.rollback`."""
    from buildlib.container import WorkingContainer
    from buildlib.container.performing import executing, unmounted

    with container.lock:
        container.refresh()
        known = dict(container.state.checkpoints)
        if name not in known:
            hint = f"there are {', '.join(known)}" if known else "c.checkpoint(name) makes one"
            raise NotFound(f"{container.name} has no checkpoint {name!r}", hint=hint, kind="checkpoint", name=name)
        kept = WorkingContainer.load(container.store, known[name])
        with executing(container), unmounted(container):
            if container.state.prepared is not None:
                container.store.worker.call("remove", {"keys": [container.id], "layers": [], "paths": []})
            with container.store.db.transaction() as conn:
                conn.execute("DELETE FROM container_layers WHERE container = ?", (container.id,))
                rows = [(container.id, position, layer) for position, layer in enumerate(kept.layers)]
                conn.executemany("INSERT INTO container_layers VALUES (?, ?, ?)", rows)
                container.write(kept.state.evolve(checkpoints=known, upper=CLEAN, prepared=None))
            container.layers = kept.layers
