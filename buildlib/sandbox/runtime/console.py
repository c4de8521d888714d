"""The terminal of a container's process: made inside, its master sent to whoever will sit in front of it."""

from __future__ import annotations

import os

from buildlib.errors import SandboxError
from buildlib.linux import mount, terminal
from buildlib.linux.beneath import IN_ROOT, open_in_root
from buildlib.oci.value import frozen
from buildlib.sandbox.target import mount_point

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


@frozen
class Console:
    """A terminal from the container's own devpts, as the standard streams and as /dev/console."""

    socket: int
    """Where its master goes."""
    uid: int = 0
    """Whose it is."""
    height: int = 0
    width: int = 0
    bind: bool = True
    """Whether it is to be /dev/console, too."""

    def describe(self) -> str:
        """One line."""
        return "make a terminal"

    def execute(self) -> None:
        """Make it, send the master, sit down behind the slave."""
        from socket import send_fds, socket

        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                ptmx = open_in_root(root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, resolve=IN_ROOT)
            except FileNotFoundError:
                ptmx = open_in_root(root, "/dev/ptmx", os.O_RDWR | os.O_NOCTTY, resolve=IN_ROOT)
        finally:
            os.close(root)
        master, slave = terminal.open_pair(ptmx)
        if self.height or self.width:
            terminal.set_size(master, self.height, self.width)
        if self.uid:
            os.fchown(slave, self.uid, -1)
        if self.bind:
            _bind(slave)
        sock = socket(fileno=self.socket)
        send_fds(sock, [b"/dev/ptmx"], [master])
        sock.close()
        os.close(master)
        terminal.set_controlling(slave)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        os.close(slave)


def _bind(slave: int) -> None:
    """Show the slave at /dev/console, which is made where /dev is a file system of this container."""
    with mount_point("/", "/dev/console", directory=False) as spot:
        fd = mount.open_tree("", dir_fd=slave, recursive=False)
        try:
            mount.move_mount(fd, "", dir_fd=spot)
        finally:
            os.close(fd)
