"""A command on a terminal: this process sits in front of it, another one runs it, so that one can walk away."""

from __future__ import annotations

import os
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = {"@": 0, "[": 27, "]": 29, "^": 30, "_": 31}


def keys(text: str) -> bytes:
    """The bytes of ``ctrl-p,ctrl-q``: single characters, or ctrl- and one of a to z, @, [, ], ^ or _; "" is none.

    Raises :class:`UsageError`.
    """
    from buildlib.errors import UsageError

    found = bytearray()
    for word in text.split(",") if text else ():
        held = word.lower().removeprefix("ctrl-")
        if held != word.lower() and len(held) == 1 and "a" <= held <= "z":
            found.append(ord(held) - ord("a") + 1)
        elif held != word.lower() and held in _NAMES:
            found.append(_NAMES[held])
        elif len(word) == 1 and word.isascii():
            found.append(ord(word))
        else:
            raise UsageError(f"unknown key {word!r} in --detach-keys", hint="write them as ctrl-p,ctrl-q")
    return bytes(found)


def in_front(work: Callable[[int], int], detach: str, told: Callable[[Exception], int]) -> int:
    """Do ``work`` in another process and show its terminal here: its exit code, or 0 once the keys were typed.

    ``work`` gets a socket that takes the master of the terminal, as ``tty`` of :meth:`WorkingContainer.run`; what it
    raises becomes an exit code through ``told``. ``detach`` is written ``ctrl-p,ctrl-q``, or "" for none. The process
    that calls it has one thread and no store open. Raises :class:`UsageError` for keys that there are not.
    """
    sequence = keys(detach)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os._exit(_behind(work, theirs, told))
    theirs.close()
    ended = os.pidfd_open(pid)
    master = _master(ours, ended)
    if master is not None:
        from buildlib.linux.terminal import relay

        if relay(master, 0, 1, detach=sequence, until=ended):
            if os.fork() == 0:
                ours.close()
                _drain(master)
            return 0
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _behind(work: Callable[[int], int], theirs: socket.socket, told: Callable[[Exception], int]) -> int:
    """In the process behind: what the terminal of the one in front sends to its processes is not for us."""
    import sys

    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    try:
        return work(theirs.fileno())
    except Exception as error:
        return 1 if _alone(theirs) else told(error)  # nobody may sit there any more
    finally:
        sys.stderr.flush()


def _alone(theirs: socket.socket) -> bool:
    poll = select.poll()
    poll.register(theirs, select.POLLRDHUP)
    return bool(poll.poll(0))


def _master(ours: socket.socket, ended: int) -> int | None:
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    poll.register(ended, select.POLLIN)
    poll.poll()
    ours.setblocking(False)
    try:
        _, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    except BlockingIOError:
        return None
    return fds[0] if fds else None


def _drain(master: int) -> None:
    """Hold the terminal and let its output go nowhere, until nobody is behind it any more."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    try:
        while os.read(master, 1 << 16):
            pass
    finally:
        os._exit(0)
