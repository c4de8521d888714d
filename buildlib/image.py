"""Images in the store: values read from their rows and, only when asked for, from their config and manifest."""

from __future__ import annotations

from collections import namedtuple

from buildlib.errors import DigestMismatch, FormatError, StoreBusy, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO, Any, NamedTuple

    from buildlib.container.run import RunResult
    from buildlib.display import Changes, Steps
    from buildlib.oci import Digest, ImageConfig, Manifest, Platform
    from buildlib.path import Path
    from buildlib.store import Store
    from buildlib.survey import File, Survey

    class Removed(NamedTuple):
        """What a removal did."""

        untagged: tuple[str, ...]
        deleted: str | None
else:
    Removed = namedtuple("Removed", "untagged deleted")

COLUMNS = "id, manifest, created, size, os, architecture, variant"


class Image:
    """One image of a store. It never changes, except for what it is called; two are equal when their ids are.

    ``id``: 64 hex digits, the digest of the config. ``digest``: that of the manifest. ``created``: seconds since 1970.
    ``size``: bytes of the layers as tar. Attributes that read a blob raise :class:`NotFound` or
    :class:`DigestMismatch` when it is damaged.
    """

    __slots__ = ("_config", "_manifest", "architecture", "created", "digest", "id", "os", "size", "store", "variant")

    def __init__(self, store: Store, row: Sequence[Any]) -> None:
        self.store = store
        self.id: str = row[0]
        self.digest: str = row[1]
        self.created: float = row[2]
        self.size: int = row[3]
        self.os: str = row[4]
        self.architecture: str = row[5]
        self.variant: str | None = row[6]
        self._config: ImageConfig | None = None
        self._manifest: Manifest | None = None

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """All full references that mean this image, in the order of the alphabet."""
        rows = self.store.db.rows("SELECT name FROM names WHERE image = ? ORDER BY name", (self.id,))
        return tuple(row[0] for row in rows)

    @property
    def name(self) -> str | None:
        """The newest of its names; None for a dangling image."""
        row = self.store.db.row("SELECT name FROM names WHERE image = ? ORDER BY since DESC, name", (self.id,))
        return row[0] if row else None

    @property
    def lists(self) -> tuple[str, ...]:
        """The names of indexes that it belongs to."""
        sql = "SELECT DISTINCT name FROM names JOIN index_members ON owner = names.image WHERE index_members.image = ?"
        return tuple(row[0] for row in self.store.db.rows(f"{sql} ORDER BY name", (self.id,)))

    @property
    def config_blob(self) -> bytes:
        """The bytes of the config, whose digest is the id."""
        return self.store.blobs.read(f"sha256:{self.id}")

    @property
    def manifest_blob(self) -> bytes:
        """The bytes of the manifest."""
        return self.store.blobs.read(self.digest)

    @property
    def config(self) -> ImageConfig:
        """Architecture, environment, command, DiffIDs, history … as the image spec has them."""
        if self._config is None:
            from buildlib.oci import ImageConfig

            self._config = ImageConfig.parse(self.config_blob)
        return self._config

    @property
    def manifest(self) -> Manifest:
        """The manifest as it was pulled, or with plain layers where the image was built here."""
        if self._manifest is None:
            from buildlib.oci import Manifest

            self._manifest = Manifest.parse(self.manifest_blob)
        return self._manifest

    @property
    def layers(self) -> tuple[str, ...]:
        """The ids of its layers, base first."""
        rows = self.store.db.rows("SELECT layer FROM image_layers WHERE image = ? ORDER BY position", (self.id,))
        return tuple(row[0] for row in rows)

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The DiffIDs of its layers, base first."""
        return self.config.diff_ids

    @property
    def history(self) -> Steps:
        """The steps that made it, oldest first."""
        from buildlib.display import Steps

        return Steps(self.config.history)

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return self.config.platform

    # --- what it is called --------------------------------------------------------------------------------------------

    def tag(self, *names: str) -> None:
        """Call it ``names`` as well; a name that means another image moves. Raises :class:`InvalidReference`."""
        from buildlib.names import normalise

        wanted = [normalise(name) for name in names]
        with self.store.db.transaction() as conn:
            set_names(conn, self.id, wanted)

    def untag(self, *names: str) -> None:
        """Take names away, all of them when none is given; the image stays.

        Raises :class:`UsageError` for a name that it has not.
        """
        from buildlib.names import candidates

        with self.store.db.transaction() as conn:
            have = self.names
            for name in names:
                found = [str(reference) for reference in candidates(name) if str(reference) in have]
                if not found:
                    raise UsageError(f"image {self.id[:12]} is not called {name!r}", hint=f"it is {', '.join(have)}")
                conn.execute("DELETE FROM names WHERE name = ?", (found[0],))
            if not names:
                conn.execute("DELETE FROM names WHERE image = ?", (self.id,))

    # --- what can be done with it -------------------------------------------------------------------------------------

    def run(self, command: str | Sequence[str], **options: Any) -> RunResult:
        """Run a command in a container of its own, which is then thrown away with all that it has written.

        Options, result and errors are those of :meth:`WorkingContainer.run`; but the output is in the result, unless
        ``capture`` is False.
        """
        with self.store.from_image(self, temporary=True) as container:
            return container.run(command, **{"capture": True, **options})

    def path(self, path: str) -> Path:
        """A path in it, to be read as those of :mod:`pathlib`."""
        from buildlib.path import Path

        return Path(self.store, path, self.layers)

    def open(self, path: str, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """A file in it, to be read as :func:`open` does it: text, or bytes with mode "rb".

        Raises :class:`NotFound`, :class:`CopyError`, :class:`UsageError` for a mode that writes.
        """
        if mode not in ("r", "rt", "rb"):
            raise UsageError(f"an image can't be opened with mode {mode!r}", hint="it never changes: r, rt or rb")
        file = self.path(path).open()
        if mode == "rb":
            return file
        import io

        return io.TextIOWrapper(file, encoding=encoding or "utf-8")

    def files(self) -> tuple[File, ...]:
        """All that it shows, by path."""
        return self.survey().files

    def survey(self) -> Survey:
        """Where its bytes are: layers, files, and what upper layers hide of lower ones."""
        from buildlib.survey import survey

        return survey(self.store, self.layers, self.history)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from buildlib.display import bundle

        return bundle("image", self)

    def diff(self, other: Image | None = None) -> Changes:
        """What this image has changed against ``other`` (against nothing: all that it holds), sorted by path.

        A path that both changed above their common layers is listed as changed without looking into it.
        """
        from buildlib.comparison import compare

        return compare(self.store, self.layers, other.layers if other else ())

    def push(self, destination: str | None = None, **options: Any) -> Any:
        """Copy it to ``destination`` (``oci:dir:tag``, ``docker-archive:file`` …), or where its name says.

        Options and errors are those of :meth:`Store.push`. Returns the descriptor of what was written.
        """
        return self.store.push(self, destination, **options)

    def save(self, path: str, format: str = "docker-archive", **options: Any) -> Any:
        """Write it to an archive: ``docker-archive`` or ``oci-archive``, under its name where it has one."""
        return self.store.push(self, f"{format}:{path}" + (f":{self.name}" if self.name else ""), **options)

    def remove(self, name: str | None = None, *, force: bool = False) -> Removed:
        """Take the name away and, if it was the last, the image with all that only it needs.

        Without ``name``, or with its id for a name, the image goes with all its names. One that has several, or that
        a container uses, goes only with ``force`` (which removes the containers first), else :class:`StoreBusy` says
        what holds it. The image of an index loses its last name but stays; with ``force`` the index is left without it.
        """
        while True:
            with self.store.db.transaction() as conn:  # so that what is decided on is still so when it is done
                removed = self._remove(conn, name, force)
                users = self._users()
            if removed is not None:
                break
            for container in users:
                self.store.container(container).remove()
        if removed.deleted:
            self.store.gc()
        return removed

    def _remove(self, conn: Any, name: str | None, force: bool) -> Removed | None:
        """:meth:`remove` within a transaction; None where containers have to go first."""
        from buildlib.names import candidates

        names, lists = self.names, self.lists
        called = [full for full in map(str, candidates(name or "")) if full in names]
        if called and (len(names) > 1 or (lists and not force)):
            self.untag(called[0])
            return Removed((called[0],), None)
        if not force:
            self._refuse(names, lists)
        elif self._users():
            return None
        conn.execute("DELETE FROM names WHERE image = ?", (self.id,))
        conn.execute("DELETE FROM index_members WHERE image = ?", (self.id,))
        conn.execute("DELETE FROM images WHERE id = ?", (self.id,))
        return Removed(names, self.id)

    def _refuse(self, names: Sequence[str], lists: Sequence[str]) -> None:
        """Raise for what holds the image."""
        what = f"image {self.id[:12]}"
        if lists:
            raise StoreBusy(f"{what} belongs to {', '.join(lists)}", hint="remove that first, or use force")
        if len(names) > 1:
            raise StoreBusy(f"{what} has several names: {', '.join(names)}", hint="remove one name, or use force")
        users = self._users()
        if users:
            called = [self.store.container(each).name for each in users]
            hint = "remove the container first, or use force"
            raise StoreBusy(f"{what} is used by {', '.join(sorted(called))}", hint=hint)

    def _users(self) -> list[str]:
        """The containers that are based on it."""
        return [row[0] for row in self.store.db.rows("SELECT id FROM containers WHERE image = ?", (self.id,))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and (self.id, self.store.root) == (other.id, other.store.root)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Image {self.id[:12]} {self.name or '<none>'}>"


def add(store: Store, config: bytes, manifest: bytes, layers: Sequence[str], names: Iterable[str] = ()) -> Image:
    """Make layers that are in the store an image; see :meth:`Store.add_image`."""
    from buildlib.names import normalise
    from buildlib.oci import Digest, ImageConfig, Manifest

    names = [normalise(name) for name in names]
    parsed, described, digest = ImageConfig.parse(config), Manifest.parse(manifest), Digest.of(config)
    if described.config.digest != digest:
        raise DigestMismatch("config", expected=str(described.config.digest), actual=str(digest))
    measured = [store.layers.measured(layer) for layer in layers]
    _check_layers(parsed, described, [one.diff_id for one in measured])
    size = sum(one.size for one in measured)
    platform = (parsed.os, parsed.architecture, parsed.variant)
    row = (digest.hex, described.digest, _created(parsed), size, *platform)
    with store.lease(f"blob:{digest}", f"blob:{described.digest}"):
        missing = [data for data, of in ((config, digest), (manifest, described.digest)) if not store.blobs.has(of)]
        for data in missing:
            store.blobs.add(data)
        if missing:
            store.blobs.sync()  # their names are on the disk, and those of layers pulled just now, before the rows are
        with store.db.transaction() as conn:
            # An image that is there keeps its layers, which are equal; the manifest that came last is the one to push.
            conn.execute(
                f"INSERT INTO images ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - a constant
                "ON CONFLICT (id) DO UPDATE SET manifest = excluded.manifest",
                row,
            )
            if not conn.execute("SELECT 1 FROM image_layers WHERE image = ?", (digest.hex,)).fetchone():
                positions = [(digest.hex, position, layer) for position, layer in enumerate(layers)]
                conn.executemany("INSERT INTO image_layers VALUES (?, ?, ?)", positions)
            set_names(conn, digest.hex, names)
    return Image(store, row)


def _check_layers(config: ImageConfig, manifest: Manifest, diff_ids: list[str]) -> None:
    if not len(config.diff_ids) == len(manifest.layers) == len(diff_ids):
        counts = f"{len(manifest.layers)} in its manifest, {len(config.diff_ids)} in its config, {len(diff_ids)} stored"
        raise FormatError(f"the image has different numbers of layers: {counts}")
    for expected, actual in zip(config.diff_ids, diff_ids, strict=True):
        if expected != actual:
            from buildlib.layers import mismatch

            raise mismatch("layer", expected, actual)


def _created(config: ImageConfig) -> float:
    from buildlib.oci import parse_time

    try:
        return parse_time(config.created or "")
    except FormatError:
        return 0.0  # none, or one that nobody can read: no reason to refuse the image


def set_names(conn: Any, image: str, names: Iterable[str]) -> None:
    """Let full references mean an image (by its id) or an index (by its digest), within a transaction."""
    import time

    rows = [(name, image, time.time()) for name in names]
    conn.executemany("INSERT OR REPLACE INTO names (name, image, since) VALUES (?, ?, ?)", rows)
