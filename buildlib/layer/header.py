"""Encodes tar headers: POSIX ustar, with a pax header in front only where ustar can't say it. No I/O.

The same arguments always give the same bytes. No user names, no access or change times, whole seconds.
"""

from __future__ import annotations

import os
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 512
FILE, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = (b"%d" % kind for kind in range(7))

_ANCHOR = bytes(167)
"""Prefix and padding, bytes 345 to 512."""
_END = b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00" + _ANCHOR
"""Magic, version, no user name, no group name, device 0:0, no prefix: bytes 257 to 512."""
_NUMBERS = b"%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00"
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
_MAX_PAX = 1 << 20
"""What readers accept as one pax header (Go's archive/tar, maxSpecialFileSize)."""


def encode(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    *,
    link: bytes = b"",
    device: tuple[int, int] | None = None,
    xattrs: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """The header of one entry: a multiple of 512 bytes of which the last 512 are the ustar header.

    ``mtime`` is in whole seconds. What needs pax: names and link targets that are not ASCII or don't fit, ids above
    2,097,151, sizes from 8 GiB, times outside 1970–2242, xattrs (as ``SCHILY.xattr.NAME``). Names are bytes; those
    that are not UTF-8 stand raw in the pax record, as Go's writer has it: GNU tar and all container engines read
    them back unchanged. Raises ``ValueError`` where even pax can't say it: xattrs of more than a megabyte together,
    or with "=" in their names.
    """
    pax = b""
    end = _END if device is None else _END[:72] + b"%07o\x00%07o\x00" % device + _ANCHOR
    if (
        xattrs
        or len(name) > 100
        or len(link) > 100
        or not (name.isascii() and link.isascii())
        or not (uid <= _MAX_ID and gid <= _MAX_ID and size <= _MAX_NUMBER and 0 <= mtime <= _MAX_NUMBER)
    ):
        name, prefix, records = _overflow(name, link, uid, gid, size, mtime, xattrs)
        pax = _pax_header(records)
        name, link, end = name[:100], link[:100], end[:88] + prefix
        uid, gid = (number if number <= _MAX_ID else 0 for number in (uid, gid))
        size, mtime = (number if 0 <= number <= _MAX_NUMBER else 0 for number in (size, mtime))
    return pax + _ustar(name, _NUMBERS % (mode, uid, gid, size, mtime), kind, link, end)


def _ustar(name: bytes, numbers: bytes, kind: bytes, link: bytes, end: bytes) -> bytes:
    start = name.ljust(100, b"\x00") + numbers
    rest = kind + link.ljust(100, b"\x00") + end
    # Adler-32's low half is 1 + the sum of the bytes modulo 65521, which 512 ASCII bytes can't reach: ten times
    # faster than sum(). The checksum itself counts as eight spaces.
    block = start + b"        " + rest
    total = (zlib.adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)
    return b"%b%06o\x00 %b" % (start, total, rest)


def _overflow(
    name: bytes, link: bytes, uid: int, gid: int, size: int, mtime: int, xattrs: Sequence[tuple[str, bytes]]
) -> tuple[bytes, bytes, dict[bytes, bytes]]:
    """The name and prefix fields (the name is too long for its field where it is in the pax records), and those."""
    records = {b"SCHILY.xattr." + os.fsencode(key): value for key, value in xattrs}
    if any(b"=" in key for key in records):
        raise ValueError("has an extended attribute with '=' in its name, which no archive can hold")
    short, prefix = _split(name) if len(name) > 100 and name.isascii() else (name, _ANCHOR)
    if len(short) > 100 or not name.isascii():
        records[b"path"] = name
    if len(link) > 100 or not link.isascii():
        records[b"linkpath"] = link
    for key, number, most in ((b"uid", uid, _MAX_ID), (b"gid", gid, _MAX_ID), (b"size", size, _MAX_NUMBER)):
        if number > most:
            records[key] = b"%d" % number
    if not 0 <= mtime <= _MAX_NUMBER:
        records[b"mtime"] = b"%d" % mtime
    return short, prefix, records


def _split(name: bytes) -> tuple[bytes, bytes]:
    """The fields name and prefix of a long name, split at a slash; the name whole where no slash is right."""
    # The latest slash that leaves a prefix of at most 155 bytes; a directory's own slash at the end is no place.
    cut = name.rfind(b"/", 1, min(156, len(name) - 1))
    if cut > 0 and len(name) - cut - 1 <= 100:
        return name[cut + 1 :], name[:cut].ljust(167, b"\x00")
    return name, _ANCHOR


def _pax_header(records: dict[bytes, bytes]) -> bytes:
    """A pax extended header (pax(1), "pax Header Block") with the records sorted; nothing if there are none."""
    if not records:
        return b""
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    if len(body) > _MAX_PAX:
        raise ValueError(f"has {len(body)} bytes of extended attributes, more than any reader of archives accepts")
    numbers = _NUMBERS % (0o644, 0, 0, len(body), 0)
    head = _ustar(b"././@PaxHeader", numbers, b"x", b"", _END)
    return head + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """Length, space, key, "=", value, newline; the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)
