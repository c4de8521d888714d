"""Reads tar archives entry by entry: v7, ustar, pax, GNU, whoever wrote them. It creates nothing and trusts nothing.

Names are bytes, as they stand in the archive, not yet cleaned. Everything that makes an archive ambiguous or endless
is an error that names the entry.
"""

from __future__ import annotations

import struct

from buildlib.errors import LayerError
from buildlib.layer import fields, sparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from buildlib.layer.feed import Feed

    Records = list[tuple[bytes, bytes]]

FILE, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = range(7)

_BLOCK = 512
_MAX_META = 1 << 20
"""The most bytes of a pax header or long name that are read (as in Go's archive/tar), and of all global ones."""
_MAX_ID = 0xFFFFFFFE
"""The highest user or group id: one more means "leave it" to chown(2)."""
_MAX_SIZE = (1 << 63) - 1
_MAX_TIME = (1 << 40) * 1_000_000_000
"""Times beyond this are brought back to it; no file system has them."""
_ZEROS = bytes(_BLOCK)
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s64s8s8s155s12x").unpack
_KINDS = {
    b"0": FILE, b"\x00": FILE, b"7": FILE, b"S": FILE, b"1": LINK, b"2": SYMLINK, b"3": CHAR, b"4": BLOCK_DEVICE,
    b"5": DIRECTORY, b"6": FIFO,
}  # fmt: skip
_XATTR = b"SCHILY.xattr."
_NEVER_GLOBAL = (b"path", b"linkpath", b"size", b"GNU.sparse.", _XATTR)
"""What means one file; nobody writes it for all files, and a reader that believed it could be led astray."""


class Entry:
    """One entry. ``size`` is that of the file; ``pieces`` is its map where it is sparse; times are nanoseconds."""

    __slots__ = ("gid", "kind", "link", "major", "minor", "mode", "mtime", "name", "pieces", "size", "uid", "xattrs")

    name: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes] | None
    pieces: sparse.Map | None


