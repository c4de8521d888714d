"""tar-split: what is in an archive apart from the contents of its files, so that with them it comes back to the byte.

The format (vbatts/tar-split, tar/storage): lines of JSON, gzipped. A **segment** (type 2) has bytes of the archive as
base64: headers, padding, the end. A **file** (type 1) has a name and stands for ``size`` bytes that are to be taken
from the file of that name; ``payload`` is their CRC-64 (ISO 3309, big endian). Entries without content are files of no
size. No two files may have one name, or readers refuse the whole.
"""

from __future__ import annotations

import binascii
import os
import stat

from buildlib.errors import FormatError, LayerError, TransportError
from buildlib.layer.compress import compressor
from buildlib.linux.beneath import open_in_root
from buildlib.transports.containers_storage import crc64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from buildlib.transports.containers_storage.crc64 import Bytes

_BLOCK = 1 << 18
_SEGMENT = 1 << 16
"""Bytes of a segment from which on it is written, so that no line is too long to be held in memory."""
_LONGEST = 64 << 20
"""Bytes of a line when reading: other writers make one segment of whatever is behind the end of an archive."""
_FILE, _PART = 1, 2
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Recorder:
    """Writes the tar-split of an archive that passes: :meth:`raw` bytes, and files from :meth:`begin` to :meth:`end`.

    ``write`` gets the gzipped lines in pieces.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._packer = compressor("gzip")
        self._lines = bytearray()
        self._raw = bytearray()
        self._position = 0
        self._files: dict[bytes, bytes] = {}
        """Clean name of each file so far, and size and sum of what is to be taken from it; empty where nothing is."""
        self._lost: set[bytes] = set()
        """Files whose content was taken away by a later entry, so that it can't be given back."""
        self._name = b""
        self._again = False
        self._size = self._sum = 0
        write(self._packer.header)

    def raw(self, data: Bytes) -> None:
        """Bytes that are not the content of a file."""
        self._raw += data
        if len(self._raw) >= _SEGMENT:
            self._segment()

    def entry(self, name: bytes) -> None:
        """An entry without content."""
        clean = _clean(name)
        if clean not in self._files:  # a second one is a matter of its header alone
            self._files[clean] = b""
            self._file(name, 0, b"null")

    def begin(self, name: bytes) -> None:
        """From here on there is content of a file."""
        self._name = name
        self._again = _clean(name) in self._files
        self._size = self._sum = 0

    def content(self, data: Bytes) -> None:
        """Content of the file that was begun."""
        self._sum = crc64.update(data, self._sum)
        self._size += len(data)
        if self._again:
            self.raw(data)

    def end(self) -> None:
        """The file that was begun is complete."""
        clean = _clean(self._name)
        is_now = b"%d %016x" % (self._size, self._sum)
        if not self._again:
            self._files[clean] = is_now
            self._file(self._name, self._size, b'"%b"' % _base64(self._sum.to_bytes(8, "big")))
        elif self._files[clean] == is_now:
            self._lost.discard(clean)
        elif self._files[clean]:
            self._lost.add(clean)

    def replaced(self, path: bytes) -> None:
        """What was at this path, and all below it, is going to be replaced by a later entry."""
        inside = path + b"/"
        if self._files.get(path):
            self._lost.add(path)
        self._lost.update(name for name, what in self._files.items() if what and name.startswith(inside))

    def finish(self) -> None:
        """The archive has ended. Raises :class:`LayerError` when it can't be given back from the files that it left."""
        if self._lost:
            name = os.fsdecode(min(self._lost))
            reason = "is replaced by a later entry, which containers-storage has no way to record"
            hint = "build the image anew: no current tool writes such layers"
            raise LayerError(f"entry {name!r} {reason}", hint=hint, entry=name, reason=reason)
        self._segment()
        self._flush()
        self._write(self._packer.finish())

    def _segment(self) -> None:
        if self._raw:
            self._lines += b'{"type":2,"payload":"%b","position":%d}\n' % (_base64(self._raw), self._position)
            self._next()
            self._raw.clear()

    def _file(self, name: bytes, size: int, payload: bytes) -> None:
        import json

        self._segment()
        try:
            text = b'"name":%b' % json.dumps(name.decode(), ensure_ascii=False).encode()
        except UnicodeDecodeError:
            text = b'"name_raw":"%b"' % _base64(name)
        length = b',"size":%d' % size if size else b""
        self._lines += b'{"type":1,%b%b,"payload":%b,"position":%d}\n' % (text, length, payload, self._position)
        self._next()

    def _next(self) -> None:
        self._position += 1
        if len(self._lines) >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        self._packer.note(self._lines)
        self._write(self._packer.compress(self._lines))
        self._lines.clear()


