"""The layers of a store as archives: made again to the byte by tar-split, or anew where there is none."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from attrs import frozen

from buildlib.errors import FormatError, TransportError, from_os_error
from buildlib.oci.digest import Digest
from buildlib.transports.containers_storage import tarsplit
from buildlib.transports.packing import Pulled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildlib.content import Readable
    from buildlib.transports.containers_storage.records import Place, Record

_PIECE = 1 << 18
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@frozen
class StoredLayer:
    """A layer where it lies. ``lower`` are the folders of the layers below it, topmost first."""

    place: Place
    record: Record
    lower: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The layer's id in the store."""
        found: str = self.record["id"]
        return found

    @property
    def diff_id(self) -> Digest | None:
        """The digest of its archive as it was when it came, if the store knows it."""
        flags = self.record.get("flags") or {}
        # Layers that were pulled in chunks were never seen whole: the second is what their image promised.
        text = self.record.get("diff-digest") or flags.get("expected-layer-diffid")
        return Digest(text) if text else None

    @property
    def size(self) -> int | None:
        """Bytes of that archive, if the store knows it."""
        size = self.record.get("diff-size")
        return size if isinstance(size, int) and size > 0 else None

    @property
    def is_exact(self) -> bool:
        """Whether its archive can be given as it came."""
        return os.path.exists(self.place.tar_split(self.id))

    def open(self, tmp: str | None = None) -> Readable:
        """Its archive; one that has to be made anew is written to an unnamed file in ``tmp``. Raises
        :class:`TransportError`.
        """
        self.check()
        if self.is_exact:
            folders = (self.place.files(self.id), *self.lower)
            return rebuilt(self.place.tar_split(self.id), folders, self.name)
        return anew(self, tmp)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"layer {self.id[:12]} of {self.place.root}"

    def check(self) -> None:
        """Raise :class:`TransportError` where its files are not simply files in a folder."""
        folder = self.place.folder(self.id)
        if os.path.exists(f"{folder}/composefs-data"):
            raise TransportError(
                f"{self.name} is kept as composefs, which can't be read here",
                hint="copy the image elsewhere with skopeo first",
            )
        if os.path.exists(f"{folder}/additionallayer") or os.path.islink(self.place.files(self.id)):
            raise TransportError(f"{self.name} lies in an additional layer store, which can't be read here")
        if not os.path.isdir(self.place.files(self.id)):
            raise TransportError(
                f"{self.name}: {self.place.files(self.id)} is gone", hint="was the image removed meanwhile?"
            )


def rebuilt(tar_split: str, folders: Iterable[str], where: str) -> Readable:
    """The archive by a tar-split and the first of ``folders`` that has the file. Raises :class:`TransportError`."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(tar_split, "rb", buffering=0))
            roots = []
            for folder in folders:
                with suppress(FileNotFoundError):  # where there is none below, its files are not wanted either
                    roots.append(os.open(folder, _DIRECTORY))
                    stack.callback(os.close, roots[-1])
        except OSError as error:
            raise TransportError(f"{where}: {error.strerror}", hint="was the image removed meanwhile?") from error
        pieces = tarsplit.archive(iter(lambda: file.read(_PIECE), b""), roots, where)
        return Pulled(pieces, stack.pop_all().close)
    raise AssertionError("the stack suppresses no error")


def anew(layer: StoredLayer, tmp: str | None = None) -> Readable:
    """The archive as our own writer makes it: the same files, but hardly ever the same bytes."""
    import tempfile

    from buildlib.layer.measure import export

    _check_alone(layer)
    try:
        with tempfile.TemporaryFile(dir=tmp or "/var/tmp", buffering=0) as file:  # noqa: S108 - it has no name
            export(layer.place.files(layer.id), file.fileno(), compression="none")
            file.seek(0)
            return os.fdopen(os.dup(file.fileno()), "rb", buffering=0)
    except OSError as error:
        raise from_os_error(error, f"copying {layer.name} to {tmp}") from error


def remade(layer: StoredLayer) -> tuple[Digest, int]:
    """Digest and size of what :func:`anew` makes."""
    from buildlib.layer.measure import measure

    layer.check()
    _check_alone(layer)
    measured = measure(layer.place.files(layer.id), content=False)
    return measured.diff_id, measured.size


def _check_alone(layer: StoredLayer) -> None:
    """Raise :class:`TransportError` where its files do not tell what its archive had."""
    if layer.place.driver == "vfs":
        raise TransportError(
            f"{layer.name} has lost its tar-split, and with the vfs driver nothing else tells it from the layers below"
        )
    if layer.record.get("uidmap") or layer.record.get("gidmap"):
        raise TransportError(f"{layer.name} has lost its tar-split, and its files have the owners of a user namespace")


def by_id(places: Iterable[Place]) -> dict[str, StoredLayer]:
    """The finished layers of several stores; the first one that has an id counts."""
    found: dict[str, StoredLayer] = {}
    for place in places:
        for record in place.read_layers():
            found.setdefault(record["id"], StoredLayer(place, record))
    return found


def chain(top: str, known: dict[str, StoredLayer], where: str) -> list[StoredLayer]:
    """The layers of an image from its topmost one, base first. Raises :class:`FormatError`."""
    ids: list[str] = []
    wanted = top
    while wanted:
        if wanted not in known or wanted in ids:
            what = "is not in the store" if wanted not in known else "is below itself"
            raise FormatError(f"{where}: its layer {wanted[:12]} {what}", hint="the store is damaged")
        ids.append(wanted)
        wanted = known[wanted].record.get("parent") or ""
    folders = [known[layer].place.files(layer) for layer in ids]
    layers = [
        StoredLayer(known[layer].place, known[layer].record, tuple(folders[number + 1 :]))
        for number, layer in enumerate(ids)
    ]
    return layers[::-1]
