"""Starting a sandbox, waiting for it and ending it: no process of it is left when :func:`launch` comes back."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time

from buildlib.errors import Cancelled, SandboxError, from_dict
from buildlib.linux import namespaces, process
from buildlib.sandbox.child import become
from buildlib.sandbox.plan import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.oci.runtime import RuntimeSpec
    from buildlib.sandbox.op import Op

_REPORT_LIMIT = 1 << 16


def launch(
    spec: RuntimeSpec,
    rootfs: str,
    *,
    stdio: tuple[int, int, int] = (0, 1, 2),
    cancel_fd: int | None = None,
    timeout: float | None = None,
    own_init: bool = True,
) -> int:
    """Run ``spec`` in the directory ``rootfs`` and return the exit code of its command.

    That is 127 for a command that is not found, 126 for one that can't be executed (why stands on its standard
    error), 128 + n where signal n ended it. Seconds of ``timeout`` over: :class:`TimeoutError`. The peer of the socket
    or pipe ``cancel_fd`` hung up: :class:`Cancelled`. In all cases every process of the pid namespace is dead and
    reaped before. Without ``own_init`` the command itself is process 1 of the namespace.

    It is called by a process of its own with one thread, since it may leave that process in other namespaces for
    children (a second call from the same process fails). Raises :class:`SandboxError` if the kernel refuses a step.
    """
    own_pids = any(n.type == "pid" and not n.path for n in (spec.linux.namespaces if spec.linux else ()))
    ops = plan(spec, rootfs, own_init=own_init and own_pids)
    sandbox = Sandbox.start(ops, stdio, own_pids=own_pids)
    try:
        sandbox.wait(cancel_fd, None if timeout is None else time.monotonic() + timeout)
    finally:
        code = sandbox.end()
    return code


class Sandbox:
    """A sandbox that was started: its first process, by pid and by descriptor, and what it reported."""

    def __init__(self, pid: int, report: int, *, own_pids: bool) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.report = report
        self.own_pids = own_pids
        self.said = b""

    @classmethod
    def start(cls, ops: Sequence[Op], stdio: tuple[int, int, int], *, own_pids: bool) -> Sandbox:
        """Fork the child that takes the steps ``ops``, as process 1 of a new pid namespace with ``own_pids``."""
        if own_pids:
            try:
                namespaces.unshare(namespaces.NEWPID)
            except OSError as error:
                raise SandboxError(f"unshare pid: {error.strerror}", op="unshare pid", errno=error.errno) from error
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _follow_parent(writer)
            become(ops, stdio, writer, lambda fd, error: os.write(fd, json.dumps(error).encode()))
        os.close(writer)
        return cls(pid, reader, own_pids=own_pids)

    def wait(self, cancel_fd: int | None, deadline: float | None) -> None:
        """Until the first process is over. Raises :class:`TimeoutError`, :class:`Cancelled`, and leaves it running."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        poll.register(self.report, select.POLLIN)
        if cancel_fd is not None:
            poll.register(cancel_fd, select.POLLRDHUP)
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            for fd, _ in poll.poll(None if left is None else min(left, 1 << 20) * 1000):
                if fd == self.pidfd:
                    return
                if fd == cancel_fd:
                    raise Cancelled("the run was cancelled")
                if not self._read():
                    poll.unregister(self.report)

    def _read(self) -> bool:
        data = os.read(self.report, _REPORT_LIMIT)
        self.said += data
        return bool(data)

    def end(self) -> int:
        """Kill what is left, reap it and return the exit code. Raises the error that the child reported."""
        with contextlib.suppress(ProcessLookupError):
            if self.own_pids:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            else:
                os.killpg(self.pid, signal.SIGKILL)
        # When process 1 of a pid namespace is reaped, the kernel has killed and reaped all others before.
        _, status = os.waitpid(self.pid, 0)
        while len(self.said) < _REPORT_LIMIT and self._read():
            pass
        os.close(self.pidfd)
        os.close(self.report)
        if self.said:
            raise from_dict(json.loads(self.said))
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _follow_parent(writer: int) -> None:
    """In the child: die when the parent does, even if it just did."""
    process.die_with_parent()
    poll = select.poll()
    poll.register(writer, 0)
    if poll.poll(0):  # nobody reads: the parent was gone before it could take us with it
        os._exit(125)
