"""How requests and answers travel: JSON behind its length, descriptors beside it. It knows no operation.

On the control socket (SOCK_SEQPACKET) each packet is the name of an operation with one descriptor: the socket
(SOCK_STREAM) on which the arguments follow and the answer comes. Its end is the end of the request.

The sockets here and around are those of ``_socket``, which ``socket`` only adds to: its enumerations of constants
take longer to import than a request takes to be sent.
"""

from __future__ import annotations

import _socket as socket
import json
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_LENGTH = struct.Struct(">Q")
_MAX_FDS = 253  # what one message carries (SCM_MAX_FD)
_MAX_BYTES = 1 << 30


class Broken(Exception):
    """The other side ended in the middle of a message, or said nothing at all."""


def send(sock: socket.socket, message: Any, fds: Sequence[int] = ()) -> None:
    """Send one message; raises ``OSError`` if nobody can take it."""
    data = pack(message)
    sent = _send_fds(sock, data, fds) if fds else 0
    while sent < len(data):
        sent += sock.send(memoryview(data)[sent:], socket.MSG_NOSIGNAL)


def pack(message: Any) -> bytes:
    """A message as it is sent."""
    # Names of files may be no Unicode: surrogates pass through JSON as escapes.
    data = json.dumps(message).encode()
    return _LENGTH.pack(len(data)) + data


def receive(sock: socket.socket) -> tuple[Any, tuple[int, ...]]:
    """Receive one message and its descriptors (close-on-exec). Raises :class:`Broken`; ``OSError`` as recv(2)."""
    head, fds = _receive_fds(sock, _LENGTH.size, _MAX_FDS)
    try:
        if not head:
            raise Broken("it said nothing")
        head += _exactly(sock, _LENGTH.size - len(head))
        (length,) = _LENGTH.unpack(head)
        if length > _MAX_BYTES:
            raise Broken(f"a message of {length} bytes")
        return json.loads(_exactly(sock, length)), tuple(fds)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def _exactly(sock: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        data = sock.recv(min(size, 1 << 20))
        if not data:
            raise Broken("it ended in the middle of a message")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def announce(control: socket.socket, operation: str, request: socket.socket | None) -> None:
    """Tell the worker of a request; without one, that the operation will be wanted."""
    _send_fds(control, operation.encode(), () if request is None else (request.fileno(),))


def hear(control: socket.socket) -> tuple[str, socket.socket | None] | None:
    """The next announcement; None when the other side is gone."""
    data, fds = _receive_fds(control, 256, 1)
    if not data:
        return None
    return data.decode(errors="replace"), socket.socket(fileno=fds[0]) if fds else None


# socket.send_fds and recv_fds ignore their flags up to Python 3.12, and so lose MSG_CMSG_CLOEXEC.


def _send_fds(sock: socket.socket, data: bytes, fds: Sequence[int]) -> int:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
    return sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def _receive_fds(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    room = socket.CMSG_SPACE(most * struct.calcsize("i"))
    data, ancillary, _, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += struct.unpack(f"{len(value) // 4}i", value)
    return data, fds
