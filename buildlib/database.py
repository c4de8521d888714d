"""The SQLite schema of a store and its transactions: the single authority on what exists.

It knows rows and nothing of files, images or processes. It imports little, so that a verb that only
reads can start, print its rows and be gone in a few milliseconds.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from _weakref import ref

from buildlib.errors import StoreBusy, StoreError, StoreFull


def _import_sqlite() -> ModuleType:
    """The module under sqlite3, which for its cache of statements imports functools, and uses ``lru_cache`` of it.

    Where nobody needs functools (threading does, so there is one thread), it gets that and no more.
    """
    if "functools" in sys.modules:
        import _sqlite3

        return _sqlite3
    from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]  # what CPython calls it

    class _Functools:
        @staticmethod
        def lru_cache(size: int) -> Callable[[object], object]:
            return lambda prepare: _lru_cache_wrapper(prepare, size, False, tuple)

    modules: dict[str, Any] = sys.modules
    modules["functools"] = _Functools
    try:
        import _sqlite3
    finally:
        del modules["functools"]
    return _sqlite3


TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from threading import local
    from types import ModuleType
    from typing import Any
else:
    # What these modules are made of, without what they add: datetime, collections and functools are a quarter of the
    # time in which a verb that lists something has come and gone.
    from _thread import _local as local

    sqlite3 = _import_sqlite()

VERSION = 5
"""Schema version, kept in ``PRAGMA user_version``; a newer store is refused, an older one migrated."""

BUSY_SECONDS = 60.0
"""How long a writer waits for another writer before it gives up with :class:`StoreBusy`."""

SCHEMA = """
CREATE TABLE images (                   -- one row an image manifest
    id           TEXT PRIMARY KEY,      -- hex of the config's digest
    manifest     TEXT NOT NULL,         -- digest of its manifest, whose blob is in blobs/
    created      REAL NOT NULL,         -- seconds since the epoch, from the config
    size         INTEGER NOT NULL,      -- bytes of its layers as tar
    os           TEXT NOT NULL,
    architecture TEXT NOT NULL,
    variant      TEXT
) WITHOUT ROWID;
CREATE TABLE names (                    -- what a user calls it
    name   TEXT PRIMARY KEY,            -- full reference: registry/repository:tag or …@digest
    image  TEXT NOT NULL,               -- images.id, or the digest "sha256:…" of an index
    since  REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX names_image ON names (image);
CREATE TABLE layers (                   -- one row a folder layers/<id>/fs
    id             TEXT PRIMARY KEY,    -- 16 hex characters, random
    diff_id        TEXT,                -- NULL until measured
    content_digest TEXT,                -- as diff_id with all times zeroed, NULL until measured
    size           INTEGER,             -- bytes as tar
    parent_chain   TEXT,                -- ChainID of its parents where its folder depends on them, else NULL
    files          TEXT REFERENCES layers (id), -- the layer whose folder this one's is a link to, else NULL
    timestamp      INTEGER,             -- its tar gives every file this time, in seconds
    clamp          INTEGER,             -- its tar gives no file a later time than this
    created        REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX layers_diff_id ON layers (diff_id);
CREATE INDEX layers_content ON layers (content_digest);
CREATE INDEX layers_files ON layers (files);
CREATE TABLE image_layers (
    image    TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,          -- 0 is the base
    layer    TEXT NOT NULL REFERENCES layers (id),
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_layer ON image_layers (layer);
CREATE TABLE layer_blobs (              -- the packed forms of a layer that were seen or made
    diff_id     TEXT NOT NULL,
    digest      TEXT NOT NULL,
    size        INTEGER NOT NULL,
    media_type  TEXT NOT NULL,
    recipe      TEXT,                   -- how we made it ("gzip:1"), NULL if it came from elsewhere
    PRIMARY KEY (diff_id, digest)
) WITHOUT ROWID;
CREATE INDEX layer_blobs_digest ON layer_blobs (digest);
CREATE TABLE containers (
    id         TEXT PRIMARY KEY,        -- 64 hex characters, random
    name       TEXT NOT NULL UNIQUE,
    image      TEXT,                    -- images.id of the base, NULL for scratch
    image_name TEXT NOT NULL,           -- as shown: a full reference, or "scratch"
    created    REAL NOT NULL,
    state      TEXT NOT NULL            -- JSON: config, history, format, annotations, state key …
) WITHOUT ROWID;
CREATE TABLE container_layers (
    container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    position  INTEGER NOT NULL,
    layer     TEXT NOT NULL REFERENCES layers (id),
    PRIMARY KEY (container, position)
) WITHOUT ROWID;
CREATE INDEX container_layers_layer ON container_layers (layer);
CREATE TABLE cache (                    -- memoised calls on working containers
    key     TEXT PRIMARY KEY,           -- sha256 over parent, step and input digests
    parent  TEXT NOT NULL,              -- key of the state it started from
    layer   TEXT NOT NULL REFERENCES layers (id) ON DELETE CASCADE,
    result  TEXT NOT NULL,              -- key of the state it led to: key itself, or an equal older one
    parts   TEXT NOT NULL,              -- JSON of what went into key, so that a miss can be explained
    created REAL NOT NULL,
    used    REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX cache_parent ON cache (parent);
CREATE INDEX cache_layer ON cache (layer);
CREATE TABLE file_digests (             -- contents of files outside the store, by identity
    device INTEGER NOT NULL, inode INTEGER NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE TABLE tree_digests (             -- contents of paths inside layers: they never change
    key    TEXT PRIMARY KEY,
    digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE leases (                   -- unfinished work, swept when its owner is dead
    token      INTEGER PRIMARY KEY,     -- several owners may hold one resource
    resource   TEXT NOT NULL,           -- "layer:<id>", "container:<id>", "blob:<digest>", "path:<relative path>"
    pid        INTEGER NOT NULL,
    start_time INTEGER NOT NULL,        -- clock ticks since boot, from /proc/<pid>/stat
    note       TEXT                     -- JSON: what recovery needs
);
CREATE INDEX leases_resource ON leases (resource);
"""

SINCE_2 = """
CREATE TABLE fetched (                  -- what URLs gave, so that it need not be fetched again as long as it is that
    url      TEXT PRIMARY KEY,
    digest   TEXT NOT NULL,             -- of the body, whose blob is in blobs/
    etag     TEXT,                      -- as the server said it, to ask whether it still is that
    modified TEXT,                      -- the same: Last-Modified
    used     REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE archives (                 -- archives of the host that became images (tarball:), by identity
    device INTEGER NOT NULL, inode INTEGER NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE INDEX archives_image ON archives (image);
"""

SINCE_3 = """
CREATE TABLE index_members (            -- what an index in names refers to, directly or through an index in it
    owner  TEXT NOT NULL,               -- digest of the index that has the name
    digest TEXT NOT NULL,               -- of a manifest, of an index, or of a blob of an artifact; in blobs/
    image  TEXT REFERENCES images (id), -- the image that the manifest describes, NULL for all others
    origin TEXT,                        -- docker://…: where the blobs of the manifest are, if they are not here
    PRIMARY KEY (owner, digest)
) WITHOUT ROWID;
CREATE INDEX index_members_image ON index_members (image);
CREATE TABLE places (                   -- repositories of registries in which a blob is, so that others can mount it
    digest     TEXT NOT NULL,
    registry   TEXT NOT NULL,
    repository TEXT NOT NULL,
    seen       REAL NOT NULL,
    PRIMARY KEY (digest, registry, repository)
) WITHOUT ROWID;
CREATE TABLE pushed (                   -- what became of a manifest when it was copied to a registry
    manifest TEXT NOT NULL,             -- digest of the manifest or index in the store
    options  TEXT NOT NULL,             -- format,compression,level
    result   TEXT NOT NULL,             -- digest, then the blobs that it needs: digest=size
    PRIMARY KEY (manifest, options)
) WITHOUT ROWID;
"""

SINCE_4 = """
ALTER TABLE layers ADD COLUMN crc32 INTEGER; -- of its tar, NULL until measured, or where it came from elsewhere
"""

SINCE_5 = """
CREATE TABLE former_names (             -- what an image was or is called: filled by itself
    image TEXT NOT NULL,                -- images.id, or the digest of an index
    name  TEXT NOT NULL,
    since REAL NOT NULL,                -- when it was last given
    PRIMARY KEY (image, name)
) WITHOUT ROWID;
INSERT INTO former_names SELECT image, name, since FROM names;
CREATE TRIGGER named AFTER INSERT ON names
BEGIN INSERT OR REPLACE INTO former_names VALUES (new.image, new.name, new.since); END;
CREATE TRIGGER unmade AFTER DELETE ON images BEGIN DELETE FROM former_names WHERE image = old.id; END;
"""

MIGRATIONS = {
    0: SCHEMA + SINCE_2 + SINCE_3 + SINCE_4 + SINCE_5,
    1: SINCE_2 + SINCE_3 + SINCE_4 + SINCE_5,
    2: SINCE_3 + SINCE_4 + SINCE_5,
    3: SINCE_4 + SINCE_5,
    4: SINCE_5,
}
"""What makes a database of that version one of the present one."""


_abandoned: list[sqlite3.Connection] = []
"""Connections of a process that this one was forked from: to use or even close one would damage the parent's."""


class _Held:
    """A connection that is closed when its thread ends, but never in a process that inherited it."""

    __slots__ = ("__weakref__", "connection", "pid")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.pid = os.getpid()

    def close(self) -> None:
        if self.pid == os.getpid():
            self.connection.close()
        else:
            _abandoned.append(self.connection)

    __del__ = close


class Database:
    """The database of one store, usable from any thread and after a fork: each thread has its own connection."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._local = local()
        self._held: list[ref[_Held]] = []
        self._lock = allocate_lock()
        self._connect()

    def _connect(self) -> sqlite3.Connection:
        try:
            conn = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            conn.execute("PRAGMA foreign_keys = ON")
            # WAL + NORMAL: a commit costs no fsync, a crash of the process loses nothing, a crash of the
            # machine at most the last transactions, never the database (https://sqlite.org/wal.html).
            conn.execute("PRAGMA synchronous = NORMAL")
            (version,) = conn.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                self._migrate(conn, version)
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        held = self._local.held = _Held(conn)
        with self._lock:
            self._held = [each for each in self._held if each() is not None]
            self._held.append(ref(held))
        return conn

    def _migrate(self, conn: sqlite3.Connection, version: int) -> None:
        if version > VERSION:
            raise StoreError(
                f"{self.path}: the store has version {version}; this buildlib knows up to {VERSION}",
                hint="upgrade buildlib, or use another --root",
            )
        _write_ahead(conn)
        conn.execute("BEGIN IMMEDIATE")
        # Another process may have done it while this one waited for the lock.
        (version,) = conn.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            # What a comment says may hold a semicolon, and so does a trigger, which is one line.
            lines = (line.partition("--")[0].rstrip() for line in MIGRATIONS[version].splitlines())
            for statement in "\n".join(lines).split(";\n"):
                conn.execute(statement)
            conn.execute(f"PRAGMA user_version = {VERSION}")
        conn.execute("COMMIT")

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of the calling thread."""
        held: _Held | None = getattr(self._local, "held", None)
        return held.connection if held is not None and held.pid == os.getpid() else self._connect()

    def rows(self, sql: str, args: Iterable[Any] = ()) -> list[Any]:
        """All rows of a query, as tuples."""
        try:
            return self.connection.execute(sql, tuple(args)).fetchall()
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    def row(self, sql: str, args: Iterable[Any] = ()) -> Any:
        """The first row of a query as a tuple, or None."""
        found = self.rows(sql, args)
        return found[0] if found else None

    def transaction(self) -> Transaction:
        """One atomic change: all of a ``with`` block's statements happen, or none. Nested blocks join the outer one."""
        return Transaction(self.connection, self.path)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for each in self._held:
                held = each()
                if held is not None:
                    held.close()
            self._held = []
        self._local = local()


def _write_ahead(conn: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite asks for the whole file then and does not wait for those who look at it."""
    import time

    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.005)


class Transaction:
    """A transaction for the length of a block; within another one it is nothing of its own."""

    __slots__ = ("_conn", "_nested", "_path")

    def __init__(self, conn: sqlite3.Connection, path: str) -> None:
        self._conn = conn
        self._path = path
        self._nested = conn.in_transaction

    def __enter__(self) -> sqlite3.Connection:
        if not self._nested:
            try:
                self._conn.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise translate(error, self._path) from error
        return self._conn

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._nested:
            return
        try:
            if error is None:
                self._conn.execute("COMMIT")
        except sqlite3.Error as failed:
            error = failed
        if self._conn.in_transaction:  # a full disk makes SQLite roll back by itself
            self._conn.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise translate(error, self._path) from error


def translate(error: sqlite3.Error, path: str) -> StoreError:
    """The error of this library that says what ``error`` means for the store at ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"{path}: no space left", hint="free some space, or `buildlib prune`, and run it again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(
            f"{path}: another process has been writing for {BUSY_SECONDS:.0f} s",
            hint="wait for it to finish, then run again",
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(f"{path}: not a usable database ({error})", hint="move the store away, or restore db.sqlite")
    return StoreError(f"{path}: {error}")
