"""Blobs on the wire, both ways: streams that survive a broken connection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildlib.errors import BuildlibError, TransportError
from buildlib.registry.http import RETRIED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Protocol

    from buildlib.registry.client import RegistryClient
    from buildlib.registry.http import Reply

    class Stream(Protocol):
        """What has a ``read``."""

        def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102

    Opener = Callable[[int], AbstractContextManager[Stream]]


PIECE = 1 << 20
CHUNK = 8 << 20
"""Bytes of an upload in one request, where it has to be sent in chunks; held in memory."""
TOO_LARGE = 413
MAX_RESUMES = 5
RESUMED = RETRIED | {401, 408, 416}
"""Statuses after which an upload goes on where it was; among them the end of a token, and a wrong offset of ours."""


class BlobReader:
    """A blob on the wire as a readable stream: exactly ``size`` bytes, resumed by range after a broken connection.

    It checks the length; the digest is the business of who reads (``content.VerifiedReader``).
    """

    def __init__(self, client: RegistryClient, repository: str, digest: str, size: int) -> None:
        self._client = client
        self._repository = repository
        self._digest = digest
        self.size = size
        self.position = 0
        self._resumes = 0
        self._reply: Reply | None = self._start()

    def _start(self) -> Reply:
        reply = self._client.open_blob(self._repository, self._digest, self.position)
        skip = 0
        if self.position and reply.status == 200:  # a registry without ranges sends it all again
            skip = self.position
        elif self.position:
            told = re.match(r"bytes (\d+)-", reply.headers.get("content-range", ""))
            if told is None or int(told[1]) != self.position:
                reply.close()
                raise TransportError(f"{self._digest}: asked for byte {self.position}, the registry sends others")
        if reply.length is not None and reply.length + self.position - skip != self.size:
            has = reply.length + self.position - skip
            reply.close()
            raise TransportError(f"{self._digest}: the registry has {has} bytes of it, the manifest says {self.size}")
        while skip and (data := reply.read(min(skip, PIECE))):
            skip -= len(data)
        return reply

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes (all that is left when negative); TransportError when the blob ends early."""
        import urllib3

        if size < 0:
            return b"".join(iter(lambda: self.read(PIECE), b""))
        while self.position < self.size:
            try:
                self._reply = self._reply or self._start()
                data = self._reply.read(min(size, self.size - self.position))
                broken = "the connection ended early" if not data else ""
            except (urllib3.exceptions.HTTPError, OSError) as error:
                data, broken = b"", str(error)
            if data:
                self.position += len(data)
                return data
            self._drop()
            if self._resumes == MAX_RESUMES:
                raise TransportError(f"{self._digest}: only {self.position} of {self.size} bytes came: {broken}")
            self._client.http.pause(self._resumes)
            self._resumes += 1
        return b""

    def _drop(self) -> None:
        if self._reply is not None:
            self._reply.abandon()
            self._reply = None

    def close(self) -> None:
        """Give the connection back when all was read, or else drop it."""
        if self._reply is not None and self.position == self.size:
            self._reply.close()
            self._reply = None
        self._drop()

    def __enter__(self) -> BlobReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Upload:
    """Streams one blob to a repository; :meth:`finish` makes it exist, under a digest that may be known only then.

    ``opener(offset)`` gives the bytes from ``offset`` on: after a broken connection the registry is asked how much
    arrived and the rest is sent, so the source must be able to start again in the middle. ``location`` is that of an
    upload that was begun already.

    It goes in one stream. A registry (or a proxy before it) that finds that too large, HTTP 413, gets it in chunks.
    """

    def __init__(
        self,
        client: RegistryClient,
        repository: str,
        opener: Opener,
        size: int | None,
        location: str | None = None,
    ) -> None:
        self._client = client
        self._repository = repository
        self._opener = opener
        self._size = size
        self._failed: BuildlibError | None = None
        self._location = location or client.start_upload(repository)

    def send(self) -> None:
        """Send everything."""
        offset = 0
        for attempt in range(MAX_RESUMES + 1):
            try:
                with self._opener(offset) as stream:
                    self._send(stream, offset)
                return
            except TransportError as error:
                if self._failed is not None:
                    raise self._failed from None
                if error.status == TOO_LARGE and not self._client.chunked:
                    self._client.chunked = True
                    self.cancel()
                    self._location = self._client.start_upload(self._repository)
                    offset = 0
                    continue
                if attempt == MAX_RESUMES or (error.status is not None and error.status not in RESUMED):
                    raise
                if error.status != 401:
                    self._client.http.pause(attempt, error.retry_after)
                offset = self._go_on()

    def _send(self, stream: Stream, offset: int) -> None:
        if not self._client.chunked:
            left = None if self._size is None else self._size - offset
            self._location = self._client.append(self._repository, self._location, self._pieces(stream), offset, left)
            return
        chunk = bytearray(CHUNK)
        while length := self._fill(chunk, stream):
            data = memoryview(chunk)[:length]
            self._location = self._client.append(self._repository, self._location, data, offset, length)
            offset += length

    def _fill(self, chunk: bytearray, stream: Stream) -> int:
        """Read a whole chunk, less only at the end; how much."""
        length = 0
        while length < len(chunk) and (data := self._read(stream, min(PIECE, len(chunk) - length))):
            chunk[length : length + len(data)] = data
            length += len(data)
        return length

    def _pieces(self, stream: Stream) -> Iterator[bytes]:
        while data := self._read(stream, PIECE):
            yield data

    def _read(self, stream: Stream, size: int) -> bytes:
        try:
            return stream.read(size)
        except BuildlibError as error:  # of the source: sending it again would not help
            self._failed = error
            raise

    def _go_on(self) -> int:
        """How much of it has arrived; where that is nothing, or not to be known, a new upload is begun."""
        offset, self._location = self._client.uploaded(self._repository, self._location)
        if not offset:
            self.cancel()
            self._location = self._client.start_upload(self._repository)
        return offset

    def finish(self, digest: str) -> None:
        """The blob exists under ``digest`` from here on."""
        self._client.finish_upload(self._repository, self._location, digest)

    def cancel(self) -> None:
        """Forget what was sent, as far as the registry lets us."""
        self._client.cancel_upload(self._repository, self._location)
