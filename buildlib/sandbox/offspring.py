"""Ending every process below this one, where no pid namespace does it: found by their parents, stopped, then killed."""

from __future__ import annotations

import contextlib
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = 5.0
"""Seconds until those that come into being faster than they are found are given up."""


def end_all(besides: Iterable[int] = ()) -> None:
    """Kill and reap all children of this process and theirs, but for the children ``besides``.

    This process has to be a subreaper (PR_SET_CHILD_SUBREAPER of prctl(2)), so that who loses his parent becomes its
    child. All are stopped before the first is killed: what is stopped does not fork.
    """
    spared = set(besides)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        stopped: set[int] = set()
        while True:
            found = descendants(spared) - stopped
            if not found:
                break
            _signal(found, signal.SIGSTOP)
            stopped |= found
        if not stopped:
            return
        _signal(stopped, signal.SIGKILL)
        _reap(spared)


def descendants(spared: set[int]) -> set[int]:
    """All processes below this one that are not dead; those in ``spared`` and what is below them are left out."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            parent, dead = _parent(name)
            if not dead:
                children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), ()) if pid not in spared]
        found.update(below)
        waiting += below
    return found


def _parent(name: str) -> tuple[int, bool]:
    """The parent of a process, and whether it is dead (proc_pid_stat(5))."""
    try:
        fd = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0, True
    try:
        fields = os.read(fd, 4096).rpartition(b")")[2].split()
    except OSError:
        return 0, True
    finally:
        os.close(fd)
    return int(fields[1]), fields[0] in (b"Z", b"X")


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _reap(spared: set[int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is None:
                time.sleep(0.002)
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if dead is None:
                    return
            if dead.si_pid in spared:
                return
            os.waitpid(dead.si_pid, 0)
