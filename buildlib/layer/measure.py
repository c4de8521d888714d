"""Digests a tree as the layer that it would be, or writes it as one to a descriptor. One pass; no copy on disk."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import namedtuple

from buildlib.errors import DigestMismatch, from_os_error
from buildlib.layer.blocks import LARGE, SIZE, Block, Stage
from buildlib.layer.compress import compressor, crc32
from buildlib.layer.writer import write_stages
from buildlib.oci import Digest

_NO_TIME = b"0" * 20


# Named tuples: a worker's child that exports or measures would import attrs for these alone, and that takes as long as
# to compress ten megabytes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Measured(NamedTuple):
        """``diff_id`` and ``size`` of the archive that :func:`~buildlib.layer.writer.write_layer` would write.

        ``content_digest`` is equal for trees that differ in modification times only. ``crc32`` is that of the archive.
        """

        diff_id: Digest
        content_digest: Digest | None
        size: int
        entries: int
        skipped: tuple[str, ...] = ()
        crc32: int = 0

    class Known(NamedTuple):
        """What an archive was when it was measured."""

        diff_id: Digest
        size: int
        crc32: int

    class Exported(NamedTuple):
        """What was written: ``diff_id`` and ``tar_size`` of the archive, ``digest`` and ``size`` of the blob."""

        diff_id: Digest
        tar_size: int
        digest: Digest
        size: int
        skipped: tuple[str, ...] = ()
else:
    Measured = namedtuple("Measured", "diff_id content_digest size entries skipped crc32", defaults=((), 0))
    Known = namedtuple("Known", "diff_id size crc32")
    Exported = namedtuple("Exported", "diff_id tar_size digest size skipped", defaults=((),))


def measure(
    fs_dir: str,
    *,
    timestamp: int | None = None,
    clamp: int | None = None,
    overlay: bool = True,
    content: bool = True,
) -> Measured:
    """Digest a layer folder without writing anything; arguments and errors as for ``write_layer``.

    The content digest is the SHA-256 of the same archive with the time and the checksum of every header replaced by
    the digit zero. There is no way from one digest to the other, so it hashes everything a second time, on a second
    thread: without ``content`` the same takes two thirds of the time on two cores. (A time outside 1970–2242 counts
    as content.)
    """
    whole, timeless, checksum = hashlib.sha256(), hashlib.sha256(), _Checksum()

    def add(block: Block) -> None:
        whole.update(block.content)
        checksum.update(block.content)

    def strip(block: Block) -> None:
        for start in block.headers:
            block.data[start + 136 : start + 156] = _NO_TIME
        timeless.update(block.content)

    stages = [Stage(add)]
    if content:
        stages.append(Stage(strip))
    stats = write_stages(fs_dir, stages, timestamp, clamp, overlay, LARGE)
    timeless_digest = _digest(timeless) if content else None
    return Measured(_digest(whole), timeless_digest, stats.size, stats.entries, stats.skipped, checksum.value)


def export(
    fs_dir: str,
    fd: int,
    *,
    compression: str = "gzip",
    level: int | None = None,
    timestamp: int | None = None,
    clamp: int | None = None,
    overlay: bool = True,
    known: Known | None = None,
) -> Exported:
    """Write a layer folder to the descriptor ``fd``, compressed on the way; see :mod:`buildlib.layer.compress`.

    The rest as for ``write_layer``. An archive that is ``known`` is not hashed once more: that it still is the same is
    told by its CRC-32 and size, which cost an eighth; :class:`DigestMismatch` when it is not. Also raises
    :class:`StoreFull` and :class:`StoreError` about ``fd``.
    """
    whole, checksum = hashlib.sha256(), _Checksum()
    output = _Output(fd)
    stages = [Stage(lambda block: (checksum if known else whole).update(block.content))]

    def diff_id(size: int) -> Digest:
        return _digest(whole) if known is None else checksum.check(known, size, fs_dir)

    if compression == "none":
        stages.append(Stage(lambda block: output.write(block.content)))
        stats = write_stages(fs_dir, stages, timestamp, clamp, overlay)
        digest = diff_id(stats.size)
        return Exported(digest, stats.size, digest, stats.size, stats.skipped)
    packer = compressor(compression, level)

    def pack(block: Block) -> None:
        block.packed = packer.compress(block.content)

    def pass_on(block: Block) -> None:
        packer.note(block.content)
        output.add(block.packed)
        block.packed = b""

    output.add(packer.header)
    stages += [Stage(pack, packer.parallel), Stage(pass_on)]
    stats = write_stages(fs_dir, stages, timestamp, clamp, overlay)
    output.add(packer.finish())
    return Exported(diff_id(stats.size), stats.size, _digest(output.hash), output.size, stats.skipped)


class _Checksum:
    """The CRC-32 of a stream."""

    def __init__(self) -> None:
        self.value = 0
        self._crc32 = zlib.crc32
        self._small = True

    def update(self, data: memoryview) -> None:
        """Add bytes."""
        self.value = self._crc32(data, self.value)
        if self._small and len(data) >= SIZE:  # more will come, and pay for the import of a faster one
            self._small, self._crc32 = False, crc32()

    def check(self, known: Known, size: int, path: str) -> Digest:
        """The digest of an archive that is still what it was."""
        if (self.value, size) != (known.crc32, known.size):
            raise DigestMismatch(
                f"{path}: the files are not those of {known.diff_id} any more",
                hint="the store is damaged: `buildlib check --diff-ids` says where",
                expected=known.diff_id,
                actual=f"CRC-32 {self.value:08x}, {size} bytes",
            )
        return known.diff_id


def export_squashed(
    root_dir: str,
    fd: int,
    *,
    compression: str = "gzip",
    level: int | None = None,
    timestamp: int | None = None,
    clamp: int | None = None,
) -> Exported:
    """:func:`export` of a plain tree, such as a mounted stack of layers: no whiteouts, everything is there."""
    return export(root_dir, fd, compression=compression, level=level, timestamp=timestamp, clamp=clamp, overlay=False)


class _Output:
    """The rim of an export: a descriptor, and the digest and size of what went there by :meth:`add`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.hash = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes) -> None:
        """Write and count bytes."""
        self.hash.update(data)
        self.size += len(data)
        self.write(memoryview(data))

    def write(self, data: memoryview) -> None:
        """Write all bytes."""
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError as error:
            raise from_os_error(error, "writing a layer") from error


def _digest(hash_: hashlib._Hash) -> Digest:
    return Digest(f"sha256:{hash_.hexdigest()}")
