"""The OCI image layout: which image of its index.json is meant, and how one is added. Pure; knows no folder or tar.

Follows image-spec, image-layout.md. Names are those of the annotation ``org.opencontainers.image.ref.name``; what
containerd and BuildKit put into ``io.containerd.image.name`` is understood as well.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

from buildlib.errors import FormatError, InvalidReference, NotFound, UsageError
from buildlib.oci import document
from buildlib.oci.index import REF_NAME, Index
from buildlib.oci.reference import Reference
from buildlib.oci.value import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.content import Readable
    from buildlib.oci.descriptor import Descriptor
    from buildlib.oci.manifest import Manifest

CONTAINERD_NAME = "io.containerd.image.name"
VERSION_FILE = "oci-layout"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
INDEX_FILE = "index.json"


class LayoutFiles(Protocol):
    """Where the files of a layout are."""

    def read(self, name: str) -> bytes:
        """A small file of the layout, such as index.json."""

    def blob(self, descriptor: Descriptor) -> Readable:
        """The content of a blob."""

    def close(self) -> None:
        """Let go of open files."""


@frozen
class Entry:
    """An image of a layout or an archive, in its order; ``@position`` chooses it whatever it is called."""

    position: int
    names: tuple[str, ...]


class LayoutSource:
    """The image ``wanted`` (a name, ``@position``, or None for the only one) of a layout."""

    def __init__(self, name: str, files: LayoutFiles, wanted: str | None) -> None:
        self.name = name
        self._files = files
        check_version(files.read(VERSION_FILE), name)
        self.index = Index.parse(files.read(INDEX_FILE))
        self._chosen: Descriptor | Index = choose(self.index, wanted, name)

    @property
    def images(self) -> tuple[Entry, ...]:
        """All images of the layout."""
        return tuple(Entry(i, names_of(entry)) for i, entry in enumerate(self.index.manifests))

    def resolve(self) -> Descriptor:
        """The manifest or index that was chosen."""
        return self._chosen.descriptor if isinstance(self._chosen, Index) else self._chosen

    def open(self, descriptor: Descriptor) -> Readable:
        """The content of a descriptor."""
        if isinstance(self._chosen, Index) and descriptor.digest == self._chosen.digest:
            return io.BytesIO(self._chosen.raw)
        return self._files.blob(descriptor)

    def close(self) -> None:
        """Let go of open files."""
        self._files.close()


def split(rest: str) -> tuple[str, str | None]:
    """``path[:name]``: the first colon ends the path, as skopeo has it."""
    path, _, wanted = rest.partition(":")
    return path, wanted or None


def check_version(raw: bytes, where: str) -> None:
    """Raise :class:`FormatError` unless the file ``oci-layout`` names a version that is known."""
    version = document.load(raw, f"{where}: {VERSION_FILE}").get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise FormatError(f"{where}: version {version!r} of the image layout is not known")


def names_of(entry: Descriptor) -> tuple[str, ...]:
    """What an entry of index.json is called."""
    return tuple(dict.fromkeys(entry.annotations[k] for k in (CONTAINERD_NAME, REF_NAME) if k in entry.annotations))


def choose(index: Index, wanted: str | None, where: str) -> Descriptor | Index:
    """The entry that is meant. Entries that differ only by platform are one image: an index of them is returned.

    Raises :class:`NotFound`, and :class:`UsageError` where several could be meant; the hint lists what there is.
    """
    entries = index.manifests
    if wanted is not None and wanted.startswith("@"):
        return entries[position_of(wanted, len(entries), where)]
    if wanted is not None:
        entries = tuple(entry for entry in entries if any(_same(wanted, name) for name in names_of(entry)))
    distinct = {entry.digest: entry for entry in entries}
    if len(distinct) == 1:
        return entries[0]
    if not distinct:
        known = sorted({name for entry in index.manifests for name in names_of(entry)})
        raise NotFound(
            f"{where}: no image {wanted}" if wanted else f"{where}: no image in it",
            hint=f"it has {', '.join(known)}" if known else None,
            kind="image",
            name=wanted or where,
        )
    if all(entry.platform for entry in entries) and len({names_of(entry) for entry in entries}) == 1:
        return Index.build(evolve(entry, annotations=_unnamed(entry)) for entry in distinct.values())
    raise ambiguous(where, [Entry(i, names_of(entry)) for i, entry in enumerate(index.manifests) if entry in entries])


def ambiguous(where: str, entries: Sequence[Entry]) -> UsageError:
    """The error for "which one of these?"."""
    shown = [f"@{entry.position}" + (f" ({', '.join(entry.names)})" if entry.names else "") for entry in entries[:20]]
    return UsageError(
        f"{where}: has {len(entries)} images", hint=f"add a colon and a name or a number: {', '.join(shown)}"
    )


def position_of(wanted: str, count: int, where: str) -> int:
    """The number in ``@number``; raises :class:`NotFound` and :class:`UsageError`."""
    digits = wanted[1:]
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise UsageError(f"{where}: {wanted!r} is not @ and a number")
    if int(digits) >= count:
        raise NotFound(f"{where}: no image {wanted}: there are {count}, from @0 on", kind="image", name=wanted)
    return int(digits)


def add(index: Index, added: Manifest | Index, names: Sequence[str]) -> Index:
    """``index`` with one more image. A name that another image had goes over to it; nothing is listed twice."""
    entry = added.descriptor
    kept = [e for e in index.manifests if not set(names_of(e)) & set(names)]
    if any(e.digest == entry.digest for e in kept) and not names:
        return evolve(index, manifests=tuple(kept))
    kept = [e for e in kept if e.digest != entry.digest or names_of(e)]
    named = [evolve(entry, annotations={REF_NAME: name}) for name in names] or [entry]
    return evolve(index, manifests=(*kept, *named))


def without(index: Index, wanted: str | None, where: str) -> tuple[Index, tuple[Descriptor, ...]]:
    """``index`` without the image ``wanted`` (as for :func:`choose`), and the entries that it had."""
    chosen = choose(index, wanted, where)
    digests = {entry.digest for entry in chosen.manifests} if isinstance(chosen, Index) else {chosen.digest}
    if wanted is not None and wanted.startswith("@"):
        gone = [index.manifests[position_of(wanted, len(index.manifests), where)]]
    else:
        gone = [e for e in index.manifests if wanted is None or any(_same(wanted, name) for name in names_of(e))]
        gone = [e for e in gone if e.digest in digests]
    kept = tuple(entry for entry in index.manifests if entry not in gone)
    return evolve(index, manifests=kept), tuple(gone)


def _unnamed(entry: Descriptor) -> dict[str, str]:
    return {key: value for key, value in entry.annotations.items() if key not in (REF_NAME, CONTAINERD_NAME)}


def _same(wanted: str, name: str) -> bool:
    if wanted == name:
        return True
    try:
        return Reference.parse(wanted, "latest") == Reference.parse(name, "latest") and "/" in name
    except InvalidReference:
        return False
