"""The op that gives a command a terminal of its own: made inside, its master sent to whoever sits in front of it."""

from __future__ import annotations

import os

from buildlib.linux import mount, terminal
from buildlib.linux.beneath import IN_ROOT, open_in_root
from buildlib.oci.value import evolve, frozen
from buildlib.sandbox.ops import command, mounts
from buildlib.sandbox.target import mount_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildlib.sandbox.op import Op


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


def seated(ops: Iterable[Op], console: Console) -> Iterator[Op]:
    """The plan with a terminal for its command, which stays in the session of the terminal."""
    for op in ops:
        if isinstance(op, command.Supervise):
            yield evolve(op, own_session=False)
            continue
        yield op
        if isinstance(op, mounts.PivotRoot):
            yield console
