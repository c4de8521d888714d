"""The socket on which the master of a terminal travels, from the container's process to who sits in front of it."""

from __future__ import annotations

import os

from buildlib.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket


def connect(path: str) -> socket.socket:
    """The socket at ``path``, on which the engine waits for the master. Raises :class:`SandboxError`."""
    import socket

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Longer paths than fit into an address are reached through the descriptor of their directory.
        directory, name = os.path.split(path)
        fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{fd}/{name}" if len(os.fsencode(path)) > 100 else path)
        finally:
            os.close(fd)
    except OSError as error:
        sock.close()
        raise SandboxError(f"--console-socket {path}: {error.strerror}", errno=error.errno) from error
    return sock


def receive(sock: socket.socket) -> int:
    """The master that :class:`Console` sent. Raises :class:`SandboxError` if nothing comes."""
    import socket

    _, fds, _, _ = socket.recv_fds(sock, 4096, 1)
    if not fds:
        raise SandboxError("the process has sent no terminal")
    os.set_inheritable(fds[0], False)
    return fds[0]
