"""The far side of the worker: a loop that forks one child per request and sees that each of them ends.

It does no work itself, so it is always there to cancel and to clean up. One thread, no locks, nothing imported that
an operation that was asked for does not need.
"""

from __future__ import annotations

import _socket as socket
import contextlib
import gc
import os
import select
import signal
import time
from importlib import import_module

from buildlib.errors import WorkerError
from buildlib.linux import namespaces
from buildlib.worker import birth, operations, wire
from buildlib.worker.child import Child
from buildlib.worker.request import finish, perform, perform_contained
from buildlib.worker.tier import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Server:
    """The worker's loop; see :func:`serve`."""

    def __init__(self, control: socket.socket, client: int, root: str) -> None:
        self.control = control
        self.root = root
        self.client = os.pidfd_open(client)
        birth.in_user_namespace()  # once here is never again in a child
        self.children: list[Child] = []
        self.watched: dict[int, Callable[[], None]] = {}
        """What to do when a descriptor has something to say."""
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        self.poll.register(self.client, select.POLLIN)

    def run(self) -> None:
        """Until the client is gone; then kill what is left."""
        try:
            while self._turn():
                pass
        finally:
            for child in self.children:
                child.kill()
            for child in self.children:
                child.wait()

    def _turn(self) -> bool:
        ready = [fd for fd, _ in self.poll.poll(self._until_deadline())]
        if self.client in ready:
            return False
        for fd, then in [(fd, self.watched.get(fd)) for fd in ready]:
            # An earlier one may have closed this descriptor, and opened another of that number.
            if then is not None and self.watched.get(fd) is then:
                then()
        for child in self.children:
            if child.deadline is not None and time.monotonic() >= child.deadline:
                child.overdue()
        if self.control.fileno() in ready:  # last, so that no descriptor is a new one's by now
            heard = wire.hear(self.control)
            if heard is None:
                return False
            self._take(*heard)
        return True

    def _until_deadline(self) -> float | None:
        deadlines = [child.deadline for child in self.children if child.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1 if deadlines else None

    def _watch(self, fd: int, event: int, then: Callable[[], None]) -> None:
        self.watched[fd] = then
        self.poll.register(fd, event)

    def _unwatch(self, fd: int) -> None:
        if self.watched.pop(fd, None) is not None:
            self.poll.unregister(fd)

    def _take(self, name: str, sock: socket.socket | None) -> None:
        """Import what the operation needs, here where it stays imported, then fork the child that does it."""
        with contextlib.suppress(Exception):  # the child finds the same and reports it
            operations.find(name)
            if current().driver == "fuse" and name in operations.PRIVATE | operations.CONTAINED:
                import_module("buildlib.snapshot.fuse.process")
            gc.freeze()
        if sock is None:
            return
        try:
            child = self._contained(name, sock) if name in operations.CONTAINED else self._plain(name, sock)
        except OSError as error:  # no process or no namespace more: that is this client's misfortune alone
            self._answer(sock, {"error": WorkerError(f"{name}: no process for it: {error.strerror}").to_dict()})
            return
        self._watch(sock.fileno(), select.POLLRDHUP, lambda: self._cancel(child))
        self._follow(child)

    def _plain(self, name: str, sock: socket.socket) -> Child:
        pid = self._fork()
        if pid == 0:
            perform(sock, self.root, name)
        return Child(pid, sock)

    def _contained(self, name: str, sock: socket.socket) -> Child:
        ours, theirs = socket.socketpair()
        try:
            # One that stays beside its command makes the pid namespace for that itself.
            pid = self._fork(contained=not operations.stays(name))
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            perform_contained(sock, theirs, self.root, name)
        theirs.close()
        child = Child(pid, sock, ours)
        self._watch(ours.fileno(), select.POLLIN, lambda: self._hear(child))
        return child

    @staticmethod
    def _answer(sock: socket.socket, answer: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # nobody waits for it
            sock.setblocking(False)
            wire.send(sock, answer)
        sock.close()

    @staticmethod
    def _fork(*, contained: bool = False) -> int:
        # A child that is cancelled before it has a handler shall not miss it: it unblocks the signal when it has one.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        pid = -1
        try:
            pid = namespaces.fork_into(namespaces.NEWPID) if contained else os.fork()
        finally:
            if pid != 0:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        return pid

    def _follow(self, child: Child) -> None:
        self.children.append(child)
        self._watch(child.pidfd, select.POLLIN, lambda: self._finish(child))

    def _hear(self, child: Child) -> None:
        assert child.notes is not None
        if not child.hear():
            self._unwatch(child.notes.fileno())

    def _cancel(self, child: Child) -> None:
        self._unwatch(child.sock.fileno())
        child.cancel()

    def _finish(self, child: Child) -> None:
        self.children.remove(child)
        self._unwatch(child.pidfd)
        self._unwatch(child.sock.fileno())
        if child.notes is not None:
            self._unwatch(child.notes.fileno())
        answer = child.reap()
        after = child.started.get("after")
        if answer is None:
            child.sock.close()
        elif after is None or not self._clear(child, after, answer):
            self._answer(child.sock, answer)

    def _clear(self, child: Child, after: dict[str, Any], answer: dict[str, Any]) -> bool:
        """Let another child clear away what this one left, and answer then. False if there can't be one."""
        try:
            pid = self._fork()
        except OSError:
            return False
        if pid == 0:
            finish(child.sock, self.root, after, answer)
        self._follow(Child(pid, child.sock))
        return True


def serve(control: socket.socket, client: int, root: str) -> None:
    """Serve requests from ``control`` for the store at ``root``, until the process ``client`` is gone or hangs up."""
    try:
        server = Server(control, client, root)
    except ProcessLookupError:
        return
    server.run()
