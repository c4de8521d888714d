"""Entering by oneself what the worker of an ordinary user lives in: a user namespace in which it is root."""

from __future__ import annotations

import os

from buildlib.errors import StoreError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.store import Store


def unshare(store: Store) -> bool:
    """Move this process into a user namespace with the user's subordinate ids, and into a mount namespace below it.

    There it is root over the files of ``store``, whoever owns them in their images, and what it mounts lasts as long
    as processes are in there. Stores have to be opened anew. Returns False, and does nothing, where this process has
    the rights already. Raises :class:`UsageError` in a process with several threads, :class:`StoreError` where the
    machine allows no such namespace.
    """
    from buildlib.linux import namespaces, subids, userns
    from buildlib.linux.process import thread_count

    choice = store.tier
    ids = choice.tier.ids
    if ids == "host" and os.geteuid() == 0:
        return False
    if ids == "host":
        raise StoreError("; ".join(choice.losses), hint=choice.hint or None)
    if thread_count() != 1:
        raise UsageError("a process with several threads can't enter a user namespace")
    uid, gid = os.getuid(), os.getgid()
    maps = subids.own(uid, gid)
    if ids == "range":
        maps = subids.with_subordinates(uid, gid, subids.user_name(uid))
    store.close()
    try:
        userns.enter(maps, namespaces.NEWNS)
    except (OSError, userns.MapFailed) as error:
        raise StoreError(f"the user namespace can't be entered: {error}") from error
    return True
