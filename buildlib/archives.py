"""Which image an archive of the host became, by the archive's identity: what has not changed is not read again."""

from __future__ import annotations

import os
import time

from buildlib.file_digests import RACY_NS, signed
from buildlib.image import COLUMNS, Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.store import Store


def find(store: Store, path: str) -> Image | None:
    """The image that the archive at ``path`` became, if it is still that archive and the image is still here."""
    try:
        device, inode, *state = _identity(os.stat(path))
    except OSError:
        return None  # who opens it will say why
    sql = "SELECT image, size, mtime_ns, ctime_ns FROM archives WHERE device = ? AND inode = ?"
    known = store.db.row(sql, (device, inode))
    if known is None or list(known[1:]) != state:
        return None
    row = store.db.row(f"SELECT {COLUMNS} FROM images WHERE id = ?", known[:1])  # noqa: S608 - a constant
    return Image(store, row) if row is not None else None


def remember(store: Store, fd: int, before: os.stat_result, image: Image) -> None:
    """Note that the archive that is open as ``fd`` became ``image``, unless it changed meanwhile or a moment ago."""
    after = os.fstat(fd)
    young = max(after.st_mtime_ns, after.st_ctime_ns) > time.time_ns() - RACY_NS
    if young or _identity(before) != _identity(after):
        return
    with store.db.transaction() as conn:
        conn.execute("INSERT OR REPLACE INTO archives VALUES (?, ?, ?, ?, ?, ?)", (*_identity(after), image.id))


def _identity(info: os.stat_result) -> tuple[int, ...]:
    return signed(info.st_dev), signed(info.st_ino), info.st_size, info.st_mtime_ns, info.st_ctime_ns
