"""The layers of a store: how a folder becomes one, is measured, found again, streamed out and deleted.

What needs privilege is done by the worker; what exists is what the database says. A layer's folder appears before
its row does, guarded by a lease, so a process that dies in between leaves something that recovery knows to undo.
"""

from __future__ import annotations

import os
import time
from collections import namedtuple
from contextlib import suppress

from buildlib.errors import BuildlibError, DigestMismatch, from_os_error
from buildlib.measuring import Measurements, gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NamedTuple

    from buildlib.leases import Lease
    from buildlib.oci import Descriptor, Digest
    from buildlib.store import Store

    class Measured(NamedTuple):
        """What a layer is as a tar."""

        diff_id: str
        content_digest: str | None
        size: int

    class Arrived(NamedTuple):
        """An unpacked layer that has no row yet."""

        layer: str
        diff_id: str
        size: int
        needs: dict[str, Any]
else:
    Measured = namedtuple("Measured", "diff_id content_digest size")
    Arrived = namedtuple("Arrived", "layer diff_id size needs")

ANYWHERE = "anywhere"
"""In place of a ChainID: only a layer that can stand on any stack is wanted."""


class Layers:
    """The layers of ``store``. Thread-safe.

    What makes a layer that belongs to nothing yet takes a :class:`Lease`, and holds the layer in it until the caller
    is done: then an image, a container or a cache record must refer to it, or it is garbage.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._db = store.db
        self._measurements = Measurements(store)

    def path(self, layer: str) -> str:
        """The folder with the layer's files."""
        return f"{self._store.root}/layers/{layer}/fs"

    # --- becoming a layer ---------------------------------------------------------------------------------------------

    def seal(self, container: str, parents: Sequence[str], also: Callable[[str], object] | None = None) -> str:
        """Turn what was written in a container into a layer above ``parents``, by a rename; return its id.

        ``parents`` is the container's whole stack, base first. The container must not be mounted. ``also(layer)`` is
        called within the transaction that makes the layer exist, for rows that must change together with it. When it
        fails, or this process dies in the middle (then the next one that writes sees to it), everything is back in
        the container's upper as if nothing had been tried.
        """
        from buildlib.recovery import unseal

        layer = new_id()
        lease = self._store.lease(f"layer:{layer}", note={"container": container})
        try:
            self._commit(layer, container, parents)
            with self._db.transaction() as conn:
                _insert(conn, layer)
                conn.execute("INSERT INTO container_layers VALUES (?, ?, ?)", (container, len(parents), layer))
                if also is not None:
                    also(layer)
                lease.drop()
        except BaseException:
            unseal(self._store, layer, container)
            raise
        return layer

    def _commit(self, layer: str, container: str, parents: Sequence[str]) -> None:
        if os.geteuid() == 0:
            # A few renames among folders that are ours: to ask another process would take ten times as long.
            from buildlib.snapshot.overlay import Overlay

            Overlay(self._store.root).commit(layer, container, parents)
        else:
            self._store.worker.call("commit", {"key": container, "parents": list(parents), "layer": layer})

    def ingest(self, stream_fd: int, lease: Lease, feed: Callable[[], object] | None = None) -> Arrived:
        """Unpack a layer archive (of any compression) into a folder of its own; :meth:`settle` gives it a row.

        ``stream_fd`` is read to its end; where it is a pipe, ``feed`` fills it from the other end meanwhile. Raises
        :class:`LayerError` and :class:`StoreFull`; what ``feed`` raises ends the unpacking.
        """
        layer = new_id()
        lease.take(f"layer:{layer}")
        try:
            # Who wants to know the digest of the blob hashes it on its way here.
            pending = self._store.worker.submit("apply", {"layer": layer, "blob": False}, (stream_fd,))
            try:
                if feed is not None:
                    with suppress(BrokenPipeError):  # the worker gave up, and its error says why
                        feed()
                reply = pending.result()
            except BaseException:
                pending.cancel()
                with suppress(BuildlibError):
                    pending.result()  # nobody writes into the folder any more when it is deleted
                raise
        except BaseException:
            self._delete(layer)
            raise
        needs = {name: reply[name] for name in ("missing_parents", "pending_links")}
        return Arrived(layer, reply["diff_id"], reply["tar_size"], needs if any(needs.values()) else {})

    def settle(self, arrived: Arrived, parents: Sequence[str], lease: Lease) -> str:
        """Give an unpacked layer its row; return its id, or that of an equal one that came first.

        A folder that needs its parents (a hard link into a lower layer, a directory that the tar does not carry) is
        completed from them, and serves from then on only above a stack with the same ChainID.
        """
        chain = self.chain(parents)
        if arrived.needs:
            args = {"layer": arrived.layer, "parents": list(parents), **arrived.needs}
            self._store.worker.call("complete", args)
        with self._db.transaction() as conn:
            layer = self.take(arrived.diff_id, chain, lease)
            if layer is None:
                layer = arrived.layer
                only_above = (chain or "") if arrived.needs else None
                _insert(conn, layer, diff_id=arrived.diff_id, size=arrived.size, parent_chain=only_above)
        if layer != arrived.layer:
            self._delete(arrived.layer)
        return layer

    def discard(self, arrived: Iterable[Arrived]) -> None:
        """Delete unpacked layers that were not settled after all."""
        for one in arrived:
            if not self._db.row("SELECT 1 FROM layers WHERE id = ?", (one.layer,)):
                self._delete(one.layer)

    def extract(self, stream_fd: int, lease: Lease) -> str:
        """Unpack a plain root file system archive (no whiteouts, no parents) as a layer; return its id."""
        return self._make("extract", {}, lease, (stream_fd,))

    def squash(
        self, layers: Sequence[str], lease: Lease, container: str | None = None, *,
        timestamp: int | None = None, clamp: int | None = None,
    ) -> str:  # fmt: skip
        """One new layer with the merged files of a stack, and of a container's upper on it; return its id."""
        times = {"timestamp": timestamp, "clamp": clamp}
        return self._make("squash", {"layers": list(layers), "key": container, **times}, lease)

    def merge(self, layers: Sequence[str], base: Sequence[str], lease: Lease) -> str:
        """One new layer that does to the stack ``base`` what ``layers`` do one after the other; return its id."""
        return self._make("merge", {"layers": list(layers), "base": list(base)}, lease)

    def _make(self, op: str, args: dict[str, Any], lease: Lease, fds: Sequence[int] = ()) -> str:
        """Let the worker make and measure a layer of its own, and give it a row."""
        layer = new_id()
        lease.take(f"layer:{layer}")
        try:
            reply = self._store.worker.call(op, {**args, "into" if op == "squash" else "layer": layer}, fds)
            columns = {name: reply[name] for name in ("diff_id", "content_digest", "size", "crc32")}
            with self._db.transaction() as conn:
                _insert(conn, layer, **columns, timestamp=args.get("timestamp"), clamp=args.get("clamp"))
        except BaseException:
            self._delete(layer)
            raise
        return layer

    def retimed(self, layer: str, lease: Lease, *, timestamp: int | None = None, clamp: int | None = None) -> str:
        """A layer of the same files whose tar gives them other times; return its id. Its folder is a link: no copy.

        ``timestamp`` is the time of every file, ``clamp`` the latest that a file may have, in seconds since 1970.
        """
        alias = new_id()
        lease.take(f"layer:{alias}")
        try:
            with self._db.transaction() as conn:
                row = self._db.row("SELECT coalesce(files, id), parent_chain FROM layers WHERE id = ?", (layer,))
                if row is None:
                    raise gone(layer)
                files, chain = row
                _insert(conn, alias, files=files, parent_chain=chain, timestamp=timestamp, clamp=clamp)
                os.mkdir(f"{self._store.root}/layers/{alias}")
                os.symlink(f"../{files}/fs", self.path(alias))
        except OSError as error:
            self._delete(alias)
            raise from_os_error(error, f"linking {self.path(alias)}") from error
        return alias

    def _delete(self, layer: str) -> None:
        from buildlib.recovery import remove_paths

        remove_paths(self._store, [f"layers/{layer}"])

    # --- what a layer is ----------------------------------------------------------------------------------------------

    def measure(self, layer: str, content: bool = True) -> None:
        """Begin to compute the layer's digests in the background; :meth:`measured` waits for them.

        Without ``content`` the content digest, which only the cache asks for, is left out: a third of the time.
        """
        self._measurements.begin(layer, content)

    def measured(self, layer: str) -> Measured:
        """The layer's DiffID, content digest and size; waits for :meth:`measure` or does its work now."""
        return Measured(*self._measurements.result(layer))

    def tar(self, layer: str) -> dict[str, Any]:
        """What names the layer and the times of its tar to the worker: ``layer``, ``timestamp``, ``clamp``."""
        row = self._db.row("SELECT coalesce(files, id), timestamp, clamp FROM layers WHERE id = ?", (layer,))
        if row is None:
            raise gone(layer)
        return dict(zip(("layer", "timestamp", "clamp"), row, strict=True))

    def diff_ids(self, layers: Sequence[str]) -> tuple[Digest, ...]:
        """The DiffID of each layer, measured where that is still to be done (all of them at once)."""
        from buildlib.oci import Digest

        known = {layer: self._measurements.known(layer)[0] for layer in layers}
        for layer, diff_id in known.items():
            if diff_id is None:
                self.measure(layer)
        return tuple(Digest(known[layer] or self.measured(layer).diff_id) for layer in layers)

    def chain(self, layers: Sequence[str]) -> Digest | None:
        """The ChainID of a stack, base first; None of an empty one."""
        from buildlib.oci import chain_id

        chain = chain_id(self.diff_ids(layers))
        return chain[-1] if chain else None

    def find(self, diff_id: str, chain: str | None) -> str | None:
        """A layer with this DiffID that can stand on a stack with that ChainID; None if there is none."""
        sql = "SELECT id FROM layers WHERE diff_id = ? AND (parent_chain IS NULL OR parent_chain = ?) LIMIT 1"
        row = self._db.row(sql, (diff_id, chain or ""))
        return row[0] if row else None

    def take(self, diff_id: str, chain: str | None, lease: Lease) -> str | None:
        """As :meth:`find`, holding in ``lease`` what was found."""
        with self._db.transaction():
            layer = self.find(diff_id, chain)
            if layer is not None:
                lease.take(f"layer:{layer}")
            return layer

    def descriptor(self, layer: str) -> Descriptor:
        """The layer as a plain tar: what the manifest of an image that was built here lists."""
        from buildlib.oci import Descriptor, Digest, mediatype

        measured = self.measured(layer)
        return Descriptor(mediatype.OCI_LAYER, Digest(measured.diff_id), measured.size)

    # --- going out ----------------------------------------------------------------------------------------------------

    def export(self, layer: str, fd: int, compression: str = "none", level: int | None = None) -> dict[str, Any]:
        """Write the layer's tar to ``fd``, compressed; return diff_id, tar_size, digest and size of what was written.

        The bytes depend on nothing but the layer, compression and level, and the result is remembered. Raises
        :class:`DigestMismatch` when the folder is no longer what was measured, which means damage, or when its tar
        came from elsewhere and can't be rebuilt to the byte (such layers keep their blob).
        """
        from buildlib.layer.compress import LEVELS

        level = LEVELS.get(compression) if level is None else level  # it is a part of the recipe
        known = self._db.row("SELECT diff_id, size, crc32 FROM layers WHERE id = ? AND crc32 IS NOT NULL", (layer,))
        args = {**self.tar(layer), "compression": compression, "level": level, "known": known}
        reply: dict[str, Any] = self._store.worker.call("export", args, (fd,))
        diff_id = self._measurements.known(layer)[0]
        if diff_id is not None and diff_id != reply["diff_id"]:
            raise mismatch(f"layer {layer}", diff_id, reply["diff_id"])
        if compression != "none":
            from buildlib.oci import mediatype

            packed = (reply["digest"], reply["size"], mediatype.layer(compression))
            self.remember(reply["diff_id"], *packed, f"{compression}:{level}")
        return reply

    def remember(self, diff_id: str, digest: str, size: int, media_type: str, recipe: str | None) -> None:
        """Note that the tar ``diff_id`` was packed as the blob ``digest``; ``recipe`` is None if not by us."""
        with self._db.transaction() as conn:
            row = (diff_id, digest, size, media_type, recipe)
            conn.execute("INSERT OR IGNORE INTO layer_blobs VALUES (?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        """Give up what is being measured; it will be measured when it is needed."""
        self._measurements.close()


def _insert(conn: Any, layer: str, **columns: Any) -> None:
    columns = {"id": layer, "created": time.time(), **columns}
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    conn.execute(f"INSERT INTO layers ({names}) VALUES ({marks})", tuple(columns.values()))  # noqa: S608 - our own names


def new_id() -> str:
    """The id of a layer to be: 16 random hex digits."""
    return os.urandom(8).hex()


def mismatch(what: str, expected: str, actual: str) -> DigestMismatch:
    """The error for bytes that are not what they should be; it names both digests."""
    return DigestMismatch(f"{what}: expected {expected}, found {actual}", expected=expected, actual=actual)
