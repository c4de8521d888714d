"""A command on a terminal of its own: it is made in the container, and shown here or wherever its master is sent."""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import ExitStack, suppress

from buildlib.container.execution import _agents, _arguments, _leases, operation
from buildlib.container.run import RunResult, timed_out
from buildlib.errors import BuildlibError
from buildlib.linux.terminal import relay, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.container import WorkingContainer
    from buildlib.container.run import Request
    from buildlib.worker.client import Pending


def execute_on_terminal(container: WorkingContainer, wanted: Request) -> RunResult:
    """Run it; with ``tty=True`` on the terminal of this process, else its master goes to the socket ``tty``.

    Raises what :func:`~buildlib.container.execution.execute` does.
    """
    started = time.monotonic()
    ours, theirs = socket.socketpair()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        with ours, container.store.lease(*_leases(wanted)), ExitStack() as stack:
            args = _arguments(container, wanted, _agents(container.store, wanted, stack))
            args["size"] = _size_here()
            master_to = theirs.fileno() if wanted.tty is True else int(wanted.tty)
            pending = container.requests.submit(operation(wanted), args, (null, null, null, master_to))
            theirs.close()
            try:
                if wanted.tty is True:
                    _show(ours, pending)
                reply = pending.result()
            except BaseException:
                pending.cancel()
                with suppress(BuildlibError):
                    pending.result()
                raise
    finally:
        theirs.close()
        os.close(null)
    if reply["timed_out"]:
        raise timed_out(container, wanted, "")
    return RunResult(reply["exit_code"], duration=time.monotonic() - started)


def _size_here() -> tuple[int, int]:
    """(rows, columns) of whichever standard stream is a terminal, so that the command begins with them."""
    return next((size(fd) for fd in (0, 1, 2) if os.isatty(fd)), (0, 0))


def _show(ours: socket.socket, pending: Pending) -> None:
    """Sit in front of the terminal until the command has ended."""
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    poll.register(pending.fileno(), select.POLLIN)
    if ours.fileno() not in dict(poll.poll()):  # it came to no terminal; the answer says why
        return
    _, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    if fds:
        try:
            relay(fds[0], 0, 1, until=pending.fileno())
        finally:
            os.close(fds[0])
