"""The store: the folder that holds images, layers and working containers, and the database that says what exists.

It reads no environment. Opening it costs little: the worker starts when something must be executed, and what dead
processes left is swept when this one writes for the first time.
"""

from __future__ import annotations

import os
import threading

from buildlib.database import Database
from buildlib.errors import NotFound, from_os_error
from buildlib.leases import Lease, Leases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from buildlib.cache import Cache
    from buildlib.cache_exchange import Import
    from buildlib.cache_mounts import CacheMounts
    from buildlib.check import Finding
    from buildlib.container import WorkingContainer
    from buildlib.content import ContentStore
    from buildlib.contexts import Context
    from buildlib.events import Sink
    from buildlib.garbage import Collected
    from buildlib.image import Image
    from buildlib.layers import Layers
    from buildlib.linux.probe import Facts
    from buildlib.manifest_list import ManifestList
    from buildlib.oci import Descriptor, Platform
    from buildlib.repush import There
    from buildlib.tier import Choice
    from buildlib.worker import Worker

SYSTEM_ROOT = "/var/lib/buildlib"
USER_ROOT = "~/.local/share/buildlib"

FOLDERS = ("blobs", "blobs/sha256", "layers", "containers", "caches", "tmp", "logs", "empty")


def default_root() -> str:
    """Where a store lies when nobody says otherwise: one for root, one in the home of each other user.

    Who is root in a user namespace only, as in ``buildlib unshare``, has no place outside its home.
    """
    there = SYSTEM_ROOT if os.path.exists(SYSTEM_ROOT) else os.path.dirname(SYSTEM_ROOT)
    return SYSTEM_ROOT if os.geteuid() == 0 and os.access(there, os.W_OK) else os.path.expanduser(USER_ROOT)


