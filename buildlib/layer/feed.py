"""The bytes of an archive from a descriptor: read, hashed and decompressed on threads of their own while they are used.

Memory stays below a few mebibytes. What is left in the stream behind the end of the archive is read and hashed too.
"""

from __future__ import annotations

import hashlib
import os
import select
from queue import Empty, Queue
from threading import Thread

from buildlib.errors import from_os_error
from buildlib.layer.decompress import HEAD, PIECE, decompress, detect
from buildlib.oci import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Protocol

    class Stream(Protocol):
        """What has a ``read``."""

        def read(self, size: int = -1, /) -> bytes:
            """Up to ``size`` bytes, nothing at the end."""

    Piece = bytes | BaseException | None

_WAITING = 12
"""How many pieces may wait for whoever is slowest."""


class Feed:
    """A context in which the decompressed bytes of ``source`` can be taken. Leave it and the threads are gone.

    ``source``, a descriptor or a stream, stays the caller's; a stream is read on another thread, and leaving waits for
    a ``read`` that is under way. After :meth:`drain` the digests and sizes are known; without ``blob`` the bytes as
    they come are not hashed, only what is in them.
    """

    def __init__(self, source: int | Stream, *, blob: bool = True) -> None:
        self._source = source
        self._wants_blob = blob
        self._left = False
        self._pieces: Queue[Piece] = Queue(_WAITING)
        self._hashing: Queue[tuple[hashlib._Hash, bytes] | None] = Queue(2 * _WAITING)
        self._blob_hash = hashlib.sha256()
        self._tar_hash = hashlib.sha256()
        self._plain = False
        self._ended = False
        self._buffer = b""
        self._position = 0
        self.blob_size = 0
        self.tar_size = 0
        self._wake, self._woken = os.pipe()
        self._threads = [Thread(target=self._read, daemon=True), Thread(target=self._hash, daemon=True)]

    def __enter__(self) -> Feed:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        os.close(self._woken)  # whoever polls sees the end of the pipe
        reader = self._threads[0]
        while reader.is_alive():
            try:
                self._pieces.get(timeout=0.05)
            except Empty:
                continue
        for thread in self._threads:
            thread.join()
        os.close(self._wake)

    # --- taking -------------------------------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes; fewer where the stream ends."""
        start = self._position
        end = start + count
        if end <= len(self._buffer):
            self._position = end
            return self._buffer[start:end]
        parts: list[bytes] = []
        self.pump(count, lambda view: parts.append(bytes(view)))
        return b"".join(parts)

    def pump(self, count: int, use: Callable[[memoryview], object]) -> int:
        """Hand ``count`` bytes on in pieces as they lie in memory; return how many there were."""
        left = count
        while left:
            if self._position == len(self._buffer) and not self._next():
                break
            part = memoryview(self._buffer)[self._position : self._position + left]
            self._position += len(part)
            left -= len(part)
            use(part)
        return count - left

    def drain(self) -> None:
        """Take all that is left, so that everything was counted and hashed."""
        while self._next():
            pass
        for thread in self._threads:
            thread.join()

    @property
    def tar_digest(self) -> Digest:
        """The digest of the decompressed bytes: the DiffID of a layer."""
        return Digest(f"sha256:{self._tar_hash.hexdigest()}")

    @property
    def blob_digest(self) -> Digest | None:
        """The digest of the bytes as they came; None where it was not wanted."""
        if self._plain:
            return self.tar_digest
        return Digest(f"sha256:{self._blob_hash.hexdigest()}") if self._wants_blob else None

    def _next(self) -> bool:
        """Replace the buffer, which is used up, by the next piece; False at the end. Raises what the reader met."""
        piece = None if self._ended else self._pieces.get()
        if isinstance(piece, bytes):
            self._buffer, self._position = piece, 0
            return True
        self._buffer, self._position, self._ended = b"", 0, True
        if piece is not None:
            raise piece
        return False

    # --- the threads --------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        end: Piece = None
        try:
            pieces = self._arriving()
            head = b""
            while len(head) < HEAD and (more := next(pieces, b"")):
                head += more
            compression = detect(head)
            self._plain = compression is None
            for piece in decompress(compression, self._hashed(head, pieces)):
                self.tar_size += len(piece)
                self._hashing.put((self._tar_hash, piece))
                self._pieces.put(piece)
        except OSError as error:
            end = from_os_error(error, "reading an archive")
        except BaseException as error:  # it is raised again where the bytes are taken
            end = error
        self._hashing.put(None)
        self._pieces.put(end)

    def _arriving(self) -> Iterator[bytes]:
        if not isinstance(self._source, int):
            while not self._left and (piece := self._source.read(PIECE)):
                yield piece
            return
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            if any(fd == self._wake for fd, _ in poll.poll()):
                return
            piece = os.read(self._source, PIECE)
            if not piece:
                return
            yield piece

    def _hashed(self, head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
        piece = head
        while piece:
            self.blob_size += len(piece)
            if self._wants_blob and not self._plain:
                self._hashing.put((self._blob_hash, piece))
            yield piece
            piece = next(pieces, b"")

    def _hash(self) -> None:
        while (item := self._hashing.get()) is not None:
            hash_, piece = item
            hash_.update(piece)
