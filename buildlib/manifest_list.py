"""Image indexes (manifest lists) in the store: images for several platforms under one name.

An index in the store is content like any other. What makes it one of the store's are a name that means it, and rows
that say what it refers to: images that are here, or manifests whose blobs are in a registry until somebody needs them.
"""

from __future__ import annotations

from collections import namedtuple

from buildlib.errors import NotFound, StoreBusy, UsageError
from buildlib.oci.value import evolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, NamedTuple

    from buildlib.image import Image, Removed
    from buildlib.oci import Descriptor, Digest, Index, Platform
    from buildlib.store import Store

    class Member(NamedTuple):
        """A row of ``index_members``."""

        image: str | None = None
        origin: str | None = None
else:
    Member = namedtuple("Member", "image origin", defaults=(None, None))


class ManifestList:
    """An image index under a name. Changing it makes a new index, which the name then means; other names stay.

    ``id`` and ``digest`` are those of the index. Attributes that read a blob raise :class:`NotFound` or
    :class:`DigestMismatch` when it is damaged.
    """

    __slots__ = ("_index", "digest", "name", "store")

    def __init__(self, store: Store, digest: str, name: str | None) -> None:
        self.store = store
        self.digest = digest
        self.name = name
        """The full reference by which it was found; None for one that has lost its name."""
        self._index: Index | None = None

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The hex digits of its digest."""
        return self.digest.partition(":")[2]

    @property
    def index(self) -> Index:
        """The document."""
        if self._index is None:
            from buildlib.oci import Index

            self._index = Index.parse(self.store.blobs.read(self.digest))
        return self._index

    @property
    def names(self) -> tuple[str, ...]:
        """All full references that mean this index, in the order of the alphabet."""
        rows = self.store.db.rows("SELECT name FROM names WHERE image = ? ORDER BY name", (self.digest,))
        return tuple(row[0] for row in rows)

    @property
    def images(self) -> tuple[Image, ...]:
        """Those of its images that are in the store, in its order."""
        members, found = self.members(), []
        for digest in self._manifests(self.index):
            image = members.get(digest, Member()).image
            if image is not None:
                found.append(self.store.image(image))
        return tuple(found)

    def _manifests(self, index: Index) -> list[str]:
        from buildlib.oci import Index, mediatype

        found: list[str] = []
        for entry in index.manifests:
            if mediatype.is_index(entry.media_type) and self.store.blobs.has(entry.digest):
                found += self._manifests(Index.parse(self.store.blobs.read(entry.digest)))
            else:
                found.append(entry.digest)
        return found

    def members(self) -> dict[str, Member]:
        """What it refers to, by digest."""
        sql = "SELECT digest, image, origin FROM index_members WHERE owner = ?"
        return {row[0]: Member(row[1], row[2]) for row in self.store.db.rows(sql, (self.digest,))}

    def image(self, platform: Platform | None = None) -> Image:
        """The image for ``platform``, by default this machine's. Raises :class:`NotFound` when it is not here."""
        from buildlib.names import choose

        return self.store.image(choose(self.store, self.digest, self.name or self.id[:12], platform))

    # --- changing it --------------------------------------------------------------------------------------------------

    def add(
        self, image: Image | ManifestList | str, *, all: bool = False, access: Any = None, **changes: Any
    ) -> tuple[Digest, ...]:
        """Add an image; return the digests of the manifests that were added.

        ``image`` is of the store, or named by ``transport:…``. One in a registry (also by a name that means nothing
        here) stays there: its manifest alone is fetched. Of another index the image for this machine is added, or
        with ``all`` every one. ``changes`` overrule what the entry says, see :func:`edited`. An entry for the same
        manifest is replaced.
        """
        from buildlib.list_entries import found_entries

        entries, members = found_entries(self.store, image, all=all, access=access)
        entries = [edited(entry, **changes) for entry in entries]
        digests = {entry.digest for entry in entries}
        kept = [entry for entry in self.index.manifests if entry.digest not in digests]
        self._replace([*kept, *entries], self.members() | members)
        return tuple(entry.digest for entry in entries)

    def annotate(self, image: Image | str, **changes: Any) -> Digest:
        """Change the entry of an image, given by its digest or as one of the store; see :func:`edited`."""
        digest = self._digest(image)
        entries = [edited(e, **changes) if e.digest == digest else e for e in self.index.manifests]
        self._replace(entries, self.members())
        return digest

    def annotate_index(self, annotations: Mapping[str, str] | None = None, subject: Descriptor | None = None) -> None:
        """Set annotations of the index itself, and what it is about."""
        index = evolve(self.index, annotations={**self.index.annotations, **(annotations or {})})
        self._save(evolve(index, subject=subject) if subject else index, self.members())

    def remove_image(self, image: Image | str) -> Digest:
        """Take an image out of the index; the image itself stays."""
        digest = self._digest(image)
        self._replace([entry for entry in self.index.manifests if entry.digest != digest], self.members())
        return digest

    def _digest(self, image: Image | str) -> Digest:
        """The digest by which this index lists an image."""
        listed = {entry.digest: entry.digest for entry in self.index.manifests}
        if not isinstance(image, str):
            wanted = image.digest
        elif image in listed:
            wanted = image
        else:
            try:
                wanted = self.store.find(image).digest
            except NotFound:
                wanted = image
        if wanted not in listed:
            hint = f"it lists {', '.join(listed)}" if listed else "it lists nothing"
            shown = image if isinstance(image, str) else image.id[:12]
            raise NotFound(f"{self.name or self.id[:12]} does not list {shown}", hint=hint, kind="image", name=shown)
        return listed[wanted]  # type: ignore[index]

    def _replace(self, entries: Sequence[Descriptor], members: Mapping[str, Member]) -> None:
        self._save(evolve(self.index, manifests=tuple(entries)), members)

    def _save(self, index: Index, members: Mapping[str, Member]) -> None:
        """Let the name mean ``index``. Members that it does not reach any more are left out."""
        if self.name is None:
            raise UsageError(f"the index {self.id[:12]} has no name", hint="tag it first")
        names = [self.name]
        save(self.store, index, reached(self.store, index, members), names, instead_of=self.digest)
        self.digest, self._index = index.digest, index

    # --- what can be done with it, as with an image -------------------------------------------------------------------

    def tag(self, *names: str) -> None:
        """Call it ``names`` as well; a name that means another image moves. Raises :class:`InvalidReference`."""
        from buildlib.image import set_names
        from buildlib.names import normalise

        wanted = [normalise(name) for name in names]
        with self.store.db.transaction() as conn:
            set_names(conn, self.digest, wanted)

    def push(self, destination: str | None = None, **options: Any) -> Any:
        """Copy it with all its images to ``destination``, or where its name says; options as :meth:`Store.push`."""
        return self.store.push(self, destination, **options)

    def remove(self, name: str | None = None, *, force: bool = False) -> Removed:
        """Take the name away and, if it was the last, the index with the images that only it had.

        One with several names goes only by all of them, or with ``force``.
        """
        from buildlib.image import Removed
        from buildlib.names import candidates

        names = self.names
        called = [full for full in map(str, candidates(name or "")) if full in names]
        if called and len(names) > 1 and not force:
            with self.store.db.transaction() as conn:
                conn.execute("DELETE FROM names WHERE name = ?", (called[0],))
            return Removed((called[0],), None)
        if len(names) > 1 and not force:
            raise StoreBusy(f"index {self.id[:12]} has several names: {', '.join(names)}", hint="remove one name")
        with self.store.db.transaction() as conn:
            conn.execute("DELETE FROM names WHERE image = ?", (self.digest,))
            only = conn.execute(_ONLY_HERE, (self.digest, self.digest)).fetchall()
            conn.execute("DELETE FROM index_members WHERE owner = ?", (self.digest,))
            conn.executemany("DELETE FROM images WHERE id = ?", only)
        self.store.gc()
        return Removed(names, self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ManifestList) and (self.digest, self.store.root) == (other.digest, other.store.root)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<ManifestList {self.id[:12]} {self.name or '<none>'}>"


