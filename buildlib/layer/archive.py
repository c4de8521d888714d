"""Unpacks any archive below a directory of a root file system: ADD, tarballs as bases. It knows no whiteouts."""

from __future__ import annotations

import os

from attrs import frozen

from buildlib.errors import LayerError, from_os_error
from buildlib.layer.decompress import HEAD, PIECE, decompress, detect
from buildlib.layer.feed import Feed
from buildlib.layer.fields import checksum_matches
from buildlib.layer.folders import Refused
from buildlib.layer.unpack import Unpacker
from buildlib.linux.beneath import make_dirs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.layer.reader import Entry
    from buildlib.oci import Digest

_BLOCK = 512


@frozen
class Extracted:
    """What was unpacked: how many ``entries``; ``size`` and ``digest`` of the archive, decompressed."""

    entries: int
    size: int
    digest: Digest
    unsupported: tuple[str, ...] = ()
    """Names of xattrs that the file system can't keep."""


def is_archive(fd: int) -> bool:
    """Whether a file is what ADD unpacks: a tar, also in gzip, bzip2, xz or zstd, whose first header is one.

    That is docker's rule: neither the name counts nor what follows; an empty archive is none. The position of ``fd``
    does not change. Raises ``OSError``.
    """
    start = os.pread(fd, _BLOCK, 0)
    try:
        block = b""
        for piece in decompress(detect(start[:HEAD]), _pieces(fd)):
            block += piece
            if len(block) >= _BLOCK:
                break
    except LayerError:
        return False
    block = block[:_BLOCK]
    return len(block) == _BLOCK and any(block) and checksum_matches(block)


def _pieces(fd: int) -> Iterator[bytes]:
    position, size = 0, _BLOCK  # enough for most; bzip2 wants a whole block of its own
    while piece := os.pread(fd, size, position):
        yield piece
        position += len(piece)
        size = PIECE


def extract_archive(
    stream_fd: int, root_fd: int, dest: str, *, chown: tuple[int, int] | None = None, keep_root: bool = False
) -> Extracted:
    """Unpack the archive in ``stream_fd`` into the directory ``dest`` of the root file system open at ``root_fd``.

    ``dest`` is made if it is missing. What is in the way is replaced, a directory by anything but a directory too;
    directories merge. Symbolic links on the way are followed within the root, also those that were there before.
    ``chown`` (uid, gid) replaces all owners. With ``keep_root`` an entry for the top itself sets the metadata of
    ``dest``. The same input is refused as by :func:`~buildlib.layer.apply.apply`, and names that begin with ``.wh.``,
    since no layer can hold them. Raises :class:`LayerError`, :class:`StoreFull`, :class:`StoreError`.
    """
    uid, gid = chown or (0, 0)
    try:
        fd, _ = make_dirs(root_fd, dest, uid=uid, gid=gid)
        os.close(fd)
    except OSError as error:
        raise from_os_error(error, f"making the directory {dest}") from error
    with Feed(stream_fd) as feed:
        unpacker = _Extractor(feed, root_fd, dest, chown)
        unpacker.keep_root = keep_root
        unpacker.run()
        feed.drain()
    for path, target in unpacker.pending.items():
        name = os.fsdecode(path)
        message = f"entry {name!r} is a hard link to {os.fsdecode(target)!r}, which is not there"
        raise LayerError(message, entry=name, reason="dangling hard link")
    return Extracted(unpacker.entries, feed.tar_size, feed.tar_digest, tuple(sorted(unpacker.unsupported)))


class _Extractor(Unpacker):
    keep_root = False

    def root(self, entry: Entry) -> None:
        """See :meth:`Unpacker.root`."""
        super().root(entry)
        if not self.keep_root:
            del self.directories[b""]

    def member(self, entry: Entry, parent: bytes, name: bytes) -> None:
        """See :meth:`Unpacker.member`."""
        if name.startswith(b".wh."):
            raise Refused("names that begin with .wh. mean deletions in a layer, so no image can hold them")
        super().member(entry, parent, name)
