"""The far side of the worker: a loop that forks one child per request and sees that each of them ends.

It does no work itself, so it is always there to cancel and to clean up. One thread, no locks, nothing imported that
an operation that was asked for does not need.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from buildlib.errors import WorkerError
from buildlib.linux import namespaces
from buildlib.worker import operations, wire

if TYPE_CHECKING:
    import socket

PATIENCE = 10.0
"""Seconds that a cancelled request has to clear away what it began."""


class Request:
    """A child at work: how to wait for it, and the socket by which its client may hang up."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.sock = sock
        self.deadline: float | None = None

    def cancel(self) -> None:
        """The client hung up: ask the child to end, and remember until when it has to."""
        os.kill(self.pid, signal.SIGTERM)
        self.deadline = time.monotonic() + PATIENCE

    def reap(self) -> None:
        """The child ended. If that was not by its own will, its client is told, who would wait for ever."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
            with contextlib.suppress(OSError):
                self.sock.setblocking(False)
                wire.send(self.sock, {"error": WorkerError(f"the process of the request {how}").to_dict()})
        self.sock.close()
        os.close(self.pidfd)


class Server:
    """The worker's loop; see :func:`serve`."""

    def __init__(self, control: socket.socket, client: int, root: str) -> None:
        self.control = control
        self.root = root
        self.client = os.pidfd_open(client)
        self.home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.by_pidfd: dict[int, Request] = {}
        self.by_sock: dict[int, Request] = {}
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        self.poll.register(self.client, select.POLLIN)

    def run(self) -> None:
        """Until the client is gone; then kill what is left."""
        try:
            while self._turn():
                pass
        finally:
            for request in self.by_pidfd.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(request.pid, signal.SIGKILL)
            for request in self.by_pidfd.values():
                os.waitpid(request.pid, 0)

    def _turn(self) -> bool:
        for fd, _ in self.poll.poll(self._until_deadline()):
            if fd == self.client:
                return False
            if fd == self.control.fileno():
                heard = wire.hear(self.control)
                if heard is None:
                    return False
                self._take(*heard)
            elif fd in self.by_pidfd:
                self._finish(self.by_pidfd[fd])
            elif fd in self.by_sock:
                self.poll.unregister(fd)
                self.by_sock[fd].cancel()
        for request in self.by_pidfd.values():
            if request.deadline is not None and time.monotonic() >= request.deadline:
                request.deadline = None
                os.kill(request.pid, signal.SIGKILL)
        return True

    def _until_deadline(self) -> float | None:
        deadlines = [r.deadline for r in self.by_pidfd.values() if r.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1 if deadlines else None

    def _take(self, name: str, sock: socket.socket | None) -> None:
        """Import what the operation needs, here where it stays imported, then fork the child that does it."""
        with contextlib.suppress(Exception):  # the child finds the same and reports it
            operations.find(name)
            gc.freeze()
        if sock is None:
            return
        pid = self._fork(contained=name in operations.CONTAINED)
        if pid == 0:
            from buildlib.worker.request import perform

            perform(sock, self.root, name)
        request = Request(pid, sock)
        self.by_pidfd[request.pidfd] = self.by_sock[sock.fileno()] = request
        self.poll.register(request.pidfd, select.POLLIN)
        self.poll.register(sock, select.POLLRDHUP)

    def _fork(self, *, contained: bool) -> int:
        if not contained:
            return os.fork()
        namespaces.unshare(namespaces.NEWPID)
        try:
            return os.fork()
        finally:
            # Only the child is in there; the next one gets another.
            namespaces.setns(self.home, namespaces.NEWPID)

    def _finish(self, request: Request) -> None:
        del self.by_pidfd[request.pidfd], self.by_sock[request.sock.fileno()]
        self.poll.unregister(request.pidfd)
        with contextlib.suppress(KeyError):  # a cancelled one is not watched any more
            self.poll.unregister(request.sock)
        request.reap()


def serve(control: socket.socket, client: int, root: str) -> None:
    """Serve requests from ``control`` for the store at ``root``, until the process ``client`` is gone or hangs up."""
    try:
        server = Server(control, client, root)
    except ProcessLookupError:
        return
    server.run()
