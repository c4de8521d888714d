"""A network of its own for one run, with a way out: behind a pair of links, or behind a program in user space.

The process of the run stays in the network of its worker, and gets the new one as a descriptor. All that is made is
bound to that, or to a descriptor that somebody holds: nothing outlives the run, however it ends.
"""

from __future__ import annotations

import _socket as socket
import os

from buildlib.errors import SandboxError
from buildlib.linux import namespaces
from buildlib.linux.netlink import Socket, link_up
from buildlib.worker import wire
from buildlib.worker.birth import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LINK = "eth0"
"""What the command sees as its link to the world."""


class Network:
    """A network namespace that is ready: the descriptor of it, what holds it together, and how to take it away."""

    def __init__(self, namespace: int, hold: Sequence[int], leave: Callable[[], None]) -> None:
        self.namespace = namespace
        self.hold = tuple(hold)
        """Descriptors that have to be open as long as it is used."""
        self.leave = leave
        """To be called in this network when nobody uses the other any more."""

    @property
    def path(self) -> str:
        """A path of it, in this process and its children."""
        return f"/proc/self/fd/{self.namespace}"


def private() -> Network:
    """Make one, the best that is allowed here. Raises :class:`SandboxError` that says what is lacking."""
    from buildlib.worker.running import userspace

    namespace, inside = _new_namespace()
    with inside:
        if in_user_namespace():
            return userspace.connect(namespace, inside)
        from buildlib.worker.running import veth

        try:
            return veth.connect(namespace, inside)
        except SandboxError as error:
            if userspace.program() is None:
                raise SandboxError(f"{error}; {userspace.LACKING}", op=error.op, hint=userspace.INSTALL) from error
    # Another one: the first may be half furnished.
    os.close(namespace)
    namespace, inside = _new_namespace()
    with inside:
        return userspace.connect(namespace, inside)


def _new_namespace() -> tuple[int, Socket]:
    """A network namespace whose loopback is up, and a socket in there.

    A child makes it: without root there is no way back into the network of the host.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            _make_and_send(theirs)
        finally:
            os._exit(0)
    theirs.close()
    try:
        answer, fds = wire.receive(ours)
    except wire.Broken as error:
        raise SandboxError("unshare network: the process that should do it died", op="unshare network") from error
    finally:
        ours.close()
        os.waitpid(pid, 0)
    if not fds:
        what = "a network namespace of its own"
        raise SandboxError(f"{what}: {os.strerror(answer)}", op="unshare network", errno=answer)
    return fds[0], Socket(fileno=fds[1])


def _make_and_send(sock: socket.socket) -> None:
    try:
        namespaces.unshare(namespaces.NEWNET)
        inside = Socket()
        inside.ask(link_up(1))  # lo
        wire.send(sock, 0, (os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC), inside.fileno()))
    except OSError as error:
        wire.send(sock, error.errno)
