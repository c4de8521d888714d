"""The process that serves one overlay in user space, from its mount to its end: nobody else's thread, loop or files.

It ends when the file system is unmounted, and then all that was written is in the upper.
"""

from __future__ import annotations

import os
import signal
import sys
from types import ModuleType

import pyfuse3

from buildlib.linux import mount, process
from buildlib.linux.namespaces import mapped_ids
from buildlib.snapshot.fuse.operations import Operations
from buildlib.snapshot.fuse.stack import Stack
from buildlib.snapshot.fuse.upper import Upper
from buildlib.snapshot.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

DEVICE = "/dev/fuse"
_READ_AHEAD = 1024
"""KiB that the kernel may read in advance."""


def serve(
    place: str,
    lowers: Sequence[str],
    upper: str | None = None,
    work: str | None = None,
    *,
    userxattr: bool = False,
    attributes: int = 0,
    lasting: bool = False,
) -> int:
    """Mount an overlay of ``lowers``, topmost first, at ``place``; return the pid of the process that serves it.

    That is a child, which dies with this process unless it is to be ``lasting``: then it serves until it is unmounted,
    or in a user namespace, which nobody finds again, until the parent of this process is dead. ``attributes`` are
    ATTR_… bits of :mod:`buildlib.linux.mount`. Raises ``OSError``.
    """
    device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        # `allow_other`: whoever is in the container. In a user namespace the kernel lets in only those who are in it.
        options = (f"fd={device}", "rootmode=40000", "user_id=0", "group_id=0", "allow_other", "default_permissions")
        mounted = mount.new_mount("fuse", (*options, "subtype=buildlib"), attributes=attributes, source="buildlib")
        try:
            pid = os.fork()
            if pid == 0:
                _live(device, _stack(lowers, upper, work, userxattr=userxattr), lasting=lasting)
            mount.move_mount(mounted, place)
        finally:
            os.close(mounted)
    finally:
        os.close(device)
    _read_ahead(place)
    return pid


def _stack(lowers: Sequence[str], upper: str | None, work: str | None, *, userxattr: bool) -> Stack:
    below = [os.fsencode(lower) for lower in lowers]
    if upper is None or work is None:
        return Stack(below)
    own = f"{work}/fuse"
    remove_tree(own)
    os.mkdir(own, 0o700)
    return Upper(below, os.fsencode(upper), os.fsencode(own), userxattr=userxattr)


def _live(device: int, stack: Stack, *, lasting: bool) -> NoReturn:
    code = 1
    try:
        if not lasting:
            process.die_with_parent()
        elif mapped_ids() is not None:
            _follow(_grandparent())
        if os.getsid(0) != os.getpid():
            os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        process.close_all_but({2, device})
        process.set_name("buildlib-fuse")
        os.chdir("/")
        os.umask(0)
        _answer(device, stack)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _grandparent() -> int:
    with open(f"/proc/{os.getppid()}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])


def _follow(pid: int) -> None:
    """Look every second whether that process is alive; a signal interrupts the wait for questions."""
    alive = process.start_time(pid)

    def look(*_: object) -> None:
        if process.start_time(pid) != alive:
            os._exit(0)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)


def _answer(device: int, stack: Stack) -> None:
    """Answer until the file system is unmounted, one question after the other.

    pyfuse3 awaits two things: that the device has something to read, which reading it waits for anyway, and our
    handlers, which never wait. So its coroutines need no event loop, whose turns would take longer than the answers.
    """
    sys.modules["pyfuse3"].trio = _Straight("straight")  # type: ignore[attr-defined]
    pyfuse3.init(Operations(stack), f"/dev/fd/{device}", set())
    steps = pyfuse3.main(min_tasks=1, max_tasks=1)
    try:
        steps.send(None)
    except StopIteration:
        return
    raise RuntimeError("a handler waits")


class _Straight(ModuleType):
    """What pyfuse3 uses of trio, for coroutines that are simply run to their end."""

    ClosedResourceError = type("ClosedResourceError", (Exception,), {})

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.lowlevel = self

    class Lock:
        """Nobody else wants it."""

        async def __aenter__(self) -> None:
            """Taken."""

        async def __aexit__(self, *_: object) -> None:
            """Given back."""

    @staticmethod
    async def wait_readable(_: int) -> None:
        """Reading waits."""

    @staticmethod
    def current_trio_token() -> None:
        """There is none."""

    @staticmethod
    def current_task() -> object:
        """Something with a name."""
        return _Task

    @staticmethod
    def open_nursery() -> _Nursery:
        """For the one task."""
        return _Nursery()


class _Task:
    name = "overlay"


class _Nursery:
    """Runs its tasks one after the other, when it is left."""

    def __init__(self) -> None:
        self.tasks: list[object] = []

    async def __aenter__(self) -> _Nursery:
        return self

    def start_soon(self, task: object, *args: object, name: str | None = None) -> None:
        """Remember it."""
        self.tasks.append(task(self, *args[1:]) if callable(task) else task)

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            await task  # type: ignore[misc]


def _read_ahead(place: str) -> None:
    device = os.stat(place).st_dev
    try:
        fd = os.open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:  # not root of the machine
        return
    try:
        os.write(fd, str(_READ_AHEAD).encode())
    finally:
        os.close(fd)
