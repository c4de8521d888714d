"""A child at work on a request, as the server sees it: how far it is, when its time is over, what its answer is."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from buildlib.errors import Cancelled, WorkerError
from buildlib.worker import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from typing import Any

PATIENCE = 10.0
"""Seconds that a cancelled request has to clear away what it began."""


class Child:
    """How to wait for it, and the socket by which its client may hang up."""

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
        self.ending = False
        """Whether it was asked to kill what it started, and then to end."""

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
            self._signal(signal.SIGTERM)
            self.deadline = time.monotonic() + PATIENCE

    def overdue(self) -> None:
        """Its time is over."""
        if self.ending:  # it was asked to end and does not
            self.deadline = None
            self._signal(signal.SIGKILL)
            return
        self.deadline = None
        self.timed_out = bool(self.started)
        self.kill()

    def kill(self) -> None:
        """At once; with process 1 of a pid namespace, all others in there die. One that stays kills them itself."""
        if not self.started.get("stays") or self.ending:
            self._signal(signal.SIGKILL)
            return
        self.ending = True
        self.deadline = time.monotonic() + PATIENCE
        self._signal(signal.SIGTERM)

    def wait(self) -> None:
        """After :meth:`kill`: until it is dead."""
        if self.ending and not select.select([self.pidfd], [], [], PATIENCE)[0]:
            self._signal(signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # by descriptor: the pid may be another's already
            signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> dict[str, Any] | None:
        """The child is dead. Its answer, if that is left to us; None if it has given it itself."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if self.notes is not None:
            while self.hear():
                pass
            self.notes.close()
            for fd in self.held:
                os.close(fd)
        os.close(self.pidfd)
        if self.notes is not None and self.error is None and self.started:
            code = 128 - code if code < 0 else code
            return {"reply": {"exit_code": code, "timed_out": self.timed_out}}
        if self.error is not None and (self.notes is not None or code):
            return {"error": self.error}
        if code == 0:
            return None
        how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        return {"error": WorkerError(f"the process of the request {how}").to_dict()}
