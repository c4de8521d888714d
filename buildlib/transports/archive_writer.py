"""Writes a tar of blobs and documents: one member after the other, the same bytes for the same members, whole or not.

Sizes that are known only when a member ends are put into its header afterwards.
"""

from __future__ import annotations

import os
import stat
import threading

from buildlib.content import temporary
from buildlib.errors import from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildlib.content import Readable

BLOCK = 512
PIECE = 1 << 20


class ArchiveWriter:
    """A tar that appears at ``path`` in :meth:`finish`; before, it is a hidden file next to it.

    If ``path`` is a pipe or a device, everything is written to it in :meth:`finish`, and the hidden file is in ``tmp``.
    Raises :class:`StoreError`, :class:`StoreFull` where no space is left.
    """

    def __init__(self, path: str, tmp: str | None = None) -> None:
        self.path = path
        self.names: set[str] = set()
        self._lock = threading.Lock()
        self._end = 0
        self._direct = os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)
        folder = (tmp or "/var/tmp") if self._direct else os.path.dirname(path) or "."  # noqa: S108 - O_EXCL below
        self._half = temporary(folder, f".{os.path.basename(path)}.")
        try:
            self._fd = os.open(self._half, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise from_os_error(error, f"creating {self._half}") from error

    def add(self, name: str, data: bytes) -> None:
        """A small file, unless there is one of that name already."""
        with self._lock:
            if name not in self.names:
                self._write(data, self._end + BLOCK)
                self._close_member(name, len(data))

    def add_folder(self, name: str) -> None:
        """A folder; ``name`` ends with a slash."""
        with self._lock:
            if name not in self.names:
                self._close_member(name, 0)

    def add_stream(self, stream: Readable, name: Callable[[], str]) -> None:
        """A file of which size and name are asked for when ``stream`` has ended."""
        with self._lock:
            size = 0
            while data := stream.read(PIECE):
                self._write(data, self._end + BLOCK + size)
                size += len(data)
            if name() not in self.names:  # else it is written over by what comes next
                self._close_member(name(), size)

    def _close_member(self, name: str, size: int) -> None:
        self._write(member_header(name, size), self._end)
        self._end += BLOCK + size
        self._write(bytes(-size % BLOCK), self._end)  # a member that was not kept may have left bytes here
        self._end += -size % BLOCK
        self.names.add(name)

    def _write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            raise from_os_error(error, f"writing {self._half}") from error

    def finish(self) -> None:
        """Make the archive appear."""
        try:
            os.ftruncate(self._fd, self._end)
            os.ftruncate(self._fd, self._end + 2 * BLOCK)  # two blocks of zeros end a tar
            if self._direct:
                self._send()
            else:
                os.fsync(self._fd)
                os.rename(self._half, self.path)
                self._half = ""
        except OSError as error:
            raise from_os_error(error, f"writing {self.path}") from error
        self.close()

    def _send(self) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        with open(self.path, "wb", buffering=0) as out:
            while data := os.read(self._fd, PIECE):
                view = memoryview(data)
                while view:
                    view = view[out.write(view) :]

    def close(self) -> None:
        """Throw away what is not finished. May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._half:
            os.unlink(self._half)
            self._half = ""


def member_header(name: str, size: int) -> bytes:
    """A ustar header without times and owners; sizes from 8 GiB on in base 256, which Go and GNU tar read (tar(5))."""
    mode, kind = (b"0000755", b"5") if name.endswith("/") else (b"0000644", b"0")
    number = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    head = name.encode().ljust(100, b"\0") + mode + b"\0" + b"0000000\0" * 2 + number + b"00000000000\0"
    tail = kind + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * 32) + tail
