"""How the listener of a filter of system calls gets to whoever waits for it at a socket: by a process of its own."""

from __future__ import annotations

import array
import errno
import json
import mmap
import os
import signal
import socket
import struct
import time

from buildlib.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SHARED = struct.Struct("=ii")
"""In memory that this process and its messenger share: the listener's descriptor + 1, and whether it was sent."""

_PAUSE = 0.0005

_messenger: list[tuple[int, mmap.mmap]] = []
"""Pid and shared memory of the messenger, in this process, which becomes the command."""


def connect(path: str, message: str) -> None:
    """Connect, so that a missing peer is an error here; then fork the messenger. Raises ``OSError``.

    The messenger has no filter: nothing that the filter stops can keep the listener from being sent.
    """
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    peer.connect(path)
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    # The /proc at hand numbers processes as the host does.
    own, inside = int(os.readlink("/proc/self")), os.getpid()
    state = json.loads(message)
    state["pid"] = state["state"]["pid"] = own
    pid = os.fork()
    if pid == 0:
        _send(peer, shared, inside, json.dumps(state).encode())
    peer.close()
    _messenger[:] = [(pid, shared)]


def _send(peer: socket.socket, shared: mmap.mmap, target: int, message: bytes) -> NoReturn:
    try:
        process.die_with_parent(signal.SIGKILL)
        fd = 0
        while not fd:
            time.sleep(_PAUSE)  # it may be long: a container that was created waits for its start before
            fd, _ = _SHARED.unpack_from(shared)
        holder = os.pidfd_open(target)
        listener = process.take_descriptor(holder, fd - 1)
        peer.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
        _SHARED.pack_into(shared, 0, fd, 1)
    except OSError as error:
        _SHARED.pack_into(shared, 0, 1, -(error.errno or errno.EIO))
    finally:
        os._exit(0)


def hand_over(fd: int) -> None:
    """Let the messenger send the listener ``fd``. Raises ``OSError`` if it can't.

    Up to its word there is no system call here, for each might have to wait for that listener.
    """
    if not _messenger:
        raise OSError(errno.ENOTCONN, "nobody has connected to the seccomp listener")
    pid, shared = _messenger.pop()
    _SHARED.pack_into(shared, 0, fd + 1, 0)
    sent = 0
    while not sent:
        _, sent = _SHARED.unpack_from(shared)
    os.waitpid(pid, 0)
    os.close(fd)
    if sent < 0:
        raise OSError(-sent, os.strerror(-sent), "sending the seccomp listener")