_ONLY_HERE = """
SELECT DISTINCT image FROM index_members WHERE owner = ? AND image IS NOT NULL
AND image NOT IN (SELECT image FROM index_members WHERE owner != ? AND image IS NOT NULL)
AND image NOT IN (SELECT image FROM names) AND image NOT IN (SELECT image FROM containers WHERE image IS NOT NULL)
"""
"""Images that an index has, and nothing else."""


def edited(
    entry: Descriptor,
    *,
    os: str | None = None,
    architecture: str | None = None,
    variant: str | None = None,
    os_version: str | None = None,
    os_features: Iterable[str] = (),
    features: Iterable[str] = (),
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """An entry of an index with parts of its platform and annotations replaced by those that are given."""
    from buildlib.oci import Platform

    given: dict[str, Any] = {"os": os, "architecture": architecture, "variant": variant, "os_version": os_version}
    changes = {key: value for key, value in given.items() if value is not None}
    if os_features:
        changes["os_features"] = tuple(os_features)
    if features:  # of Docker's format: processor features
        changes["extra"] = {"features": list(features)}
    platform = entry.platform
    if changes:
        platform = evolve(platform or Platform("linux", ""), **changes)
    return evolve(entry, platform=platform, annotations={**entry.annotations, **(annotations or {})})


def reached(store: Store, index: Index, members: Mapping[str, Member]) -> dict[str, Member]:
    """Those of ``members`` that the index refers to, directly or not."""
    from buildlib.oci import Index, mediatype
    from buildlib.oci.manifest import parse

    found: dict[str, Member] = {}
    todo = [entry.digest for entry in index.manifests]
    while todo:
        digest = todo.pop()
        if digest in found or digest not in members:
            continue
        member = found[digest] = members[digest]
        if member.image is not None:
            continue
        document = parse(store.blobs.read(digest))
        if isinstance(document, Index):
            todo += [entry.digest for entry in document.manifests]
        else:
            blobs = [document.config, *document.layers]
            found |= {blob.digest: members[blob.digest] for blob in blobs if blob.digest in members}
            assert mediatype.is_manifest(document.media_type)
    return found


def save(
    store: Store, index: Index, members: Mapping[str, Member], names: Sequence[str], instead_of: str | None = None
) -> ManifestList:
    """Keep an index whose members are in the store, under full references; whole and named, or not at all.

    One without a name is for what is done with it now: the next garbage collection deletes it.

    ``instead_of``: only if the name still means that index, else :class:`StoreBusy`.
    """
    from buildlib.image import set_names

    with store.lease(f"blob:{index.digest}"):
        store.blobs.add(index.raw)
        store.blobs.sync()
        with store.db.transaction() as conn:
            now = conn.execute("SELECT image FROM names WHERE name = ?", tuple(names[:1]) or (None,)).fetchone()
            if instead_of is not None and (now is None or now[0] != instead_of):
                raise StoreBusy(f"{names[0]} was changed by another process meanwhile", hint="do it again")
            rows = [(index.digest, digest, member.image, member.origin) for digest, member in members.items()]
            conn.executemany("INSERT OR REPLACE INTO index_members VALUES (?, ?, ?, ?)", rows)
            set_names(conn, index.digest, names)
    return ManifestList(store, index.digest, names[0] if names else None)


def create(store: Store, name: str | None, images: Sequence[Image | str] = (), *, all: bool = False, access: Any = None,
           annotations: Mapping[str, str] | None = None, replace: bool = False) -> ManifestList:  # fmt: skip
    """See :meth:`Store.create_manifest_list`."""
    from buildlib.errors import NameInUse
    from buildlib.list_entries import found_entries
    from buildlib.names import normalise
    from buildlib.oci import Index

    names = [normalise(name)] if name is not None else []
    for full in names:
        if not replace and store.db.row("SELECT 1 FROM names WHERE name = ?", (full,)):
            hint = "choose another name"
            raise NameInUse(f"{full} is an image or an index already", hint=hint, kind="image", name=full)
    entries: dict[str, Descriptor] = {}
    members: dict[str, Member] = {}
    for image in images:
        found, more = found_entries(store, image, all=all, access=access)
        entries |= {entry.digest: entry for entry in found}
        members |= more
    return save(store, Index.build(entries.values(), annotations=annotations), members, names)
