"""Undoing what a process left unfinished when it died. It touches nothing that a living process holds a lease on.

The order of things is such that every crash leaves one of these, and :func:`sweep` knows each of them:

- a lease of a dead owner. ``layer:<id>`` with a note {"container": …}: a seal; what was renamed goes back into the
  container's upper. ``container:<id>`` with {"temporary": true}: the container of a build; it goes. ``path:<path>``:
  the path goes. Any other protected something that is whole, or has no row yet and then is an orphan.
- a folder in ``layers/`` or ``containers/`` without row and without lease: an orphan, deleted. The row comes last when
  something is made and goes first when something is deleted.
- something half-made in ``tmp/`` whose name begins with the pid and the start time of a dead process.

A crash of the *machine* is different: blobs are synced before they get their name, but the files of layers are not,
and the last transactions may be lost (the database itself stays whole). After a power loss a layer made in the last
half minute may have files that are empty or short: ``check(diff_ids=True)`` finds it. What it names is removed and
built or pulled again.
"""

from __future__ import annotations

import os
from contextlib import suppress

from buildlib.content import abandoned, temporary
from buildlib.errors import from_os_error
from buildlib.snapshot.overlay import MERGED
from buildlib.snapshot.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildlib.store import Store


def sweep(store: Store) -> None:
    """Undo all that dead processes left. Cheap when there is nothing: a query, three listings."""
    for token, resource, note in store.leases.dead():
        kind, _, name = resource.partition(":")
        if kind == "layer" and isinstance(note, dict) and "container" in note:
            unseal(store, name, note["container"])
        elif kind == "container" and isinstance(note, dict) and note.get("temporary"):
            with store.db.transaction() as conn:
                conn.execute("DELETE FROM containers WHERE id = ?", (name,))
        elif kind == "path":
            remove_paths(store, [name])
        with store.db.transaction() as conn:
            conn.execute("DELETE FROM leases WHERE token = ?", (token,))
    # Listed before the rows are read: a folder that got its row meanwhile is then no orphan.
    found = {folder: _listing(store, folder) for folder in ("layers", "containers", "tmp")}
    for kind in ("layers", "containers"):
        remove_paths(store, [f"{kind}/{name}" for name in orphans(store, kind, found[kind])])
    remove_paths(store, [f"tmp/{name}" for name in found["tmp"] if abandoned(name)])


def orphans(store: Store, kind: str, names: Iterable[str]) -> list[str]:
    """Those of the folders ``names`` in ``layers/`` or ``containers/`` that have neither a row nor a lease."""
    names = set(names)
    if not names:
        return []
    with store.db.transaction():  # rows and leases of one moment: a lease gives way to its row in one transaction
        known = {row[0] for row in store.db.rows(f"SELECT id FROM {kind}")}  # noqa: S608 - one of two words
        return sorted(names - known - store.leases.held(kind.removesuffix("s")))


def unseal(store: Store, layer: str, container: str) -> None:
    """Undo a seal that did not become a row: what was renamed goes back into the upper, which is fresh and empty."""
    root = store.root
    files, upper = f"{root}/layers/{layer}/fs", f"{root}/containers/{container}/upper"
    with store.db.transaction() as conn:
        conn.execute("DELETE FROM leases WHERE resource = ?", (f"layer:{layer}",))
        if conn.execute("SELECT 1 FROM layers WHERE id = ?", (layer,)).fetchone():
            return  # it became one, and only the lease was left
        alive = conn.execute("SELECT 1 FROM containers WHERE id = ?", (container,)).fetchone()
        if alive and os.path.lexists(files):
            try:
                os.rename(files, upper)  # over an empty directory, in one step (rename(2))
            except OSError as error:
                raise from_os_error(error, f"moving {files} back to {upper}") from error
    remove_paths(store, [f"layers/{layer}"])


def remove_paths(store: Store, paths: Iterable[str]) -> None:
    """Delete folders and files of the store, named below its root; missing ones are fine.

    Each is first moved away under a name of this process: only one process deletes it, and when that one dies, what
    is left is known to be half-made. Where this process may not delete, because things belong to ids of a user
    namespace, the worker does it.
    """
    left = []
    for path in paths:
        full, doomed = f"{store.root}/{path}", temporary(store.tmp)
        _unmount(f"{full}/{MERGED}")
        try:
            os.rename(full, doomed)
            remove_tree(doomed)
        except FileNotFoundError:
            continue
        except PermissionError:
            left.append(doomed if os.path.lexists(doomed) else full)
        except OSError as error:
            raise from_os_error(error, f"deleting {full}") from error
    if left:
        store.worker.call("remove", {"keys": [], "layers": [], "paths": left})


def _unmount(spot: str) -> None:
    """Let go of a container that was mounted for all to see and still is, though nobody knows it any more."""
    if os.path.lexists(spot):
        from buildlib.linux.mount import MNT_DETACH, umount

        with suppress(OSError):  # not a mount, or not ours to unmount: then deleting says so
            umount(spot, MNT_DETACH)


def _listing(store: Store, folder: str) -> list[str]:
    try:
        return os.listdir(f"{store.root}/{folder}")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise from_os_error(error, f"listing {store.root}/{folder}") from error
