"""Digests of files outside the store, remembered by what the kernel says of a file: read in bulk, written in bulk.

It never reads a file. A file that was changed a moment ago is not remembered: its next change could leave size and
times as they are, for a file system's clock has ticks (git's "racy" entries).
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from buildlib.database import Database

RACY_NS = 2_000_000_000
"""A file younger than this is not remembered. The coarsest clock in use, FAT's, ticks every two seconds."""

_AT_ONCE = 500
_COLUMNS = "size, mtime_ns, ctime_ns, digest"


class FileDigests:
    """The memo of one store; use one instance for one walk and :meth:`save` it at the end."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._new: dict[tuple[int, int], tuple[int, int, int, int, int, bytes]] = {}

    def find(self, files: Sequence[os.stat_result]) -> list[str | None]:
        """The digest of each file, None where it is not known or the file has changed since."""
        known: dict[tuple[int, ...], str] = {}
        for start in range(0, len(files), _AT_ONCE):
            part = files[start : start + _AT_ONCE]
            for device in {info.st_dev for info in part}:
                inodes = [signed(info.st_ino) for info in part if info.st_dev == device]
                marks = ",".join("?" * len(inodes))
                sql = f"SELECT inode, {_COLUMNS} FROM file_digests WHERE device = ? AND inode IN ({marks})"  # noqa: S608
                for inode, size, mtime, ctime, digest in self._db.rows(sql, (signed(device), *inodes)):
                    known[device, inode, size, mtime, ctime] = digest.hex()
        return [known.get((i.st_dev, signed(i.st_ino), i.st_size, i.st_mtime_ns, i.st_ctime_ns)) for i in files]

    def add(self, file: os.stat_result, digest: str) -> None:
        """Remember ``digest`` (hex), unless the file is too young; ``file`` is its state *after* it was read."""
        if max(file.st_mtime_ns, file.st_ctime_ns) > time.time_ns() - RACY_NS:
            return
        place = signed(file.st_dev), signed(file.st_ino)
        self._new[place] = (*place, file.st_size, file.st_mtime_ns, file.st_ctime_ns, bytes.fromhex(digest))

    def save(self) -> None:
        """Write what was added, in one transaction."""
        if not self._new:
            return
        sql = "INSERT OR REPLACE INTO file_digests VALUES (?, ?, ?, ?, ?, ?)"
        with self._db.transaction() as conn:
            conn.executemany(sql, self._new.values())
        self._new.clear()


def signed(number: int) -> int:
    """SQLite's integers are signed; inode numbers of some file systems use all 64 bits."""
    return number - (1 << 64) if number >= 1 << 63 else number
