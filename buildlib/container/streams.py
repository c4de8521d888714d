"""What a command prints, on its way: passed on while it runs, kept where it is wanted, its last lines always.

One loop in the calling thread watches both streams and the worker's answer, so nothing can block anything, and
Ctrl-C arrives where it can end the command.
"""

from __future__ import annotations

import os
import selectors
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Stream = Any
    """None for the caller's own, a file descriptor, an object with ``fileno()``, or one with ``write(str)``."""

TAIL_BYTES = 16_384
TAIL_LINES = 20

_PIECE = 1 << 16


def needs_pipe(stream: Stream, capture: bool) -> bool:
    """Whether the output passes through this process, rather than going straight to a descriptor."""
    return capture or stream is None or descriptor(stream) is None


def descriptor(stream: Stream) -> int | None:
    """The file descriptor of an explicit stream, None for one that is written to piece by piece."""
    if isinstance(stream, int):
        return stream
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


class Pump:
    """Takes in standard output (1) and standard error (2) of a command."""

    def __init__(self, stdout: Stream, stderr: Stream, capture: bool) -> None:
        self.capture = capture
        self.kept: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
        """The captured output by stream; under 0 both, in the order in which it came."""
        self.tail = b""
        self._fds: list[int] = []
        self._readers: dict[int, tuple[int, Callable[[bytes], None]]] = {}
        self.command_ends = tuple(self._open(number, stream) for number, stream in ((1, stdout), (2, stderr)))
        """The descriptors for the command."""

    def _open(self, number: int, stream: Stream) -> int:
        if not needs_pipe(stream, self.capture):
            fd = descriptor(stream)
            assert fd is not None
            return fd
        reader, writer = os.pipe()
        self._fds.append(writer)
        self._readers[reader] = number, _ignore if self.capture and stream is None else _writer(number, stream)
        return writer

    def started(self) -> None:
        """The command has its ends: close ours, so that the end of the output can be seen."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def run(self, done: int) -> None:
        """Pass everything on until the descriptor ``done`` is readable and all output has come."""
        with selectors.DefaultSelector() as selector:
            selector.register(done, selectors.EVENT_READ)
            for reader in self._readers:
                selector.register(reader, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    if key.fd == done or not self._read(key.fd):
                        selector.unregister(key.fd)

    def _read(self, reader: int) -> bool:
        data = os.read(reader, _PIECE)
        number, write = self._readers[reader]
        if data:
            self.tail = (self.tail + data)[-TAIL_BYTES:]
            if self.capture:
                self.kept[number].append(data)
                self.kept[0].append(data)
        write(data)
        return bool(data)

    def close(self) -> None:
        """Close all that is still open."""
        self.started()
        for reader in self._readers:
            os.close(reader)
        self._readers.clear()

    def text(self, number: int) -> str:
        """Captured output as text; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.kept[number]).decode("utf-8", "replace")

    def last_lines(self) -> str:
        """The last lines that were printed."""
        return "\n".join(self.tail.decode("utf-8", "replace").splitlines()[-TAIL_LINES:])


def _ignore(_: bytes) -> None:
    pass


def _writer(number: int, stream: Stream) -> Callable[[bytes], None]:
    """What to call with each piece, and with nothing at the end."""
    if stream is None:
        stream = sys.stdout if number == 1 else sys.stderr
        real = sys.__stdout__ if number == 1 else sys.__stderr__
        if stream is None or (stream is real and descriptor(stream) is not None):
            if stream is not None:
                stream.flush()
            return lambda data: _write_fd(number, data)
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    flush = getattr(stream, "flush", None)

    def write(data: bytes) -> None:
        text = decoder.decode(data, final=not data)
        if text:
            stream.write(text)
            if flush is not None:
                flush()

    return write


def _write_fd(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
