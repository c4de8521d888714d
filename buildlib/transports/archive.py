"""An index over a tar file: where each member lies. Nothing is unpacked; members are read in place.

Names are those of hostile files: links are resolved inside the archive only, and a name that occurs twice is an error
when it is asked for, because readers of archives do not agree on which of the two counts.
"""

from __future__ import annotations

import os
import stat
from collections import namedtuple

from buildlib.errors import FormatError, NotFound, TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Member(NamedTuple):
        """A regular file (``link`` is None) or a link; sizes and offsets in bytes."""

        name: str
        offset: int
        size: int
        link: str | None = None
        hard: bool = False
else:
    Member = namedtuple("Member", "name offset size link hard", defaults=(None, False))

BLOCK = 512
PIECE = 1 << 20
MAX_MEMBERS = 200_000
MAX_HEADER = 1 << 20
"""Bytes of one pax or GNU long-name header."""
MAX_LINKS = 8


class Archive:
    """The members of the tar at ``path``. A pipe or a compressed file is spooled to an unnamed file in ``tmp`` first.

    Thread-safe. Raises :class:`FormatError` for what is not a tar, :class:`TransportError` for what can't be read.
    """

    def __init__(self, path: str, tmp: str | None = None) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"no archive {path}", kind="archive", name=path) from None
        except OSError as error:
            raise TransportError(f"{path}: {error.strerror}") from error
        try:
            if stat.S_ISDIR(os.fstat(self._fd).st_mode):
                raise TransportError(f"{path}: is a folder, not an archive", hint="folders are read as oci: or dir:")
            fd, self._fd = self._fd, -1
            self._fd = seekable(fd, path, tmp)
            if compression_at(self._fd) != "none":
                fd, self._fd = self._fd, -1
                self._fd = spool(fd, path, tmp, unpack=True)
            self._members = _scan(self._fd, path)
        except BaseException:
            self.close()
            raise

    def __contains__(self, name: str) -> bool:
        return _clean(name) in self._members

    def member(self, name: str) -> Member:
        """The regular file of that name, through links. Raises :class:`NotFound`, :class:`FormatError`."""
        wanted = name
        for _ in range(MAX_LINKS):
            wanted = self._clean(wanted)
            found = self._members.get(wanted)
            if not found:
                raise NotFound(f"{self.path}: no {name} in it", kind="blob", name=name)
            if len(found) > 1:
                raise FormatError(f"{self.path}: {wanted} occurs {len(found)} times, so nobody knows which one counts")
            member = found[0]
            if member.link is None:
                return member
            # A symbolic link is relative to its own folder, a hard link to the root of the archive.
            folder = "" if member.hard else os.path.dirname(member.name)
            wanted = f"{folder}/{member.link}" if folder and not member.link.startswith("/") else member.link
        raise FormatError(f"{self.path}: {name}: too many links")

    def _clean(self, name: str) -> str:
        try:
            return _clean(name)
        except FormatError as error:
            raise FormatError(f"{self.path}: {error.message}") from None

    def open(self, name: str) -> Slice:
        """The content of a member."""
        member = self.member(name)
        return Slice(self._fd, member.offset, member.size)

    def read(self, name: str, limit: int = 4 << 20) -> bytes:
        """The content of a small member; raises :class:`FormatError` when it has more than ``limit`` bytes."""
        member = self.member(name)
        if member.size > limit:
            raise FormatError(f"{self.path}: {name} has {member.size} bytes, more than the {limit} allowed")
        return Slice(self._fd, member.offset, member.size).read()

    def fileno(self) -> int:
        """The file of the tar, to look at by pread(2)."""
        return self._fd

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Slice:
    """A part of a file as a stream. Many may read one file, for none of them moves its position."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._offset = offset
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, all that is left when negative."""
        wanted = self._left if size < 0 else min(size, self._left)
        try:
            data = os.pread(self._fd, wanted, self._offset) if wanted else b""
        except OSError as error:
            raise TransportError(f"reading an archive at byte {self._offset}: {error.strerror}") from error
        self._offset += len(data)
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Nothing: the file belongs to the archive."""


def seekable(fd: int, path: str, tmp: str | None = None) -> int:
    """``fd``, or if it is a pipe its whole content in an unnamed file in ``tmp``; ``fd`` is closed then."""
    return fd if stat.S_ISREG(os.fstat(fd).st_mode) else spool(fd, path, tmp, unpack=False)


def spool(fd: int, path: str, tmp: str | None, *, unpack: bool) -> int:
    """Copy what ``fd`` gives, perhaps decompressed, to an unnamed file in ``tmp``: its descriptor. Closes ``fd``."""
    import tempfile

    from buildlib.transports.packing import unpacked

    with os.fdopen(fd, "rb", buffering=0) as stream:
        if unpack:
            stream.seek(0)
        reader = unpacked(stream) if unpack else stream
        folder = tmp or "/var/tmp"  # noqa: S108 - the file has no name; it is too large for a /tmp in memory
        try:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                while data := reader.read(PIECE):
                    view = memoryview(data)
                    while view:
                        view = view[file.write(view) :]
                return os.dup(file.fileno())
        except OSError as error:
            raise TransportError(
                f"{path}: copying it to {folder}: {error.strerror}",
                hint="choose a folder with more space for temporary files",
            ) from error


def compression_at(fd: int, offset: int = 0) -> str:
    """The compression that the first bytes show: ``none``, ``gzip``, ``bzip2``, ``xz`` or ``zstd``."""
    from buildlib.transports.packing import compression_of

    return compression_of(os.pread(fd, 10, offset))


def _scan(fd: int, path: str) -> dict[str, list[Member]]:
    """Members by clean name. Folders and special files are left out: nothing asks for them."""
    members: dict[str, list[Member]] = {}
    end = os.fstat(fd).st_size
    position, count = 0, 0
    long: dict[str, str] = {}
    while position + BLOCK <= end:
        block = os.pread(fd, BLOCK, position)
        if block == bytes(BLOCK):
            break
        name, size, kind, link = _header(block, path, position)
        position += BLOCK
        if kind in b"xgLK":
            long |= _extension(fd, path, position, size, kind)
            position += -(-size // BLOCK) * BLOCK
            continue
        name, link, size = long.get("path", name), long.get("linkpath", link), int(long.get("size", size))
        long = {}
        content = size if kind in b"0\x007" else 0
        if position + content > end:
            raise FormatError(f"{path}: ends within {name}", hint="the archive was not written to its end")
        if kind in b"0\x00712" and not name.endswith("/"):
            member = Member(name, position, content, link if kind in b"12" else None, kind == b"1")
            try:
                members.setdefault(_clean(name), []).append(member)
            except FormatError as error:
                raise FormatError(f"{path}: {error.message}") from None
        position += -(-content // BLOCK) * BLOCK
        count += 1
        if count > MAX_MEMBERS:
            raise FormatError(f"{path}: more than {MAX_MEMBERS} members: that is no archive of images")
    if not count:
        raise FormatError(f"{path}: not a tar archive")
    return members


def _header(block: bytes, path: str, position: int) -> tuple[str, int, bytes, str]:
    """Name, size, type and link target of one ustar or GNU header (tar(5))."""
    total = sum(block) - sum(block[148:156]) + 8 * 32
    try:
        right = total == int(block[148:156].split(b"\0")[0].strip() or b"0", 8)
        field = block[124:136]
        size = int.from_bytes(field[1:], "big") if field[0] == 0x80 else int(field.split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        right, size = False, 0
    if not right or size < 0 or size >= 1 << 62:
        raise FormatError(f"{path}: not a tar header at byte {position}")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    return name, size, block[156:157], _text(block[157:257])


def _extension(fd: int, path: str, position: int, size: int, kind: bytes) -> dict[str, str]:
    """What a pax header (pax(1)) or a GNU long name says about the member that follows."""
    if size > MAX_HEADER:
        raise FormatError(f"{path}: a header of {size} bytes at byte {position}")
    data = os.pread(fd, size, position)
    if len(data) < size:
        raise FormatError(f"{path}: ends within a header")
    if kind in b"LK":
        return {"path" if kind == b"L" else "linkpath": _text(data)}
    found: dict[str, str] = {}
    while data and kind == b"x":  # a global header (g) carries comments, as of git archive
        length, space, _ = data.partition(b" ")
        if not space or not length.isdigit() or len(length) > 7 or not len(length) + 1 < int(length) <= len(data):
            raise FormatError(f"{path}: a damaged pax header at byte {position}")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        if key in (b"path", b"linkpath") or (key == b"size" and value.isdigit() and len(value) < 19):
            found[key.decode()] = _text(value)
        elif key.startswith(b"GNU.sparse"):
            raise FormatError(f"{path}: a sparse member at byte {position}: not an archive of images")
        data = data[int(length) :]
    return found


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode(errors="surrogateescape")


def _clean(name: str) -> str:
    """The name without ``./`` and the like; raises :class:`FormatError` where it leads out of the archive."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise FormatError(f"the archive member {name!r} lies outside of the archive")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
