"""The loops that join the parts: items are found, walked, and either hashed or written."""

from __future__ import annotations

import os
import posixpath

from buildlib.worker.copying.digest import Hasher
from buildlib.worker.copying.walk import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildlib.worker.copying.digest import Memo, TreeDigest
    from buildlib.worker.copying.rules import Destination
    from buildlib.worker.copying.select import Item, Origin
    from buildlib.worker.copying.transfer import Transfer
    from buildlib.worker.copying.walk import Identity

    Unpack = Callable[[Item, str], bool]
    """Extract the item, if it is an archive, into that directory of the root, and say whether it was one."""


def hash_items(
    items: Sequence[Item],
    origin: Origin,
    tree: TreeDigest,
    memo: Memo | None = None,
    skip: frozenset[Identity] = frozenset(),
) -> None:
    """Feed ``tree`` with what :func:`copy_items` would copy, in the same order."""
    hasher = Hasher(tree, memo, origin.what)
    for item in items:
        if item.entry:
            hasher.file(item.fd, item.entry, item.name, item.info)
            continue
        before = tree.entries
        hasher.contents(item.fd, walk(item.fd, item.filter, skip, what=_shown(origin, item)), _prefix(item))
        if item.must_match and tree.entries == before:
            raise origin.missing(item)


def copy_items(
    items: Sequence[Item],
    origin: Origin,
    transfer: Transfer,
    dest: Destination,
    skip: frozenset[Identity] = frozenset(),
    unpack: Unpack | None = None,
) -> None:
    """Write the items to ``dest``. With ``unpack``, archives are extracted into it."""
    place = transfer.place
    for item in items:
        if not item.entry:
            fd, _ = place.directory(dest.path)
            try:
                before = transfer.entries
                events = walk(item.fd, item.filter, skip, what=_shown(origin, item))
                transfer.contents(events, fd, dest.path.rstrip("/"), _prefix(item))
            finally:
                os.close(fd)
            if item.must_match and transfer.entries == before:
                raise origin.missing(item)
        elif unpack is None or not unpack(item, dest.path):
            at, where, name = landing(transfer, dest, item.name)
            try:
                transfer.file(item.fd, item.entry, item.info, at, where.rstrip("/"), name, item.name)
            finally:
                os.close(at)


def landing(transfer: Transfer, dest: Destination, name: str) -> tuple[int, str, str]:
    """Where a file called ``name`` goes: an open directory, its path, and the name there."""
    place = transfer.place
    if dest.directory or place.is_directory(dest.path):
        fd, _ = place.directory(dest.path)
        return fd, dest.path, name
    return place.target(dest.path)


def _prefix(item: Item) -> str:
    return f"{item.path}/" if item.path else ""


def _shown(origin: Origin, item: Item) -> str:
    return posixpath.join(origin.what, item.path) if item.path else origin.what
