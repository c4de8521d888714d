"""The op by which a process stays beside the command that it starts, for what is to be done when all of it is dead."""

from __future__ import annotations

import contextlib
import os
import select
import signal

from buildlib.linux import namespaces, process
from buildlib.oci.value import frozen
from buildlib.sandbox.offspring import end_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


@frozen
class Stay:
    """Let a child take the steps that follow, and stay until it and all its children are dead; exit as it did.

    With ``own_pids`` the child is process 1 of a pid namespace. ``then`` is done before the end.
    """

    own_pids: bool
    then: Callable[[], object]
    besides: tuple[int, ...] = ()
    """Children that are none of the command's."""

    def describe(self) -> str:
        """One line."""
        return "stay beside a child" + (" in a pid namespace of its own" if self.own_pids else "")

    def execute(self) -> None:
        """It returns in the child only. SIGTERM kills the child."""
        if not self.own_pids:
            process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)  # who loses his parent shall become our child
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        parent = os.getpid()
        pid = namespaces.fork_into(namespaces.NEWPID) if self.own_pids else os.fork()
        if pid == 0:
            process.die_with_parent()
            if not self.own_pids and os.getppid() != parent:  # it died before it could take us with it
                os._exit(125)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            return
        code = 125
        try:
            code = self._stay(pid)
        finally:
            os._exit(code)

    def _stay(self, pid: int) -> int:
        process.die_with_parent(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *_: _kill(pid))
        # What is open here keeps file systems from being unmounted, and pipes from ending.
        process.close_from(0)
        for _ in range(3):
            os.open(os.devnull, os.O_RDWR)
        child = os.pidfd_open(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        while not select.select([child], [], [], None if self.own_pids else 5.0)[0]:
            _reap_others(pid)
        _, status = os.waitpid(pid, 0)
        os.close(child)
        if not self.own_pids:
            end_all(self.besides)
        self.then()
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _reap_others(pid: int) -> None:
    """Those that became our children and are dead, but not ``pid``, which is waited for elsewhere."""
    with contextlib.suppress(ChildProcessError):
        while True:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is None or dead.si_pid == pid:
                return
            os.waitpid(dead.si_pid, 0)
