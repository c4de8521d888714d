"""Where a step's files come from, and their digest: of the host by reading them here, of layers by a memo."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager

from buildlib.errors import CopyError
from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.container.mounts import Bind
    from buildlib.container.remote import Git, Web
    from buildlib.image import Image
    from buildlib.store import Store
    from buildlib.worker.copying.request import Request


class Folder(NamedTuple):
    """A folder of the host."""

    path: str
    what: str

    def to_dict(self) -> dict[str, Any]:
        """For the worker."""
        return {"root": self.path}


class View(NamedTuple):
    """The files of an image or of another container: a stack of layers."""

    layers: tuple[str, ...]
    state: str
    """Identifies the files, for the memo of digests."""
    what: str

    def to_dict(self) -> dict[str, Any]:
        """For the worker."""
        return {"view": {"parents": list(self.layers)}}


if TYPE_CHECKING:
    Origin = Folder | View | Web | Git | None
    """Where files come from; None where they are all given by their content."""


def view(store: Store, from_: str | Image | WorkingContainer | View) -> View:
    """The files that ``from_`` names: a container or an image, or what either is called."""
    from buildlib.container import WorkingContainer
    from buildlib.container.performing import settle

    if isinstance(from_, View):
        return from_
    if isinstance(from_, str):
        row = store.db.row("SELECT id FROM containers WHERE name = ? OR id = ?", (from_, from_))
        from_ = WorkingContainer.load(store, row[0]) if row else _image(store, from_)
    if isinstance(from_, WorkingContainer):
        with from_.lock:
            from_.refresh()
            settle(from_)  # its files are to stand still, and to have a name
            return View(from_.layers, _state_of(from_), f"the container {from_.name}")
    from buildlib.cache import base_state
    from buildlib.oci import chain_id

    chain = chain_id(from_.config.diff_ids)
    return View(from_.layers, base_state(chain[-1] if chain else None), f"the image {from_.name or from_.id[:12]}")


def _image(store: Store, name: str) -> Image | WorkingContainer:
    from buildlib.bases import base_image

    image, _ = base_image(store, name, "missing", None)
    if image is None:
        raise CopyError(f"{name}: there is nothing to copy in it", path=name)
    return image


def _state_of(container: WorkingContainer) -> str:
    if container.state.cache:
        return container.state.state_key
    return "layers " + " ".join(container.layers)


def store_of(store: Store) -> tuple[tuple[int, int], ...]:
    """What a walk through folders of the host passes over: the store is never part of what it makes."""
    info = os.stat(store.root)
    return ((info.st_dev, info.st_ino),)


@contextmanager
def held(store: Store, origin: Folder | View | None) -> Iterator[None]:
    """The layers of a view stay within the block, whatever becomes of what they belong to."""
    if not isinstance(origin, View) or not origin.layers:
        yield
        return
    with store.lease(*(f"layer:{layer}" for layer in origin.layers)):
        yield


@contextmanager
def opened(store: Store, origin: Origin) -> Iterator[dict[str, Any]]:
    """The place of the files as the worker's operations take it; what is not there is fetched for the block."""
    if origin is None:
        yield {}
    elif isinstance(origin, Folder | View):
        with held(store, origin):
            yield origin.to_dict()
    else:
        with origin.open() as folder:
            yield {"root": folder}


def digest(store: Store, origin: Origin, request: Request) -> tuple[str, dict[str, str]]:
    """The digest of what ``request`` takes from ``origin``, and what it is made of by name."""
    from buildlib.worker.copying import request as requests

    if isinstance(origin, View):
        return _view_digest(store, origin, request), {}
    if origin is not None and not isinstance(origin, Folder):
        return origin.digest(request)
    from buildlib.file_digests import FileDigests

    memo = FileDigests(store.db)
    fd = requests.open_root(origin.path, origin.what) if origin is not None else None
    try:
        tree = requests.digest(request, fd, memo)
    finally:
        if fd is not None:
            os.close(fd)
    memo.save()
    return tree.finish(), tree.brief()


def _view_digest(store: Store, origin: View, request: Request) -> str:
    """Layers never change, so the answer is remembered by what identifies them."""
    text = json.dumps([origin.state, {**request._asdict(), "what": "", "skip": ()}], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    row = store.db.row("SELECT digest FROM tree_digests WHERE key = ?", (key,))
    if row is not None:
        return str(row[0])
    with held(store, origin):
        reply = store.worker.call("digest", {**origin.to_dict(), **request._asdict()})
    with store.db.transaction() as conn:
        conn.execute("INSERT OR REPLACE INTO tree_digests VALUES (?, ?)", (key, reply["digest"]))
    return str(reply["digest"])


def bind_digests(container: WorkingContainer, binds: Sequence[Bind]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The digest of what each bind shows, and for people what they are made of."""
    if not binds:
        return (), {}
    from buildlib.worker.copying.request import Request

    digests: list[str] = []
    names: dict[str, str] = {}
    for bind in binds:
        origin, source = _bind_source(container.store, bind)
        request = Request((source,), bind.source, keep_owner=True, strip=False, skip=store_of(container.store))
        found, made_of = digest(container.store, origin, request)
        digests.append(found)
        names.update(made_of)
    return tuple(digests), names


def _bind_source(store: Store, bind: Bind) -> tuple[Folder | View, str]:
    if bind.from_ is not None:
        return view(store, bind.from_), literal(bind.source)
    if bind.context is not None:
        return Folder(os.path.abspath(bind.context), bind.source), literal(bind.source)
    path = os.path.abspath(bind.source)
    if os.path.isdir(path):
        return Folder(path, bind.source), "."
    where, name = os.path.split(path)
    return Folder(where, bind.source), literal(name)


def literal(name: str) -> str:
    """``name`` as a pattern that matches nothing else."""
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in name)
