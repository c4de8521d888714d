"""Blobs by digest in a folder, as an OCI image layout lays them out. It knows no images and no database.

A blob becomes visible only whole: it is written under a temporary name, verified, synced and then renamed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import stat
from collections import namedtuple

from buildlib.errors import DigestMismatch, FormatError, NotFound, TransportError, from_os_error
from buildlib.linux.process import start_time
from buildlib.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO, NamedTuple, Protocol

    class Readable(Protocol):
        """What a stream needs to be copied from."""

        def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102

    class Stored(NamedTuple):
        """What was stored."""

        digest: Digest
        size: int
else:
    Stored = namedtuple("Stored", "digest size")

PIECE = 1 << 20
"""Bytes that are moved at a time."""

_numbers = itertools.count(1)


class VerifiedReader(io.RawIOBase):
    """A stream that hashes what passes through and fails instead of ending well when it is not what was promised.

    With ``digest`` and ``size`` (bytes) the last piece is given out only when both are right, so a consumer that
    stops at the last byte can't miss it: raises :class:`DigestMismatch`, or :class:`TransportError` for a stream that
    is too short or too long. Without them, :attr:`digest` and :attr:`position` tell at the end what it was.
    """

    def __init__(self, stream: Readable, digest: str | None = None, size: int | None = None, name: str = "") -> None:
        super().__init__()
        self.expected = Digest(digest) if digest is not None else None
        self.size = size
        self.name = name or (f"blob {digest}" if digest else "stream")
        self.position = 0
        self.complete = False
        """Whether the end was reached and everything was right."""
        self._stream = stream
        self._hash = hashlib.new(self.expected.algorithm if self.expected else "sha256")

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, all that is left when negative, nothing at the end."""
        if size < 0:
            return self.readall()
        if self.complete or not size:
            return b""
        data = self._stream.read(size if self.size is None else min(size, self.size - self.position + 1))
        self._hash.update(data)
        self.position += len(data)
        if self.size is not None and self.position > self.size:
            raise TransportError(f"{self.name}: has more than the {self.size} bytes that were promised")
        if not data or self.position == self.size:
            self._end(more=bool(data))
        return data

    def readall(self) -> bytes:
        """All that is left."""
        return b"".join(iter(lambda: self.read(PIECE), b""))

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` as far as one read goes."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _end(self, *, more: bool) -> None:
        if self.size is not None and self.position < self.size:
            raise TransportError(f"{self.name}: ended after {self.position} of {self.size} bytes")
        if more and self._stream.read(1):
            raise TransportError(f"{self.name}: has more than the {self.size} bytes that were promised")
        if self.expected is not None and self.digest != self.expected:
            raise DigestMismatch(
                f"{self.name}: expected {self.expected}, got {self.digest}",
                hint="the data is damaged or was tampered with: fetch it again",
                expected=str(self.expected),
                actual=str(self.digest),
            )
        self.complete = True

    def finish(self) -> Stored:
        """Read what is left, verify, and tell digest and size."""
        while self.read(PIECE):
            pass
        return Stored(self.digest, self.position)

    @property
    def digest(self) -> Digest:
        """The digest of what has passed so far."""
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}")

    def readable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Close the stream below too."""
        if not self.closed:
            close = getattr(self._stream, "close", None)
            if close is not None:
                close()
        super().close()


class ContentStore:
    """Blobs under ``<root>/blobs/<algorithm>/<hex>``. Thread-safe; many processes may write the same blob at once.

    ``blobs`` and ``tmp`` name other folders for the blobs and for what is half-made (they must lie on one file system);
    ``prefix`` begins the names of half-made files where ``tmp`` holds other things as well. Every method raises
    :class:`StoreError` for what the system refuses, :class:`StoreFull` where space has run out.
    """

    def __init__(self, root: str, *, blobs: str | None = None, tmp: str | None = None, prefix: str = "") -> None:
        self.blobs = blobs or f"{root}/blobs"
        self.tmp = tmp or f"{root}/tmp"  # noqa: S108 - a folder of the store
        self.prefix = prefix

    def path(self, digest: str) -> str:
        """Where the blob is, or would be."""
        digest = Digest(digest)
        return f"{self.blobs}/{digest.algorithm}/{digest.hex}"

    def size(self, digest: str) -> int | None:
        """Bytes of the blob, or None where there is none."""
        try:
            found = os.stat(self.path(digest))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise from_os_error(error, f"looking for the blob {digest}") from error
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def has(self, digest: str) -> bool:
        """Whether the blob is here."""
        return self.size(digest) is not None

    def open(self, digest: str) -> BinaryIO:
        """The blob as a real, unbuffered file, not verified: wrap it in a :class:`VerifiedReader` where it matters."""
        try:
            # A hostile layout may have a FIFO in its place: opening must not hang.
            fd = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"no blob {digest} in {self.blobs}", kind="blob", name=str(digest)) from None
        except OSError as error:
            raise from_os_error(error, f"opening the blob {digest}") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FormatError(f"{self.path(digest)} is not a file")
        return os.fdopen(fd, "rb", buffering=0)

    def read(self, digest: str, limit: int = 4 << 20) -> bytes:
        """The bytes of a small blob, verified. Raises :class:`FormatError` when it has more than ``limit`` bytes."""
        with self.open(digest) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise FormatError(f"blob {digest}: {size} bytes are more than the {limit} allowed")
            return VerifiedReader(file, digest).read()

    def verify(self, digest: str) -> None:
        """Read the whole blob; raises :class:`DigestMismatch` or :class:`NotFound`."""
        with self.open(digest) as file:
            VerifiedReader(file, digest).finish()

    def writer(self, algorithm: str | None = "sha256") -> Writer:
        """A new blob; nothing of it is visible before :meth:`Writer.commit`.

        With None it is not hashed: the caller does that, and calls :meth:`Writer.publish`.
        """
        return Writer(self, hashlib.new(algorithm) if algorithm else None)

    def ingest(self, reader: VerifiedReader) -> Stored:
        """Store all that the reader gives, under the digest that it finds at the end. It is hashed once, there."""
        with Writer(self, None) as writer:
            while data := reader.read(PIECE):
                writer.write(data)
            return writer.publish(Stored(reader.digest, reader.position))

    def add(self, data: bytes) -> Stored:
        """Store bytes at hand."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit()

    def delete(self, digest: str) -> bool:
        """Remove the blob; whether there was one."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise from_os_error(error, f"deleting the blob {digest}") from error
        return True

    def walk(self) -> Iterator[Digest]:
        """The digests of all blobs, in no order. Other files are passed over."""
        for algorithm in ("sha256", "sha512"):
            try:
                names = os.listdir(f"{self.blobs}/{algorithm}")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise from_os_error(error, f"listing {self.blobs}/{algorithm}") from error
            for name in names:
                try:
                    yield Digest(f"{algorithm}:{name}")
                except FormatError:
                    continue

    def sync(self) -> None:
        """Make the names of all blobs so far outlive a crash of the machine."""
        for algorithm in ("sha256", "sha512"):
            try:
                sync_folder(f"{self.blobs}/{algorithm}")
            except FileNotFoundError:
                continue


class Writer:
    """A blob being written. Leaving the ``with`` block without :meth:`commit` throws it away."""

    def __init__(self, store: ContentStore, hasher: Any) -> None:
        self._store = store
        self._hash = hasher
        self._path = temporary(store.tmp, store.prefix)
        self._syncing: Any = None
        self._synced = -1
        self.size = 0
        try:
            os.makedirs(store.tmp, exist_ok=True)
            # 0644: a layout is read by others as well; the umask still applies.
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise from_os_error(error, f"creating {self._path}") from error

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append; all of ``data`` is written."""
        if self._hash is not None:
            self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise from_os_error(error, f"writing {self._path}") from error
        self.size += len(data)
        return len(data)

    def sync_early(self) -> None:
        """Begin to bring to the disk what is written so far, so that there is less to wait for in the end."""
        import threading

        self._syncing = threading.Thread(target=self._sync, daemon=True)
        self._syncing.start()

    def _sync(self) -> None:
        size = self.size
        try:
            os.fsync(self._fd)
            self._synced = size
        except OSError:
            return  # the next one will say so

    def commit(self, expected_digest: str | None = None, expected_size: int | None = None) -> Stored:
        """Make the blob visible under its digest, if it is what was expected; raises :class:`DigestMismatch` else."""
        digest = Digest(f"{self._hash.name}:{self._hash.hexdigest()}")
        if expected_size is not None and expected_size != self.size:
            raise TransportError(f"blob {expected_digest or digest}: {self.size} bytes came instead of {expected_size}")
        if expected_digest is not None and expected_digest != digest:
            raise DigestMismatch(
                f"blob: expected {expected_digest}, got {digest}", expected=str(expected_digest), actual=str(digest)
            )
        return self.publish(Stored(digest, self.size))

    def publish(self, stored: Stored) -> Stored:
        """Make the blob visible under a digest that the caller has verified."""
        path = self._store.path(stored.digest)
        try:
            self._wait()
            if self._synced != self.size:
                os.fsync(self._fd)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.rename(self._path, path)  # also over one that is there: that may be damaged, this one is verified
            self._path = ""
        except OSError as error:
            raise from_os_error(error, f"storing the blob {stored.digest}") from error
        self.close()
        return stored

    def _wait(self) -> None:
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None

    def close(self) -> None:
        """Throw away what is not committed."""
        self._wait()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path:
            try:
                os.unlink(self._path)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise from_os_error(error, f"deleting {self._path}") from error
            self._path = ""

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def temporary(folder: str, prefix: str = "", suffix: str = "") -> str:
    """A name in ``folder`` that no other process and no other call makes: ``<pid>.<start time>.<n>``."""
    pid = os.getpid()
    return f"{folder}/{prefix}{pid}.{start_time(pid)}.{next(_numbers)}{suffix}"


def abandoned(name: str, prefix: str = "") -> bool:
    """Whether a name made by :func:`temporary` belongs to a process that is no more."""
    parts = name.removeprefix(prefix).split(".")
    if not name.startswith(prefix) or len(parts) < 3 or not all(part.isdecimal() for part in parts[:3]):
        return False
    return start_time(int(parts[0])) != int(parts[1])


def sync_folder(path: str) -> None:
    """fsync(2) of a folder: its entries outlive a crash of the machine."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