class Reader:
    """The entries of the archive that a :class:`Feed` brings."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._left = 0
        """Bytes of the current entry that are not read yet, without the padding."""
        self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self.last = ""
        """The name of the last entry, for errors."""

    def next(self) -> Entry | None:
        """The next entry, or None at the end of the archive; what is left of the one before is skipped."""
        if self._left and self._skip(self._left) != self._left:
            self._truncated()
        if self._padding:
            self._skip(self._padding)  # the last one may be missing
        self._left = self._padding = 0
        records: Records = []
        name = link = None
        while True:
            block = self._header()
            if block is None:
                if records or name or link:
                    self.fail("the archive ends behind a header that describes another entry", "truncated")
                return None
            kind = block[156:157]
            if kind in (b"x", b"X"):
                records = self._pax(block)
            elif kind == b"g":
                self._set_global(self._pax(block))
            elif kind == b"L":
                name = self._meta(block).partition(b"\x00")[0]
            elif kind == b"K":
                link = self._meta(block).partition(b"\x00")[0]
            elif kind == b"V":
                self._meta(block)  # the label of a volume
            else:
                return self._entry(block, records, name, link)

    def data(self, use: Callable[[memoryview], object]) -> None:
        """Hand the data of the current entry on, piece by piece; without the holes of a sparse file."""
        self.take(self._left, use)

    def take(self, count: int, use: Callable[[memoryview], object]) -> None:
        """Hand the next ``count`` bytes of the current entry on."""
        self._left -= count
        if self._feed.pump(count, use) != count:
            self._truncated()

    def fail(self, message: str, reason: str) -> NoReturn:
        """Raise :class:`LayerError` about the current entry."""
        what = f"entry {self.last!r}" if self.last else "the archive"
        raise LayerError(f"{what}: {message}", entry=self.last, reason=reason)

    # --- headers ------------------------------------------------------------------------------------------------------

    def _header(self) -> bytes | None:
        block = self._feed.take(_BLOCK)
        if len(block) < _BLOCK:
            if block:
                self._truncated()
            return None
        if block == _ZEROS:
            if self._feed.take(_BLOCK).strip(b"\x00"):
                self.fail("a lone zero block follows it", "corrupt")
            return None
        if not fields.checksum_matches(block):
            self.fail("what follows it is no tar header" if self.last else "it is no tar", "corrupt")
        return block

    def _entry(self, block: bytes, records: Records, name: bytes | None, link: bytes | None) -> Entry:
        head, mode, uid, gid, size, mtime, _, kind, target, magic, _, major, minor, prefix = _FIELDS(block)
        if name is None:
            name = head.partition(b"\x00")[0]
            if prefix[0]:
                name = _prefixed(block, magic, prefix, name)
        entry = Entry()
        entry.name = name
        entry.link = target.partition(b"\x00")[0] if link is None else link
        entry.xattrs = entry.pieces = None
        self.last = name.decode(errors="surrogateescape")
        number = fields.number
        try:
            entry.kind = _KINDS[kind]
            entry.mode = number(mode) & 0o7777
            entry.uid = number(uid)
            entry.gid = number(gid)
            entry.size = number(size)
            entry.mtime = number(mtime) * 1_000_000_000
            device = entry.kind in (CHAR, BLOCK_DEVICE)
            entry.major, entry.minor = (number(major), number(minor)) if device else (0, 0)
            if records or self._global:
                self._amend(entry, records)
            self._place(entry, block, records)
            _check(entry)
        except KeyError:
            self.fail(f"its type {kind!r} is unknown", "unknown type")
        except ValueError as error:
            self.fail(f"its header has {error}", "corrupt")
        return entry

    def _amend(self, entry: Entry, records: Records) -> None:
        """Let pax records replace what the header says."""
        for key, value in {**self._global, **dict(records)}.items():
            if key.startswith(_XATTR):
                if entry.xattrs is None:
                    entry.xattrs = {}
                entry.xattrs[key.removeprefix(_XATTR)] = value
            elif not value:
                continue  # "as if the record had not been there"
            elif key in (b"path", b"GNU.sparse.name"):
                entry.name = value
                self.last = value.decode(errors="surrogateescape")
            elif key == b"linkpath":
                entry.link = value
            elif key == b"size":
                entry.size = fields.decimal(value)
            elif key == b"uid":
                entry.uid = fields.decimal(value)
            elif key == b"gid":
                entry.gid = fields.decimal(value)
            elif key == b"mtime":
                entry.mtime = fields.nanoseconds(value)

    def _place(self, entry: Entry, block: bytes, records: Records) -> None:
        """Find out where the data are and how large the file is."""
        if entry.kind != FILE:
            entry.size = 0  # a size may be given, but no data follow (as in Go's archive/tar and GNU tar)
        stored = entry.size
        if not 0 <= stored <= _MAX_SIZE:
            raise ValueError(f"the impossible size {stored}")
        self._left, self._padding = stored, -stored % _BLOCK
        if entry.name.endswith(b"/") and entry.kind == FILE:
            entry.kind, entry.size = DIRECTORY, 0  # v7 had no type for directories
            return
        if block[156:157] == b"S":
            pieces, entry.size = sparse.old_gnu(block, lambda: self._exactly(_BLOCK))
        elif any(key.startswith(b"GNU.sparse.") for key, _ in records) and entry.kind == FILE:
            pieces = self._pax_sparse(entry, dict(records), records)
        else:
            return
        entry.pieces = sparse.check(pieces, self._left, entry.size)

    def _pax_sparse(self, entry: Entry, last: dict[bytes, bytes], records: Records) -> sparse.Map:
        entry.size = fields.decimal(last.get(b"GNU.sparse.realsize") or last.get(b"GNU.sparse.size", b""))
        if last.get(b"GNU.sparse.major", b"0") == b"0":
            return sparse.pax_0(records)
        if (last[b"GNU.sparse.major"], last.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise ValueError("a sparse format that is unknown")

        def take() -> bytes:
            self._left -= _BLOCK
            if self._left < 0:
                raise ValueError("a sparse map that does not end")
            return self._exactly(_BLOCK)

        return sparse.pax_1(take)

    def _pax(self, block: bytes) -> Records:
        try:
            records = fields.pax_records(self._meta(block))
        except ValueError as error:
            self.fail(f"the pax header behind it has {error}", "corrupt")
        for key, value in records:
            if b"\x00" in key or (b"\x00" in value and key in (b"path", b"linkpath", b"GNU.sparse.name")):
                self.fail("the pax header behind it has a name with a zero byte", "corrupt")
        return records

    def _set_global(self, records: Records) -> None:
        """Remember what a global header says; what can mean one file only is ignored."""
        self._global.update((key, value) for key, value in records if not key.startswith(_NEVER_GLOBAL))
        if sum(len(key) + len(value) for key, value in self._global.items()) > _MAX_META:
            self.fail("the global pax headers are too large", "too large")

    def _meta(self, block: bytes) -> bytes:
        """The data of a pax header or long name."""
        try:
            size = fields.number(block[124:136])
        except ValueError:
            size = -1
        if not 0 <= size <= _MAX_META:
            self.fail(f"the extended header behind it has {size} bytes; {_MAX_META} is the most", "too large")
        data = self._exactly(size)
        self._skip(-size % _BLOCK)
        return data

    def _exactly(self, count: int) -> bytes:
        data = self._feed.take(count)
        if len(data) < count:
            self._truncated()
        return data

    def _skip(self, count: int) -> int:
        return self._feed.pump(count, lambda _: None)

    def _truncated(self) -> NoReturn:
        self.fail("the archive ends in it or right behind it", "truncated")


def _prefixed(block: bytes, magic: bytes, prefix: bytes, name: bytes) -> bytes:
    """The name with the prefix field in front, if that is what stands there."""
    if magic == b"ustar  \x00":
        # GNU has times there. Go before 1.8, and so old versions of docker, took it for a prefix nevertheless.
        try:
            fields.number(block[345:357])
            fields.number(block[357:369])
        except ValueError:
            pass
        else:
            return name
        if not prefix.isascii():
            return name
    elif not magic.startswith(b"ustar\x00"):
        return name
    elif block[508:512] == b"tar\x00":
        prefix = prefix[:131]  # star has times behind it
    return prefix.partition(b"\x00")[0] + b"/" + name


def _check(entry: Entry) -> None:
    """Refuse what the kernel would take for something else than what is written."""
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise ValueError(f"the impossible owner {entry.uid}:{entry.gid}")
    if not (0 <= entry.major <= 0xFFF and 0 <= entry.minor <= 0xFFFFF):
        raise ValueError(f"the impossible device number {entry.major}:{entry.minor}")
    if not 0 <= entry.size <= _MAX_SIZE:
        raise ValueError(f"the impossible size {entry.size}")
    if not -_MAX_TIME <= entry.mtime <= _MAX_TIME:
        entry.mtime = max(-_MAX_TIME, min(entry.mtime, _MAX_TIME))