def archive(pieces: Iterable[bytes], roots: Sequence[int], where: str) -> Iterator[bytes]:
    """The archive in pieces, from the gzipped lines ``pieces`` and files beneath the open directories ``roots``.

    A file is taken from the first root that has it. Nothing is verified but its size: that is for whoever knows the
    digest of the whole. Raises :class:`TransportError`, which ``where`` begins, and :class:`FormatError`.
    """
    waiting = bytearray()
    for line in _lines(pieces, where):
        kind, name, size, payload = _parsed(line, where)
        if kind == _PART:
            waiting += payload
        elif size:
            yield from _content(name, size, roots, waiting, where)
        if len(waiting) >= _BLOCK:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _content(name: bytes, size: int, roots: Sequence[int], waiting: bytearray, where: str) -> Iterator[bytes]:
    """Put the file behind what is waiting; give pieces out where that becomes long."""
    fd = _open(name, roots, where)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise TransportError(f"{where}: {os.fsdecode(name)!r} is not the file of {size} bytes that it was")
        while size:
            data = os.read(fd, min(size, _BLOCK))
            if not data:
                raise TransportError(f"{where}: {os.fsdecode(name)!r} became shorter")
            size -= len(data)
            waiting += data
            if len(waiting) >= _BLOCK:
                yield bytes(waiting)
                waiting.clear()
    except OSError as error:
        raise TransportError(f"{where}: reading {os.fsdecode(name)!r}: {error.strerror}") from error
    finally:
        os.close(fd)


def _open(name: bytes, roots: Sequence[int], where: str) -> int:
    for root in roots:
        try:
            return open_in_root(root, name, _OPEN)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TransportError(f"{where}: opening {os.fsdecode(name)!r}: {error.strerror}") from error
    raise TransportError(f"{where}: the file {os.fsdecode(name)!r} is gone")


def _lines(pieces: Iterable[bytes], where: str) -> Iterator[bytes]:
    from buildlib.layer.decompress import decompress

    rest = b""
    for piece in decompress("gzip", pieces):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST:
            raise FormatError(f"{where}: a line of its tar-split is longer than {_LONGEST} bytes")
    if rest.strip():
        yield rest


def _parsed(line: bytes, where: str) -> tuple[int, bytes, int, bytes]:
    """Type, name, size and payload of a line."""
    import json

    try:
        found: Any = json.loads(line)
        kind, size = found["type"], found.get("size", 0)
        if kind == _PART:
            return kind, b"", 0, binascii.a2b_base64(found.get("payload") or "")
        if kind != _FILE or not isinstance(size, int):
            raise ValueError(kind)
        raw = found.get("name_raw")
        return kind, binascii.a2b_base64(raw) if raw else found["name"].encode(), size, b""
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{where}: its tar-split is damaged: {line[:60]!r}") from error


def _base64(data: Bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _clean(name: bytes) -> bytes:
    """The name without ``./``, double slashes and the like; ``..`` can't be in it."""
    if name.startswith((b"/", b"./")) or b"//" in name or b"/./" in name:
        return b"/".join(part for part in name.split(b"/") if part not in (b"", b"."))
    return name.rstrip(b"/")
