"""The two pipes between the runtime and the process that becomes the container: words out, the state back."""

from __future__ import annotations

import os

from buildlib.oci.json_text import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_LIMIT = 1 << 20


class Talk:
    """The side of the new process. The other side is gone: so is this process."""

    def __init__(self, say: int, hear: int) -> None:
        self._say = say
        self._hear = hear
        self.state = b""
        """The container's state as the runtime has told it last, for hooks."""

    def say(self, point: str) -> None:
        """Tell how far we are."""
        self._write({"at": point})

    def fail(self, error: dict[str, Any]) -> None:
        """Tell why it can't go on: the data of an error."""
        self._write({"error": error})

    def ask(self, point: str) -> None:
        """Tell how far we are, and wait for the state in return."""
        self.say(point)
        line = b""
        while not line.endswith(b"\n"):
            data = os.read(self._hear, _LIMIT)
            if not data:
                os._exit(1)
            line += data
        self.state = line.rstrip(b"\n")

    def _write(self, message: dict[str, Any]) -> None:
        os.write(self._say, dumps(message).encode() + b"\n")


class Peer:
    """The side of the runtime."""

    def __init__(self, hear: int, say: int) -> None:
        self._hear = hear
        self._say = say

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the new process says, until it is gone or has become its command."""
        left = b""
        while data := os.read(self._hear, _LIMIT):
            *lines, left = (left + data).split(b"\n")
            for line in lines:
                yield loads(line.decode())

    def answer(self, state: dict[str, Any]) -> None:
        """Let it go on, with this state. That it is gone shows in :meth:`messages`."""
        try:
            os.write(self._say, dumps(state).encode() + b"\n")
        except BrokenPipeError:
            return


def pair() -> tuple[Peer, Talk, tuple[int, ...]]:
    """Both sides, and the descriptors of the second, which the runtime closes once it has forked."""
    hear, say = os.pipe2(os.O_CLOEXEC)
    listen, answer = os.pipe2(os.O_CLOEXEC)
    return Peer(hear, answer), Talk(say, listen), (say, listen)
