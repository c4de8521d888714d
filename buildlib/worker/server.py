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
import socket
import time
from typing import TYPE_CHECKING, Any

from buildlib.errors import Cancelled, WorkerError
from buildlib.linux import namespaces
from buildlib.worker import operations, wire
from buildlib.worker.request import finish, perform, perform_contained

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0
"""Seconds that a cancelled request has to clear away what it began."""


class Request:
    """A child at work: how to wait for it, and the socket by which its client may hang up."""

    def __init__(self, pid: int, sock: socket.socket, notes: socket.socket | None = None) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.sock = sock
        self.notes = notes
        """Where a contained child says how it goes; the answer is ours to give."""
        self.started: dict[str, Any] = {}
        self.error: dict[str, Any] | None = None
        self.held: tuple[int, ...] = ()
        self.deadline: float | None = None
        self.timed_out = False
        self.cancelled = False

    def hear(self) -> bool:
        """Take a note; False when there are no more."""
        assert self.notes is not None
        try:
            note, fds = wire.receive(self.notes)
        except (OSError, wire.Broken):
            return False
        self.held += fds
        self.error = note.get("error", self.error)
        if "started" in note:
            self.started = note["started"]
            if self.cancelled:
                self.kill()
            elif self.started["timeout"] is not None:
                self.deadline = time.monotonic() + self.started["timeout"]
        return True

    def cancel(self) -> None:
        """The client hung up: end the child; one that may have begun something is asked to clear it away."""
        self.cancelled = True
        self.error = Cancelled("the request was cancelled").to_dict()
        if self.started:
            self.kill()
        else:
            os.kill(self.pid, signal.SIGTERM)
            self.deadline = time.monotonic() + PATIENCE

    def overdue(self) -> None:
        """Its time is over."""
        self.deadline = None
        self.timed_out = bool(self.started)
        self.kill()

    def kill(self) -> None:
        """At once; with process 1 of a pid namespace, all others in there die."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> dict[str, Any] | None:
        """The child is dead. Its answer, if that is left to us; None if it has given it itself."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        code = os.waitstatus_to_exitcode(status)
        if self.notes is not None:
            while self.hear():
                pass
            self.notes.close()
            for fd in self.held:
                os.close(fd)
            if self.error is None and self.started:
                code = 128 - code if code < 0 else code
                return {"reply": {"exit_code": code, "timed_out": self.timed_out}}
        if self.error is not None and (self.notes is not None or code):
            return {"error": self.error}
        if code == 0:
            return None
        how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        return {"error": WorkerError(f"the process of the request {how}").to_dict()}


class Server:
    """The worker's loop; see :func:`serve`."""

    def __init__(self, control: socket.socket, client: int, root: str) -> None:
        self.control = control
        self.root = root
        self.client = os.pidfd_open(client)
        self.home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.requests: list[Request] = []
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
            for request in self.requests:
                request.kill()
            for request in self.requests:
                os.waitpid(request.pid, 0)

    def _turn(self) -> bool:
        ready = [fd for fd, _ in self.poll.poll(self._until_deadline())]
        if self.client in ready:
            return False
        for fd, then in [(fd, self.watched.get(fd)) for fd in ready]:
            # An earlier one may have closed this descriptor, and opened another of that number.
            if then is not None and self.watched.get(fd) is then:
                then()
        for request in self.requests:
            if request.deadline is not None and time.monotonic() >= request.deadline:
                request.overdue()
        if self.control.fileno() in ready:  # last, so that no descriptor is a new one's by now
            heard = wire.hear(self.control)
            if heard is None:
                return False
            self._take(*heard)
        return True

    def _until_deadline(self) -> float | None:
        deadlines = [r.deadline for r in self.requests if r.deadline is not None]
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
            gc.freeze()
        if sock is None:
            return
        if name in operations.CONTAINED:
            ours, theirs = socket.socketpair()
            pid = self._fork(contained=True)
            if pid == 0:
                perform_contained(sock, theirs, self.root, name)
            theirs.close()
            request = Request(pid, sock, ours)
            self._watch(ours.fileno(), select.POLLIN, lambda: self._hear(request))
        else:
            pid = self._fork()
            if pid == 0:
                perform(sock, self.root, name)
            request = Request(pid, sock)
        self._watch(sock.fileno(), select.POLLRDHUP, lambda: self._cancel(request))
        self._follow(request)

    def _fork(self, *, contained: bool = False) -> int:
        # A child that is cancelled before it has a handler shall not miss it: it unblocks the signal when it has one.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        pid = -1
        try:
            if contained:
                namespaces.unshare(namespaces.NEWPID)
            pid = os.fork()
        finally:
            if pid != 0:
                if contained:  # only the child is in there; the next one gets another
                    namespaces.setns(self.home, namespaces.NEWPID)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        return pid

    def _follow(self, request: Request) -> None:
        self.requests.append(request)
        self._watch(request.pidfd, select.POLLIN, lambda: self._finish(request))

    def _hear(self, request: Request) -> None:
        assert request.notes is not None
        if not request.hear():
            self._unwatch(request.notes.fileno())

    def _cancel(self, request: Request) -> None:
        self._unwatch(request.sock.fileno())
        request.cancel()

    def _finish(self, request: Request) -> None:
        self.requests.remove(request)
        self._unwatch(request.pidfd)
        self._unwatch(request.sock.fileno())
        if request.notes is not None:
            self._unwatch(request.notes.fileno())
        answer = request.reap()
        after = request.started.get("after")
        if answer is not None and after:
            pid = self._fork()
            if pid == 0:
                finish(request.sock, self.root, after, answer)
            self._follow(Request(pid, request.sock))
            return
        if answer is not None:
            with contextlib.suppress(OSError):  # nobody waits for it
                request.sock.setblocking(False)
                wire.send(request.sock, answer)
        request.sock.close()


def serve(control: socket.socket, client: int, root: str) -> None:
    """Serve requests from ``control`` for the store at ``root``, until the process ``client`` is gone or hangs up."""
    try:
        server = Server(control, client, root)
    except ProcessLookupError:
        return
    server.run()