class Store:
    """An open store; use it as a context manager, or call :meth:`close`.

    Thread-safe, also after a fork (the child has a worker of its own). Several processes may have it open at once.
    """

    def __init__(
        self, root: str, driver: str | None = None, isolation: str | None = None,
        notice: Callable[[Choice], None] | None = None,
    ) -> None:  # fmt: skip
        self.root = os.path.abspath(root)
        self.tmp = f"{self.root}/tmp"  # noqa: S108 - a folder of the store
        self._lock = threading.RLock()
        self._swept = False
        self._worker: tuple[int, Worker] | None = None
        self._layers: Layers | None = None
        self._blobs: ContentStore | None = None
        self._cache: Cache | None = None
        self._forced = (driver or None, isolation or None)
        self._notice = notice
        self._choice: Choice | None = None
        self._make_folders()
        self.db = Database(f"{self.root}/db.sqlite")
        self.leases = Leases(self.db)

    @classmethod
    def open(
        cls, root: str | None = None, *, driver: str | None = None, isolation: str | None = None,
        notice: Callable[[Choice], None] | None = None,
    ) -> Store:  # fmt: skip
        """Open the store at ``root``, made if it is not there; by default the one of this user.

        ``driver`` (overlay, fuse, copy) and ``isolation`` (oci, rootless, chroot) force what is otherwise the best that
        this machine allows; ``notice`` is called with the choice when something is lost by it that was not known yet.
        Raises :class:`StoreError` for a folder that can't be used, or a store of a newer version.
        """
        return cls(root if root is not None else default_root(), driver, isolation, notice)

    def _make_folders(self) -> None:
        try:
            os.makedirs(self.root, 0o700, exist_ok=True)
            if not os.path.exists(f"{self.root}/db.sqlite"):
                for folder in FOLDERS:
                    os.makedirs(f"{self.root}/{folder}", exist_ok=True)
        except OSError as error:
            raise from_os_error(error, f"opening the store {self.root}") from error

    # --- its parts ----------------------------------------------------------------------------------------------------

    @property
    def blobs(self) -> ContentStore:
        """Configs, manifests and packed layers, by digest."""
        if self._blobs is None:
            from buildlib.content import ContentStore

            self._blobs = ContentStore(self.root)
        return self._blobs

    @property
    def layers(self) -> Layers:
        """The unpacked layers."""
        with self._lock:
            if self._layers is None:
                from buildlib.layers import Layers

                self._layers = Layers(self)
            return self._layers

    @property
    def cache(self) -> Cache:
        """The memoised calls on working containers."""
        with self._lock:
            if self._cache is None:
                from buildlib.cache import Cache

                self._cache = Cache(self)
            return self._cache

    @property
    def cache_mounts(self) -> CacheMounts:
        """The folders of cache mounts."""
        from buildlib.cache_mounts import CacheMounts

        return CacheMounts(self)

    @property
    def worker(self) -> Worker:
        """The process that mounts, unpacks and runs; started on first use."""
        self.recover()
        with self._lock:
            if self._worker is None or self._worker[0] != os.getpid():
                from buildlib import worker

                self._worker = (os.getpid(), worker.start(self.root, self.tier.tier))
            return self._worker[1]

    @property
    def tier(self) -> Choice:
        """How the worker stacks layers and shuts commands in, and what is lost by it.

        Raises :class:`UsageError` where what is forced can't be had.
        """
        with self._lock:
            if self._choice is None:
                from buildlib.tier import choose

                self._choice = choose(self.root, *self._forced)
                if self._choice.fresh and self._choice.losses and self._notice is not None:
                    self._notice(self._choice)
            return self._choice

    def machine(self) -> Facts:
        """What this machine allows this process, measured now."""
        from buildlib.tier import known_facts

        return known_facts(self.root, again=True)[0]

    @property
    def mounter(self) -> int | None:
        """The worker's pid where it mounts in a namespace of its own; None where its mounts are for all to see."""
        if self.tier.tier.ids == "host":
            return None
        return self.worker.pid

    def lease(self, *resources: str, note: Any = None, exclusive: bool = False) -> Lease:
        """A lease: while this process lives and has not left the block, nobody sweeps or collects ``resources``."""
        self.recover()
        return self.leases.lease(*resources, note=note, exclusive=exclusive)

    def recover(self, *, again: bool = False) -> None:
        """Undo what processes left that died in the middle of something. Done by itself before the first change."""
        with self._lock:
            if again or not self._swept:
                self._swept = True
                from buildlib.recovery import sweep

                sweep(self)

    # --- images -------------------------------------------------------------------------------------------------------

    def images(self) -> list[Image]:
        """All images, newest first."""
        from buildlib.image import COLUMNS, Image

        rows = self.db.rows(f"SELECT {COLUMNS} FROM images ORDER BY created DESC, id")  # noqa: S608 - a constant
        return [Image(self, row) for row in rows]

    def image(self, name: str, platform: Platform | None = None) -> Image:
        """The image that ``name`` means: a name, full or short, ``name@digest``, or (the beginning of) an id.

        Where the name means an index, that one for ``platform`` (by default this machine's). Raises
        :class:`NotFound` with near names in its hint.
        """
        from buildlib.image import COLUMNS, Image
        from buildlib.names import choose, find

        found = find(self.db, name)
        if ":" in found:
            found = choose(self, found, name, platform)
        row = self.db.row(f"SELECT {COLUMNS} FROM images WHERE id = ?", (found,))  # noqa: S608 - a constant
        if row is None:
            raise NotFound(f"the image {name!r} was just removed", kind="image", name=name)
        return Image(self, row)

    def find(self, name: str) -> Image | ManifestList:
        """What ``name`` means, by the rules of :meth:`image`: an image, or an index of several."""
        from buildlib.names import find

        found = find(self.db, name)
        return self._manifest_list(found, name) if ":" in found else self.image(found)

    def manifest_lists(self) -> list[ManifestList]:
        """All indexes that have a name, each once, newest first."""
        rows = self.db.rows("SELECT image FROM names WHERE image LIKE 'sha%:%' GROUP BY image ORDER BY max(since) DESC")
        return [self._manifest_list(row[0], row[0]) for row in rows]

    def manifest_list(self, name: str) -> ManifestList:
        """The index that ``name`` means. Raises :class:`NotFound`, and :class:`UsageError` for the name of an image."""
        from buildlib.errors import UsageError
        from buildlib.names import find

        found = find(self.db, name)
        if ":" not in found:
            raise UsageError(f"{name!r} is an image, not an index", hint="`buildlib manifest create` makes an index")
        return self._manifest_list(found, name)

    def _manifest_list(self, digest: str, name: str) -> ManifestList:
        from buildlib.manifest_list import ManifestList
        from buildlib.names import candidates

        names = [row[0] for row in self.db.rows("SELECT name FROM names WHERE image = ? ORDER BY since", (digest,))]
        called = [full for full in map(str, candidates(name)) if full in names]
        return ManifestList(self, digest, (called or names or [None])[0])

    def create_manifest_list(
        self, name: str | None, images: Sequence[Image | str] = (), *, all: bool = False, access: Any = None,
        annotations: Mapping[str, str] | None = None, replace: bool = False,
    ) -> ManifestList:  # fmt: skip
        """A new index called ``name``, of ``images`` as :meth:`ManifestList.add` takes them.

        Without a name it is there until garbage is collected. Raises :class:`NameInUse` when the name means something,
        unless ``replace``.
        """
        from buildlib.manifest_list import create

        return create(self, name, images, all=all, access=access, annotations=annotations, replace=replace)

    def add_image(self, config: bytes, manifest: bytes, layers: Sequence[str], names: Iterable[str] = ()) -> Image:
        """Make ``layers`` (their ids, base first) an image, in one transaction: whole and named, or not there at all.

        A short name becomes ``localhost/name:latest``; a name that meant another image moves. Hold a lease on layers
        that belong to nothing else yet. Raises :class:`DigestMismatch` if config, manifest and layers do not fit.
        """
        from buildlib.image import add

        return add(self, config, manifest, layers, names)

    def pull(
        self, name: str, *, names: Iterable[str] = (), platform: Platform | None = None,
        progress: Sink | None = None, **options: Any,
    ) -> Image:  # fmt: skip
        """Copy an image into the store: ``oci:dir:tag``, ``docker-archive:file``, ``tarball:file``, or from a registry.

        It is called by ``names``, by default as the source calls it, if it does. Raises :class:`NotFound`,
        :class:`TransportError`, :class:`DigestMismatch`, :class:`LayerError`, :class:`StoreFull`; then nothing is kept.
        """
        self.worker.warm("extract" if name.startswith("tarball:") else "apply")
        from buildlib.transfer import pull

        return pull(self, name, names, platform, progress, **options)

    def pull_all(
        self, name: str, *, names: Iterable[str] = (), platforms: Sequence[Platform] = (),
        progress: Sink | None = None, **options: Any,
    ) -> Image | ManifestList:  # fmt: skip
        """As :meth:`pull`, but of an index all images, or those for ``platforms``, under the one name."""
        from buildlib.transfer import pull_all

        return pull_all(self, name, names, platforms, progress, **options)

    def push(self, image: Image | ManifestList | str, destination: str | None = None, **options: Any) -> Descriptor:
        """Copy an image out of the store; contract and options are those of :func:`buildlib.transfer.push`."""
        from buildlib.ahead import ahead_of_push

        found = self.find(image) if isinstance(image, str) else image
        with ahead_of_push(self, found, destination, options) as ahead:
            from buildlib.transfer import push

            return push(found, destination, ahead=ahead, **options)

    def save(self, images: Mapping[Image | ManifestList, Sequence[str]], path: str, format: str = "docker-archive",
             **options: Any) -> None:  # fmt: skip
        """Write images with their names into one archive; see :func:`buildlib.saving.save`."""
        from buildlib.saving import save

        save(images, path, format, **options)

    def load(self, path: str, *, progress: Sink | None = None) -> list[tuple[Image | ManifestList, tuple[str, ...]]]:
        """Take all images of an archive (``-``: standard input) into the store; each with its names there."""
        from buildlib.saving import load

        return load(self, path, progress=progress)

    def already_pushed(self, name: str, destination: str | None = None, *, format: str | None = None,
                       compression: str | None = None, level: int | None = None) -> There | None:  # fmt: skip
        """What a registry that speaks plain HTTP has of an image, if that is just what a push would make of it.

        It is much cheaper than a push that finds nothing to do; None means that :meth:`push` has to be asked.
        """
        from buildlib.repush import already_there, options_key

        return already_there(self, name, destination, options_key(format, compression, level))

    # --- working containers -------------------------------------------------------------------------------------------

    def containers(self) -> list[WorkingContainer]:
        """All working containers, oldest first."""
        from buildlib.container import WorkingContainer

        rows = self.db.rows("SELECT id FROM containers ORDER BY created, id")
        return [WorkingContainer.load(self, row[0]) for row in rows]

    def container(self, name: str, *, soon: str | None = None) -> WorkingContainer:
        """The working container of this name or (beginning of an) id. Raises :class:`NotFound`.

        ``soon``: "run", or "commit". Where that will need the worker, it is started now, and imports what it needs
        while this process does.
        """
        from buildlib.names import find_container

        id = find_container(self.db, name)
        if soon == "run":
            self.worker.warm("run")
        elif soon == "commit" and self._is_written(id):
            self.worker.warm("measure")
        from buildlib.container import WorkingContainer

        return WorkingContainer.load(self, id)

    def _is_written(self, container: str) -> bool:
        """Whether anything lies in the upper of a container."""
        try:
            return bool(os.listdir(f"{self.root}/containers/{container}/upper"))
        except OSError:
            return False

    def from_image(
        self, image: Image | str = "scratch", name: str | None = None, *, pull: str = "missing", cache: bool = False,
        platform: Platform | None = None, access: Any = None, **options: Any,
    ) -> WorkingContainer:  # fmt: skip
        """A new working container on ``image``: a name, an id, ``transport:…``, or ``scratch`` for an empty one.

        ``pull``: "missing" fetches what is not here, "always" fetches, "never" does not, "newer" fetches and falls back
        to what is here. ``access`` is for registries. With ``cache`` every call on the container is memoised; other
        options are those of :meth:`WorkingContainer.create`.
        """
        from buildlib.bases import base_image
        from buildlib.container import WorkingContainer

        transport = {} if access is None else {"access": access}
        base, called = base_image(self, image, pull, platform, **transport)
        return WorkingContainer.create(self, base, called, name=name, cache=cache, platform=platform, **options)

    def context(
        self, where: str | int, *, authorization: str | None = None, keep_git_dir: bool | None = None
    ) -> Context:
        """A folder to copy from: one of this machine, or fetched for as long as the context is open.

        ``where`` is a path, a git repository with ``#ref:subdir``, the URL of an archive or one file, or a descriptor
        from which either comes. ``authorization`` is the header of that name for the server. Raises
        :class:`UsageError`, :class:`TransportError`, :class:`NotFound`, :class:`LayerError`, :class:`StoreFull`.
        """
        from buildlib.contexts import open_context

        return open_context(self, where, authorization=authorization, keep_git_dir=keep_git_dir)

    def export_files(self, image: Image | str, to: str | int, *, timestamp: int | None = None) -> int:
        """Write the files of an image into the folder ``to``, or as a plain archive to the descriptor ``to``.

        The folder is made where it is missing; what is in it stays or is replaced, and links in it are not followed out
        of it. Owners, modes, times and extended attributes are kept as far as this user may set them. ``timestamp``
        (seconds since 1970) is the time of all files in an archive. Returns the number of bytes. Raises
        :class:`CopyError`, :class:`StoreFull`, :class:`UsageError` for a folder in the store.
        """
        from buildlib.file_export import export_files

        return export_files(self, self.image(image) if isinstance(image, str) else image, to, timestamp)

    # --- caches from and for elsewhere --------------------------------------------------------------------------------

    def import_cache(self, spec: str, *, access: Any = None, platform: Platform | None = None) -> Import:
        """Let the cache at ``spec`` answer look-ups of this store object until it is closed; a context manager.

        ``type=registry,ref=HOST/NAME`` (or only that name; an image with an inline cache serves too), or
        ``type=local,src=DIR``. Only its list of records is read; a layer is fetched when a step hits. Its author is
        trusted: a record that lies gives a wrong layer. Raises :class:`UsageError`, :class:`NotFound`,
        :class:`TransportError`, :class:`FormatError`, :class:`DigestMismatch`.
        """
        from buildlib.cache_exchange import import_cache, parse_spec

        found = import_cache(self, parse_spec(spec, importing=True), access, platform)
        self.cache.imports.append(found)
        return found

    def export_cache(self, spec: str, *containers: WorkingContainer, access: Any = None) -> Descriptor:
        """Write the cache records of all layers of ``containers`` above their bases, with the layers, to ``spec``.

        ``type=registry,ref=…`` or ``type=local,dest=DIR``, with ``compression=none|gzip|zstd``. Blobs that are there
        are not sent again. Records hold what explains a step: its command, its ARGs, names of files; never secrets.
        """
        from buildlib.cache_exchange import export_cache, parse_spec

        return export_cache(self, parse_spec(spec, importing=False), containers, access)

    # --- order --------------------------------------------------------------------------------------------------------

    def gc(
        self, *, cache_age: float | None = None, cache_bytes: int | None = None, everything: bool = False
    ) -> Collected:
        """Delete what nothing refers to: layers, blobs, half-made things. What it did is in the report.

        Cache records keep their layers, unless they were not used for ``cache_age`` seconds, or the layers that only
        they keep have more than ``cache_bytes`` bytes (the least recently used go first). ``everything``: all cache
        records, the contents of cache mounts, and remembered digests go too. Images and containers always stay, and
        so does what other processes are at work on.
        """
        from buildlib.garbage import collect

        return collect(self, cache_age, cache_bytes, everything)

    def check(self, *, digests: bool = True, diff_ids: bool = False) -> list[Finding]:
        """What is wrong with the store; an empty list when every row has its files and every file its row.

        ``digests`` reads all blobs; ``diff_ids`` also all layers: those made here are hashed, those that came with a
        blob are compared with it unpacked anew. Changes nothing, except that it sweeps first, as every process does.
        """
        from buildlib.check import check

        return check(self, digests=digests, diff_ids=diff_ids)

    def close(self) -> None:
        """End the worker, and with it all that it runs and has mounted; close the database."""
        with self._lock:
            if self._layers is not None:
                self._layers.close()
            if self._worker is not None and self._worker[0] == os.getpid():
                self._worker[1].close()
            self._worker = None
            for one in list(self._cache.imports) if self._cache is not None else ():
                one.close()
        self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.root}>"
