"""Working containers: a stack of layers with a writable folder on top, and the config of the image that it becomes.

A container is lazy: making one writes a row, and nothing is prepared on disk before something has to be executed.
Each verb is a few lines here; what it does stands in the module of its name.
"""

from __future__ import annotations

import threading

from buildlib.container.performing import record, settle
from buildlib.container.requests import Requests
from buildlib.container.state import CHANGED, State
from buildlib.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Any

    from buildlib.container.mounts import Mount
    from buildlib.container.run import RunResult
    from buildlib.container.run_options import RunOptions
    from buildlib.container.streams import Stream
    from buildlib.display import Changes, Steps
    from buildlib.image import Image
    from buildlib.leases import Lease
    from buildlib.oci import ImageConfig
    from buildlib.path import Path
    from buildlib.patterns import IgnorePatterns
    from buildlib.store import Store
    from buildlib.survey import File, Survey

__all__ = ["WorkingContainer"]


class WorkingContainer:
    """A container to build in; as a context manager it is removed at the end of the block.

    ``id``: 64 hex digits. ``image_id``: of its base, None for scratch. ``image_name``: what the base was called.
    ``created``: seconds since 1970. Several threads may use one container; they take turns. Two processes may not
    execute in it at the same time (:class:`StoreBusy`).
    """

    def __init__(self, store: Store, row: Sequence[Any], layers: Sequence[str]) -> None:
        self.store = store
        self.id: str = row[0]
        self.name: str = row[1]
        self.image_id: str | None = row[2]
        self.image_name: str = row[3]
        self.created: float = row[4]
        self.layers: tuple[str, ...] = tuple(layers)
        """The ids of its layers, base first."""
        self.lock = threading.RLock()
        self.requests = Requests(store)
        self.only_cached = False
        """While it is true, a call that has to execute something changes nothing and raises :class:`NotCached`."""
        self.executing = False
        self.execution: Lease | None = None
        self._text: str = row[5]
        self._state: State | None = None
        self._lease: Lease | None = None
        self._kept = False

    # --- coming and going ---------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, store: Store, image: Image | None, image_name: str = "scratch", *, name: str | None = None,
        cache: bool = False, no_cache: bool = False, format: str = "oci", temporary: bool = False, **options: Any,
    ) -> WorkingContainer:  # fmt: skip
        """A new container on ``image``, or on nothing; it is called ``name``, or ``<image>-working-container[-N]``.

        ``cache``: every call is memoised. ``no_cache``: so it is, but nothing is looked up, so that all is done anew.
        ``temporary``: it goes when this process dies. ``run``: the :class:`RunOptions` of all its runs. ``suffix``: the
        end of its name. Raises :class:`NameInUse`, :class:`UsageError`.
        """
        from buildlib.container.creating import create

        fields = {"cache": cache or no_cache, "no_cache": no_cache, "format": format, **options}
        fields["calls"] = None if temporary else ()
        store.recover()
        with store.db.transaction():  # a temporary container is never without its lease, whenever this process dies
            container = create(store, image, image_name, name, fields)
            if temporary:
                container._keep_while_alive()
        return container

    @classmethod
    def load(cls, store: Store, id: str) -> WorkingContainer:
        """The container with this id. Raises :class:`NotFound`."""
        sql = "SELECT id, name, image, image_name, created, state FROM containers WHERE id = ?"
        row = store.db.row(sql, (id,))
        if row is None:
            raise NotFound(f"there is no container {id[:12]}", kind="container", name=id)
        return cls(store, row, _layers(store, id))

    def keep(self) -> None:
        """From now on it outlives this process, and the end of a ``with`` block, however it was made."""
        self._kept = True
        if self._lease is not None:
            self._lease.drop()
            self._lease = None

    def _keep_while_alive(self) -> None:
        if self._lease is None:
            self._lease = self.store.lease(f"container:{self.id}", note={"temporary": True})

    def remove(self) -> None:
        """Unmount and delete it. What was committed stays, and so does what the cache remembers."""
        from buildlib.container.creating import remove

        with self.lock:
            remove(self, self._lease)
            self._lease = None

    def cancel(self) -> None:
        """End what another thread has executed in it right now, with all its processes, and let nothing more begin.

        There, and in all later calls that have to execute something, :class:`Cancelled` is raised.
        """
        self.requests.cancel()

    def rename(self, name: str) -> None:
        """Call it ``name``. Raises :class:`NameInUse`, :class:`UsageError`."""
        from buildlib.container.creating import rename

        rename(self, name)

    def fork(self, name: str | None = None, *, temporary: bool = False) -> WorkingContainer:
        """A second container in the same state; they share all layers. What this one has written becomes a layer."""
        from buildlib.container.creating import fork

        with self.lock:
            self.refresh()
            settle(self)
            self.store.recover()
            with self.store.db.transaction():
                other = fork(self, name)
                if temporary:
                    other._keep_while_alive()
        return other

    def __enter__(self) -> WorkingContainer:
        self._keep_while_alive()  # a process that dies within the block leaves nothing behind
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.exists and not self._kept:
            self.remove()

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Config, history, cache key and all else, as it was last read or written."""
        if self._state is None:
            self._state = State.decode(self._text)
        return self._state

    @property
    def exists(self) -> bool:
        """Whether it has not been removed, by whomever."""
        return self.store.db.row("SELECT 1 FROM containers WHERE id = ?", (self.id,)) is not None

    @property
    def image_config(self) -> ImageConfig:
        """The config of the image that it would become, without DiffIDs and history."""
        return self.state.config

    @property
    def history(self) -> Steps:
        """The steps that made it, oldest first, those of its base included."""
        from buildlib.container.commit import history_of
        from buildlib.display import Steps

        return Steps(history_of(self))

    @property
    def format(self) -> str:
        """``oci`` or ``docker``: what commit writes unless it is told otherwise."""
        return self.state.format

    @property
    def base(self) -> Image | None:
        """The image that it was made from."""
        return self.store.image(self.image_id) if self.image_id is not None else None

    def refresh(self) -> None:
        """Read state and layers again: another process may have changed them. Raises :class:`NotFound`."""
        row = self.store.db.row("SELECT state, name FROM containers WHERE id = ?", (self.id,))
        if row is None:
            raise NotFound(f"the container {self.name} was removed", kind="container", name=self.name)
        if row[0] != self._text:
            self._text, self._state = row[0], None
        self.name = row[1]
        self.layers = _layers(self.store, self.id)

    def save(self, state: State) -> None:
        """Make ``state`` its state."""
        with self.store.db.transaction():
            self.write(state)

    def write(self, state: State) -> None:
        """The same as part of a transaction; if that fails, :meth:`refresh` brings the old one back."""
        text = state.encode()
        with self.store.db.transaction() as conn:
            conn.execute("UPDATE containers SET state = ? WHERE id = ?", (text, self.id))
        self._text, self._state = text, state

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from buildlib.display import bundle

        return bundle("container", self)

    def __repr__(self) -> str:
        return f"<WorkingContainer {self.name} on {self.image_name}>"

    # --- changing files -----------------------------------------------------------------------------------------------

    def run(
        self, command: str | Sequence[str], *, env: Mapping[str, str] | None = None, user: str | None = None,
        workdir: str | None = None, mounts: Iterable[Mount] = (), network: str | None = None,
        hostname: str | None = None, timeout: float | None = None, capture: bool = False, check: bool = True,
        stdin: Any = None, stdout: Stream = None, stderr: Stream = None, shell: Sequence[str] | None = None,
        add_history: bool | None = None, cap_add: Iterable[str] = (), cap_drop: Iterable[str] = (),
        security: str = "sandbox", devices: Iterable[str] = (), proxy: Mapping[str, str] | None = None,
        cache: bool | None = None, options: RunOptions | None = None, tty: bool | int = False,
        created_by: str | None = None, comment: str | None = None,
    ) -> RunResult:  # fmt: skip
        """Run a command: a string is a line for the shell, a list is executed as it is.

        User, working directory, environment and shell are those of the config unless they are given; ``env`` adds to
        it, and so does ``proxy``, whose variables the cache ignores. The output goes where this process prints, to
        ``stdout`` and ``stderr`` (descriptors, or objects with ``write``), or into the result with ``capture``.
        ``stdin``: nothing, bytes, or a descriptor. ``timeout`` in seconds. ``security="insecure"``: all capabilities
        and nothing hidden, for a command that is trusted. ``devices`` of the host are named ``/dev/fuse``, or
        ``vendor/class=name`` (CDI). ``cache=False``: executed as if the cache was off, in whatever the last call left,
        a failed one too. ``options``: limits, namespaces, DNS and all else that buildah can set; they come on top of
        those that the container was made with. ``tty=True``: on a terminal of its own, which is shown on that of this
        process until the command ends; or a socket, to which its master is sent. It is never taken from the cache.

        Raises :class:`RunError` for an exit code other than 0 unless ``check`` is False, :class:`RunTimeout`,
        :class:`SandboxError`, :class:`UsageError`. Ctrl-C ends the whole process tree; the container stays usable.
        """
        mounts = list(mounts)
        given = {**locals()}
        from buildlib.container.run import Output, options_of, request, run

        wanted = request(
            self.state.config.config, command, shell=shell, env=env, user=user, workdir=workdir, mounts=mounts,
            network=network, hostname=hostname, proxy=proxy, cap_add=cap_add, cap_drop=cap_drop, stdin=stdin,
            timeout=timeout, security=security, devices=devices, options=options_of(self.state.run, options), tty=tty,
        )  # fmt: skip
        output = Output(stdout, stderr, capture)
        said: dict[str, Any] = {"add_history": add_history, "created_by": created_by, "comment": comment}
        result = run(self, wanted, output, check=check, cache=cache, **said)
        record(self, "run", given)
        return result

    def copy(
        self, *paths: str, dest: str | None = None, context: str | None = None, from_: Any = None,
        chown: str | None = None, chmod: str | int | None = None,
        exclude: Sequence[str] = (), ignore: IgnorePatterns | Sequence[str] = (),
        parents: bool = False, link: bool = False, contents: Mapping[str, bytes | str] | None = None,
        empty_wildcard: bool = False, keep_setuid: bool = False, follow_links: bool = True,
        timestamp: int | None = None, created_by: str | None = None, comment: str | None = None,
    ) -> bool:  # fmt: skip
        """Copy files and the contents of directories, as ``cp`` does: the last of ``paths`` is where to.

        With ``dest`` they all are sources. A destination starts at the working directory. Sources are paths of the
        host; or below ``context``, which they can't leave; or from the root of ``from_``, an image or a container.
        ``contents`` are files that are given, name → content. Owners: root, those of ``from_``, or ``chown``
        ("user:group", looked up in the container). ``chmod``: octal or like ``u=rwX,go=rX``. ``ignore`` holds patterns
        relative to the root of the sources, ``exclude`` relative to each source. ``parents`` keeps the directories
        above (from ``/./`` on). ``empty_wildcard``: a pattern may match nothing. ``link`` copies into an empty root and
        puts that on top: no link of the container is followed, no name of a user is known, and what is below does not
        matter to the cache. ``keep_setuid``: what comes from this machine keeps its setuid and setgid bits, too.
        ``follow_links=False``: a source that is a symbolic link is copied as one. ``timestamp`` (seconds since 1970) is
        the time of all that is copied. Rules: Dockerfile reference, "COPY".

        Says whether nothing had to be done, because the cache had the outcome. Raises :class:`CopyError`,
        :class:`UsageError`, :class:`StoreFull`.
        """
        given = {**locals()}
        from buildlib.container.copy import copy

        cached = copy(
            self, "copy", paths, dest, context=context, from_=from_, chown=chown, chmod=chmod, exclude=exclude,
            ignore=ignore, parents=parents, contents=contents, empty_wildcard=empty_wildcard, link=link,
            keep_setuid=keep_setuid, follow_links=follow_links, timestamp=timestamp,
            created_by=created_by, comment=comment,
        )  # fmt: skip
        record(self, "copy", given)
        return cached

    def add(
        self, *paths: str, dest: str | None = None, context: str | None = None, from_: Any = None,
        chown: str | None = None, chmod: str | int | None = None,
        exclude: Sequence[str] = (), ignore: IgnorePatterns | Sequence[str] = (),
        link: bool = False, contents: Mapping[str, bytes | str] | None = None, unpack: bool | None = None,
        checksum: str | None = None, keep_git_dir: bool | None = None, authorization: str | None = None,
        empty_wildcard: bool = False, keep_setuid: bool = False, follow_links: bool = True,
        timestamp: int | None = None, access: Any = None, created_by: str | None = None, comment: str | None = None,
    ) -> bool:  # fmt: skip
        """As :meth:`copy`; and sources may be URLs and git repositories, and tar archives are unpacked.

        An archive (by its contents, compressed or not) is unpacked into ``dest``, which then is a directory; ``chown``
        applies, ``chmod`` and ``exclude`` do not. ``unpack`` decides it for all; by default those of this machine are,
        and those from elsewhere are not. A file from the web has mode 0600 and the server's time. ``checksum``, for
        exactly one of them: the digest of the file, or the commit. A repository (``…git#ref:subdir``) comes without its
        ``.git`` unless ``keep_git_dir``. ``authorization`` is the header for the server, ``access`` says whom to trust
        and how often to try again. Rules: Dockerfile reference, "ADD".

        Raises :class:`TransportError`, :class:`DigestMismatch`, :class:`NotFound` too.
        """
        given = {**locals()}
        from buildlib.container.copy import copy

        cached = copy(
            self, "add", paths, dest, context=context, from_=from_, chown=chown, chmod=chmod, exclude=exclude,
            ignore=ignore, parents=False, contents=contents, empty_wildcard=empty_wildcard, unpack=unpack,
            link=link, keep_setuid=keep_setuid, follow_links=follow_links, timestamp=timestamp,
            remote={
                "checksum": checksum, "keep_git_dir": keep_git_dir, "authorization": authorization, "access": access,
            },
            created_by=created_by, comment=comment,
        )  # fmt: skip
        record(self, "add", given)
        return cached

    def mkdir(
        self, path: str, mode: int = 0o755, owner: str = "0:0", *,
        created_by: str | None = None, comment: str | None = None,
    ) -> bool:  # fmt: skip
        """Make a directory and those above it, as far as they are missing; one that is there stays as it is.

        All that are made have ``mode`` and belong to ``owner``, which is looked up in the container as for
        :meth:`copy`. Says whether the cache had it. Raises :class:`CopyError` when a file is in the way.
        """
        from buildlib.container.copy import mkdir

        cached = mkdir(self, path, mode, owner, created_by, comment)
        record(self, "mkdir", {"path": path, "mode": mode, "owner": owner})
        return cached

    # --- config and commit --------------------------------------------------------------------------------------------

    def config(self, *, created_by: str | None = None, comment: str | None = None, **fields: Any) -> None:
        """Set fields of the config, those of :data:`buildlib.container.config.FIELDS`; None clears one.

        ``env``, ``labels`` and ``annotations`` are added to ("K=V", {"K": "V"}; "K-" or a value of None removes, "-"
        removes all), and so are ``ports``, ``volumes``, ``os_features`` ("X-" or {"X": None} removes, {"X-": {}} adds
        any name) and ``on_build``; all others are replaced. ``cmd`` as a string is cut into words, ``entrypoint`` as a
        string is a line for ``/bin/sh -c``. Times of the health check are Go durations or seconds.

        With ``created_by`` the history gets an entry, and ``comment`` is its comment; else it is the image's. What
        commit writes into the history for a layer of its own: ``history_created_by`` and ``history_comment``.

        Makes no layer. Raises :class:`UsageError`.
        """
        from buildlib.container.config import configure

        if comment is not None and created_by is None:
            fields["comment"] = comment
        configure(self, fields, created_by, comment or "")
        record(self, "config", fields)

    def commit(
        self, name: str | None = None, *, squash: bool | str = False, timestamp: int | None = None,
        source_date_epoch: int | None = None, rewrite_timestamp: bool = False, format: str | None = None,
        rm: bool = False, created_by: str | None = None, comment: str | None = None,
        annotations: Mapping[str, str | None] | None = None, omit_history: bool = False, names: Sequence[str] = (),
        inline_cache: bool = False,
    ) -> Image:  # fmt: skip
        """Make an image of its state, called ``name`` and ``names``. The container goes on above the new layers.

        ``squash``: True makes one layer of everything, the base included; "new" one of what is new. ``timestamp``
        (seconds since 1970) dates the image, the new history and all files of new layers; ``source_date_epoch`` only
        the first two, with ``rewrite_timestamp`` also the files that are younger. ``format``: "oci" or "docker".
        ``created_by`` and ``comment`` describe, in the history, a layer that this makes. ``rm`` removes the container.
        Of ``annotations`` those whose value is None are left out of the manifest.
        ``inline_cache`` writes the cache records of its layers into the config, for :meth:`Store.import_cache`.

        Where nothing was done, the image is the base, with more names. Raises :class:`UsageError`,
        :class:`InvalidReference`, :class:`StoreBusy` (something is open in the mounted container), :class:`StoreFull`.
        """
        from buildlib.container.commit import Request, commit

        wanted = Request(
            (*([name] if name is not None else []), *names), squash, timestamp, source_date_epoch, rewrite_timestamp,
            format, created_by, comment, dict(annotations) if annotations is not None else None, omit_history,
            inline_cache,
        )  # fmt: skip
        with self.lock:
            image = commit(self, wanted)
            if rm:
                self.remove()
        return image

    # --- what was done ------------------------------------------------------------------------------------------------

    def checkpoint(self, name: str) -> None:
        """Remember its state as ``name``; another container keeps it, and goes with this one. See :meth:`rollback`."""
        from buildlib.container.checkpoints import checkpoint

        checkpoint(self, name)

    def rollback(self, name: str) -> None:
        """Be as at the checkpoint ``name`` again: files, config and history. Raises :class:`NotFound`."""
        from buildlib.container.checkpoints import rollback

        rollback(self, name)

    def to_python(self, name: str | None = None) -> str:
        """A script that does again what was done to it by hand, and commits as ``name``.

        Raises :class:`UsageError` for what it can't hold, such as the value of a secret.
        """
        from buildlib.container.as_python import script

        return script(self.image_name, self.state.calls or (), name=name)

    def to_dockerfile(self, context: str = ".") -> str:
        """The same as a Dockerfile for the build context ``context``, in which the sources of copies have to be.

        A run with ``env`` or ``workdir`` becomes a line for the shell. Raises :class:`UsageError` as well.
        """
        from buildlib.container.as_dockerfile import dockerfile

        user = self.base.config.config.user if self.base is not None else ""
        return dockerfile(self.image_name, user, self.state.calls or (), context)

    # --- looking ------------------------------------------------------------------------------------------------------

    def read_file(self, path: str, limit: int = 1 << 30) -> bytes:
        """The bytes of a file in it, links resolved within it. Raises :class:`NotFound`, :class:`CopyError`."""
        from buildlib.container.reading import read_file

        return read_file(self, path, limit)

    def path(self, path: str) -> Path:
        """A path in it, to be read and written as those of :mod:`pathlib`: ``c.path("/etc/hosts").read_text()``."""
        from buildlib.path import Path

        return Path(self.store, path, (), self)

    @property
    def files(self) -> tuple[File, ...]:
        """All that it shows, by path: see :meth:`survey`."""
        return self.survey().files

    def survey(self) -> Survey:
        """Where its bytes are: layers, files, and what upper layers hide of lower ones."""
        from buildlib.container.reading import own_key
        from buildlib.survey import survey

        with self.lock:
            self.refresh()
            return survey(self.store, self.layers, self.history, own_key(self))

    def diff(self) -> Changes:
        """What differs from its base: :class:`Change` values sorted by path."""
        from buildlib.container.reading import diff

        return diff(self)

    @property
    def mount_point(self) -> str | None:
        """Where it is mounted for all to see, None if it is not."""
        from buildlib.container.reading import mount_point

        return mount_point(self)

    def mount(self) -> str:
        """Make its files visible, writable, until :meth:`umount`; return where. What is written there is kept.

        As root everybody sees them, until then. Without root the place is one that only this user can enter, with its
        own rights, and it ends with the store object; see :func:`buildlib.unshare`.
        """
        from buildlib.container.reading import mount

        with self.lock:
            self.refresh()
            return mount(self, CHANGED)

    def umount(self) -> bool:
        """Undo :meth:`mount`; False if it was not mounted. Raises :class:`StoreBusy` when something is open there."""
        from buildlib.container.reading import umount

        with self.lock:
            return umount(self)


def _layers(store: Store, id: str) -> tuple[str, ...]:
    rows = store.db.rows("SELECT layer FROM container_layers WHERE container = ? ORDER BY position", (id,))
    return tuple(row[0] for row in rows)
