"""Sitting in front of a process that was started here: its signals, its terminal, its end."""

from __future__ import annotations

import os

from buildlib.errors import UsageError
from buildlib.linux.signals import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.oci.runtime import Process

_NOT_PASSED_ON = (
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG,
    signal.SIGTTIN, signal.SIGTTOU, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH,
)  # fmt: skip


class Front:
    """Where the process's terminal is, if it has one."""

    def __init__(self, socket: int | None = None, ours: int | None = None, size: tuple[int, int] = (0, 0)) -> None:
        self.socket = socket
        """Where the process sends the master of its terminal."""
        self.size = size
        """(rows, columns) of ours, which the process begins with."""
        self._ours = ours

    def wait(self, pid: int) -> int:
        """Until the child ``pid`` ends: its exit code, 128 + n for signal n. What we are sent goes to it."""
        if self._ours is None:
            _pass_signals_on(pid)
            return _code(pid)
        from socket import socket

        from buildlib.linux.terminal import relay
        from buildlib.sandbox.runtime.console import receive

        with socket(fileno=self._ours) as sock:
            master = receive(sock)
        _pass_signals_on(pid)
        try:
            relay(master, 0, 1)
        finally:
            os.close(master)
        return _code(pid)


def open_front(process: Process | None, console_socket: str | None, *, detach: bool) -> Front:
    """The front for a process; it comes before the process is made. Raises :class:`UsageError`."""
    if process is None or not process.terminal:
        if console_socket:
            raise UsageError("cannot use a console socket if no terminal is asked for")
        return Front()
    if console_socket:
        from buildlib.sandbox.runtime.console import connect

        return Front(connect(console_socket).detach())
    if detach:
        raise UsageError("cannot allocate a terminal and detach without a console socket")
    from socket import socketpair

    ours, theirs = socketpair()
    from buildlib.linux.terminal import size

    return Front(theirs.detach(), ours.detach(), size(0) if os.isatty(0) else (0, 0))


def _pass_signals_on(pid: int) -> None:
    for number in range(1, signal.SIGSYS + 1):
        if number not in _NOT_PASSED_ON:
            signal.signal(number, lambda n, _: os.kill(pid, n))


def _code(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
