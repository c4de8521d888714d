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

    ``ahead``: so many bytes are made before anybody reads, where the system permits.
    """

    def __init__(self, produce: Callable[[int], object], ahead: int = PIPE_BYTES) -> None:
        super().__init__()
        self._fd, write_end = pipe(ahead)
        self._error: BaseException | None = None
        self._result: object = None
        self._thread = threading.Thread(target=self._run, args=(produce, write_end), daemon=True)
        self._thread.start()

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
        data = os.read(self._fd, size)
        if not data and size:
            self._thread.join()
            if self._error is not None:
                raise self._error
        return data

    def close(self) -> None:
        """Stop reading; the producer then fails to write and ends."""
        if not self.closed:
            os.close(self._fd)
            self._thread.join()
        super().close()


class Exporting(Streamed):
    """A layer that the worker packs: at its end it tells digest and size, which the worker has found out."""

    def stored(self) -> tuple[Digest, int]:
        """Digest and size of what was read; after its end."""
        from buildlib.oci.digest import Digest

        reply: Any = self.result
        return Digest(reply["digest"]), reply["size"]


def pipe(size: int = PIPE_BYTES) -> tuple[int, int]:
    """The reading and the writing end of a pipe of that size, or as large as it may be."""
    try:
        ends = os.pipe()
    except OSError as error:
        raise from_os_error(error, "making a pipe") from error
    for wanted in dict.fromkeys((size, PIPE_BYTES)):
        with suppress(PermissionError):  # too large, or this user's pipes have used up what is granted to all of them
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, wanted)
            break
    return ends
