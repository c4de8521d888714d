"""Blobs on the wire, both ways: streams that survive a broken connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildlib.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import RawIOBase
    from typing import IO

    from buildlib.registry.client import RegistryClient
    from buildlib.registry.http import Reply

PIECE = 1 << 20
MAX_RESUMES = 5


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
        skip = self.position if self.position and reply.status == 200 else 0
        while skip:  # a registry without ranges sends it all again
            skip -= len(reply.read(min(skip, PIECE))) or skip
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
            self.close()
            self._resumes += 1
            if self._resumes > MAX_RESUMES:
                raise TransportError(f"{self._digest}: only {self.position} of {self.size} bytes came: {broken}")
        return b""

    def close(self) -> None:
        """Drop the connection, or give it back when all was read."""
        if self._reply is not None:
            self._reply.close()
            self._reply = None

    def __enter__(self) -> BlobReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Upload:
    """Streams one blob to a repository; :meth:`finish` makes it exist, under a digest that may be known only then.

    ``opener(offset)`` gives the bytes from ``offset`` on: after a broken connection the registry is asked how much
    arrived and the rest is sent, so the source must be able to start again in the middle.
    """

    def __init__(
        self, client: RegistryClient, repository: str, opener: Callable[[int], IO[bytes] | RawIOBase], size: int | None
    ) -> None:
        self._client = client
        self._repository = repository
        self._opener = opener
        self._size = size
        self._location = client.start_upload(repository)

    def send(self, moved: Callable[[int], None] = lambda _: None) -> None:
        """Send everything; ``moved`` hears of each piece's bytes."""
        offset = 0
        for attempt in range(MAX_RESUMES + 1):
            try:
                with self._opener(offset) as stream:
                    left = None if self._size is None else self._size - offset
                    pieces = self._pieces(stream, moved)
                    self._location = self._client.append(self._repository, self._location, pieces, offset, left)
                return
            except TransportError:
                if attempt == MAX_RESUMES:
                    raise
                offset, self._location = self._client.uploaded(self._repository, self._location)

    @staticmethod
    def _pieces(stream: IO[bytes] | RawIOBase, moved: Callable[[int], None]) -> Iterator[bytes]:
        while data := stream.read(PIECE):
            moved(len(data))
            yield data

    def finish(self, digest: str) -> None:
        """The blob exists under ``digest`` from here on."""
        self._client.finish_upload(self._repository, self._location, digest)

    def cancel(self) -> None:
        """Forget what was sent."""
        self._client.cancel_upload(self._repository, self._location)
