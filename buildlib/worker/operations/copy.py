"""Copy files from the host, from layers or from the request itself into a working container."""

from __future__ import annotations

import os
from contextlib import contextmanager

from buildlib.sandbox.user import read_text
from buildlib.worker.copying import owner
from buildlib.worker.copying.digest import TreeDigest
from buildlib.worker.copying.driver import copy_items, landing
from buildlib.worker.copying.place import Place
from buildlib.worker.copying.request import Request, open_root
from buildlib.worker.copying.rules import Destination
from buildlib.worker.copying.select import close
from buildlib.worker.copying.transfer import Transfer
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from buildlib.worker.copying.driver import Unpack


def copy(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{key, parents, below, root | view, dest, unpack?, digest?, …} -> {entries, bytes, digest}``.

    The other arguments are the fields of :class:`Request`; ``parents`` is its flag, and ``below`` the layers under the
    container. ``dest`` is absolute. With ``unpack``, files that are tar archives are extracted. The ``digest`` of what
    was written is computed on the way if it is asked for, else it is None.

    Raises :class:`CopyError`, :class:`StoreFull`, :class:`LayerError` (an archive that is damaged or hostile).
    """
    os.umask(0)
    request = Request.from_dict(args)
    with (
        Workspace(root) as space,
        source(space, args, request) as from_fd,
        opened(space.container(args["key"], args["below"])) as into,
    ):
        place = Place(into)
        effect = request.effect(resolve(place, request.chown))
        place.owner, place.mode = effect.owner or (0, 0), effect.parent_mode
        transfer = Transfer(place, effect, TreeDigest(effect) if args.get("digest") else None, request.what)
        _write(request, from_fd, transfer, args["dest"], unpacker(transfer) if args.get("unpack") else None)
    digest = transfer.tree.finish() if transfer.tree is not None else None
    return {"entries": transfer.entries, "bytes": transfer.bytes, "digest": digest}


def _write(request: Request, from_fd: int | None, transfer: Transfer, dest: str, unpack: Unpack | None) -> None:
    items, texts = [], request.texts()
    try:
        if from_fd is not None:
            origin = request.origin(from_fd)
            items = request.select(origin)
        target = Destination.parse(dest, "", len(items) + len(texts))
        if items:
            copy_items(items, origin, transfer, target, request.skipped, unpack)
        for name, content, mode in texts:
            at, where, called = landing(transfer, target, name)
            try:
                transfer.text(name, content, mode, at, where.rstrip("/"), called)
            finally:
                os.close(at)
    finally:
        close(items)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """The directory ``path``, open."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def source(space: Workspace, args: dict[str, Any], request: Request) -> Iterator[int | None]:
    """The root of the sources, open: a folder of the host, or layers; None where there is neither."""
    if "view" in args:
        with opened(space.view(args["view"]["parents"])) as fd:
            yield fd
    elif "root" in args:
        fd = open_root(args["root"], request.what)
        try:
            yield fd
        finally:
            os.close(fd)
    else:
        yield None


def resolve(place: Place, chown: str | None) -> tuple[int, int] | None:
    """The ids that ``chown`` names in the container. Raises :class:`CopyError`, :class:`FormatError`."""
    if chown is None:
        return None
    if not owner.needs_files(chown):
        return owner.resolve(chown, "", "")
    return owner.resolve(chown, read_text(place.fd, "/etc/passwd"), read_text(place.fd, "/etc/group"))


def unpacker(transfer: Transfer) -> Unpack:
    """Extracts archives, with ``--chown`` applied."""
    from buildlib.worker.copying.unpack import unpack

    return lambda item, dest: unpack(transfer, item, dest)
