"""The near side of the worker: starting it, asking it, and being told. Usable from any thread."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing, suppress

from buildlib.errors import Cancelled, WorkerError, from_dict
from buildlib.worker.tier import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from collections.abc import Mapping, Sequence
    from typing import Any

    from buildlib.errors import BuildlibError
    from buildlib.worker.tier import Tier


def start(root: str, tier: Tier = ROOT) -> Worker:
    """Start the worker of the store at ``root``. It is forked where this process has one thread, else executed afresh.

    Raises :class:`WorkerError` if no process can be made.
    """
    from buildlib.worker import birth

    pid, control = birth.bear(os.path.abspath(root), tier)
    return Worker(pid, control)


class Worker:
    """A running worker. It ends with :meth:`close`, or when this process ends, however it ends."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self._control = control
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._status: int | None = None
        self._said: bytes | None = None

    def submit(self, op: str, args: Mapping[str, Any], fds: Sequence[int] = ()) -> Pending:
        """Have ``op`` done and go on. Descriptors are duplicated: the caller may close its own at once.

        Raises :class:`WorkerError` when the worker is gone.
        """
        import _socket as socket

        from buildlib.worker import wire

        ours, theirs = socket.socketpair()
        try:
            with closing(theirs):
                wire.announce(self._control, op, theirs)
            wire.send(ours, {"op": op, "args": dict(args)}, fds)
        except OSError as error:
            ours.close()
            raise self._gone(op) from error
        return Pending(self, op, ours)

    def call(self, op: str, args: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """Have ``op`` done and return its reply, or raise its error.

        :class:`KeyboardInterrupt` cancels it, waits for its end and goes on up.
        """
        return self.submit(op, args, fds).result()

    def warm(self, op: str) -> None:
        """Let the worker import what ``op`` needs while nobody waits for it. Never fails."""
        from buildlib.worker import wire

        try:
            wire.announce(self._control, op, None)
        except OSError:
            return

    def close(self) -> None:
        """End the worker with all that it runs and has mounted; returns when it is gone. A second call does nothing."""
        import _socket as socket

        if self._owner == os.getpid():  # a child that was forked from us only closes its copy
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
            self._wait(None)
        self._control.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, seconds: float | None) -> str:
        """Wait for the end of the process, for ever or so long; says how it ended, "" if it has not."""
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._lock:
            while self._status is None:
                try:
                    pid, status = os.waitpid(self.pid, 0 if deadline is None else os.WNOHANG)
                except ChildProcessError:  # somebody else has waited for all children
                    pid, status = self.pid, 0
                if pid:
                    self._status = status
                elif deadline is not None and time.monotonic() > deadline:
                    return ""
                else:
                    time.sleep(0.005)
        code = os.waitstatus_to_exitcode(self._status)
        return f"it was ended by signal {-code}" if code < 0 else f"it exited with {code}"

    def _gone(self, op: str) -> BuildlibError:
        # Its sockets close a moment before it can be waited for.
        how = self._wait(1.0) or "it does not answer"
        said = self._last_words()
        if said is not None:
            return said
        return WorkerError(f"{op}: the worker process {self.pid} is gone: {how}", hint="open the store again")

    def _last_words(self) -> BuildlibError | None:
        """Why the worker could not begin its life, where it came to saying so."""
        import _socket as socket
        import json

        with self._lock:
            if self._said is None:
                self._said = b""
                with suppress(OSError):
                    try:
                        self._said = self._control.recv(1 << 16, socket.MSG_DONTWAIT)
                    except ConnectionResetError:
                        # What it has not read is told first, then comes what it said (unix(7)).
                        self._said = self._control.recv(1 << 16, socket.MSG_DONTWAIT)
        return from_dict(json.loads(self._said)) if self._said else None


class Pending:
    """A request that was sent. Its answer is for one thread; any thread may cancel it."""

    def __init__(self, worker: Worker, op: str, sock: socket.socket) -> None:
        self._worker = worker
        self._op = op
        self._sock = sock
        self._cancelled = False
        self._reply: dict[str, Any] | None = None

    def fileno(self) -> int:
        """A descriptor that becomes readable when the answer is there; -1 once it was taken."""
        return self._sock.fileno()

    def result(self) -> dict[str, Any]:
        """Wait for the answer: the reply, or the error that the operation ended with is raised.

        After :meth:`cancel` it raises :class:`Cancelled`, once all processes of the request are dead.
        :class:`KeyboardInterrupt` cancels, waits for that and goes on up; a second one waits no more.
        """
        if self._reply is None:
            try:
                self._reply = self._receive()
            except KeyboardInterrupt:
                self.cancel()
                try:
                    self._receive()
                finally:
                    self._sock.close()
                raise
            self._sock.close()
        if "error" in self._reply:
            error = from_dict(self._reply["error"])
            if self._cancelled and isinstance(error, WorkerError):
                raise Cancelled(f"{self._op} was cancelled")
            raise error
        reply: dict[str, Any] = self._reply["reply"]
        return reply

    def _receive(self) -> dict[str, Any]:
        from buildlib.worker import wire

        try:
            message, fds = wire.receive(self._sock)
        except (OSError, wire.Broken, ValueError):
            return {"error": self._worker._gone(self._op).to_dict()}
        for fd in fds:
            os.close(fd)
        return message  # type: ignore[no-any-return]

    def cancel(self) -> None:
        """Let the request end at once, with every process that it started. Does not wait; see :meth:`result`."""
        import _socket as socket

        self._cancelled = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it is over already
