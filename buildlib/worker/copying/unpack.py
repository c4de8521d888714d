"""ADD of local archives: what is a tar by its contents, compressed or not, is extracted where it would be copied."""

from __future__ import annotations

import os
import stat

from buildlib.layer.archive import extract_archive, is_archive
from buildlib.worker.copying.walk import unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.worker.copying.select import Item
    from buildlib.worker.copying.transfer import Transfer


def unpack(transfer: Transfer, item: Item, dest: str) -> bool:
    """Extract ``item`` into the directory ``dest`` if it is an archive; say whether it was.

    Owners and modes are those of the archive, unless ``--chown`` gives another owner. For the digest it counts as the
    file that it is. Raises :class:`CopyError`, :class:`LayerError`, :class:`StoreFull`.
    """
    if not stat.S_ISREG(item.info.st_mode):
        return False
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(item.entry, flags, dir_fd=item.fd)
    except OSError as error:
        raise unreadable(error, transfer.what, item.path) from error
    try:
        if not is_archive(fd):
            return False
        there, _ = transfer.place.directory(dest, 0o755)  # --chmod is for nothing that has to do with an archive
        os.close(there)
        chown = transfer.place.owner if transfer.chowned else None
        done = extract_archive(fd, transfer.place.fd, dest, chown=chown)
    finally:
        os.close(fd)
    transfer.unpacked(item.fd, item.entry, item.name, item.info, done.entries, done.size)
    return True
