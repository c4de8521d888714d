"""What a function writes to a descriptor, as a stream to read: the function runs on a thread of its own meanwhile."""

from __future__ import annotations

import fcntl
import io
import os
import threading
from contextlib import suppress

from buildlib.errors import from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildlib.oci.digest import Digest

PIECE = 1 << 20
PIPE_BYTES = 1 << 20
"""As large as an unprivileged process may make a pipe (pipe(7), pipe-max-size): fewer switches between its ends."""


class Streamed(io.RawIOBase):
    """What ``produce(fd)`` writes, as a stream. An error of it is raised where the end of the stream would be.

    ``ahead``: so many bytes are made before anybody reads, and held in memory.
    """

    def __init__(self, produce: Callable[[int], object], ahead: int = 0) -> None:
        super().__init__()
        self._fd, write_end = pipe()
        self._error: BaseException | None = None
        self._result: object = None
        self._thread = threading.Thread(target=self._run, args=(produce, write_end), daemon=True)
        self._thread.start()
        self._held = _Held(self._fd, ahead) if ahead else None

    def _run(self, produce: Callable[[int], object], write_end: int) -> None:
        try:
            self._result = produce(write_end)
        except BaseException as error:  # raised again by the reader
            self._error = error
        finally:
            os.close(write_end)

    @property
    def result(self) -> object:
        """What ``produce`` returned; after the end of the stream."""
        return self._result

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; nothing at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(PIECE), b""))
        data = os.read(self._fd, size) if self._held is None else self._held.take(size)
        if not data and size:
            self._thread.join()
            if self._error is not None:
                raise self._error
        return data

    def close(self) -> None:
        """Stop reading; the producer then fails to write and ends."""
        if not self.closed:
            if self._held is not None:
                self._held.stop()
            else:
                os.close(self._fd)
            self._thread.join()
        super().close()


class _Held:
    """Reads a descriptor into memory on a thread of its own, up to a limit; the descriptor is closed by it."""

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._limit = limit
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while data := os.read(self._fd, PIECE):
                with self._changed:
                    self._pieces.append(data)
                    self._bytes += len(data)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._bytes < self._limit or self._stopped)
                    if self._stopped:
                        return
        finally:
            os.close(self._fd)
            with self._changed:
                self._pieces.append(b"")
                self._changed.notify_all()

    def take(self, size: int) -> bytes:
        """Up to ``size`` bytes; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._pieces))
            first = self._pieces[0]
            if not first:
                return b""
            data, rest = first[:size], first[size:]
            if rest:
                self._pieces[0] = rest
            else:
                del self._pieces[0]
            self._bytes -= len(data)
            self._changed.notify_all()
            return data

    def stop(self) -> None:
        """Read no more. Who writes is at work, so a read that is under way ends with its next bytes."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()


class Exporting(Streamed):
    """A layer that the worker packs: at its end it tells digest and size, which the worker has found out."""

    def stored(self) -> tuple[Digest, int]:
        """Digest and size of what was read; after its end."""
        from buildlib.oci.digest import Digest

        reply: Any = self.result
        return Digest(reply["digest"]), reply["size"]


def pipe() -> tuple[int, int]:
    """The reading and the writing end of a pipe, as large as it may be."""
    try:
        ends = os.pipe()
    except OSError as error:
        raise from_os_error(error, "making a pipe") from error
    with suppress(PermissionError):  # this user's pipes have used up what is granted to all of them together
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ends
