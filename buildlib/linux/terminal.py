"""Pseudo-terminals: making a pair in a given devpts, sizes, raw mode, and sitting in front of one.

Structures and numbers are those of ioctl_tty(2) and termios(3).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIOCSCTTY = 0x540E
_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441
_PTMX = os.makedev(5, 2)


def open_pair(ptmx: int) -> tuple[int, int]:
    """A new terminal: (master, slave), from the open ``ptmx`` of any devpts, which becomes the master.

    The slave is opened through its master (TIOCGPTPEER, Linux 4.13), by no path that somebody could have replaced.
    Raises ``OSError``: EINVAL if ``ptmx`` is something else.
    """
    status = os.fstat(ptmx)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
        raise OSError(errno.EINVAL, "not the multiplexer of pseudo-terminals")
    fcntl.ioctl(ptmx, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(ptmx, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return ptmx, slave


def set_controlling(fd: int) -> None:
    """Make ``fd`` the controlling terminal of this process, which leads a session that has none (TIOCSCTTY)."""
    fcntl.ioctl(fd, _TIOCSCTTY, 0)


def size(fd: int) -> tuple[int, int]:
    """(rows, columns) of the terminal ``fd``; zeros where nobody has said."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, _TIOCGWINSZ, bytes(8)))
    return rows, columns


def set_size(fd: int, rows: int, columns: int) -> None:
    """Say how large the terminal ``fd`` is; its foreground processes get SIGWINCH if that is new."""
    fcntl.ioctl(fd, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def make_raw(fd: int) -> list[Any]:
    """Let the terminal ``fd`` pass every byte on as it is (cfmakeraw(3)); returns what :func:`restore` takes."""
    import termios
    import tty

    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSANOW)
    return before


def restore(fd: int, before: list[Any]) -> None:
    """Undo :func:`make_raw`, once what was written has been seen."""
    import termios

    termios.tcsetattr(fd, termios.TCSADRAIN, before)


def relay(master: int, given: int, shown: int, *, detach: bytes = b"", until: int | None = None) -> bool:
    """Pass bytes between a terminal's ``master`` and the streams ``given`` and ``shown``, until nobody is behind it.

    Where ``given`` is a terminal, it is raw meanwhile, and the other has its size, also when that changes. The bytes
    ``detach`` typed one after the other end it, too, and then the result is True. ``until`` is a descriptor that is
    readable when all is over: what is left to be shown is shown then, though somebody may still be behind the master.

    It sets a handler for SIGWINCH, so it is for a main thread. Raises ``OSError`` if the output goes nowhere.
    """
    with _Raw(master, given) as raw:
        poll = select.poll()
        poll.register(master, select.POLLIN)
        for fd in (given, until, raw.resized):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        keys = _Keys(detach)
        while True:
            ready = dict(poll.poll())
            if raw.resized in ready:
                os.read(raw.resized, 64)
                raw.fit()
            if given in ready and not _typed(given, master, keys, poll):
                return True
            if master in ready:
                if not _copy(master, shown):
                    return False
            elif until in ready:
                return False


def _typed(given: int, master: int, keys: _Keys, poll: select.poll) -> bool:
    """Pass on what was typed; False after the keys that detach."""
    try:
        data = os.read(given, 4096)
    except OSError:
        data = b""
    if not data:  # nobody types any more; what is behind the terminal may go on
        poll.unregister(given)
        _write(master, b"\x04")
        return True
    passed = keys.feed(data)
    _write(master, passed or b"")
    return passed is not None


def _copy(master: int, shown: int) -> bool:
    try:
        data = os.read(master, 1 << 16)
    except OSError as error:
        if error.errno != errno.EIO:  # the last process has closed its side
            raise
        return False
    _write(shown, data)
    return bool(data)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class _Keys:
    """Looks for a sequence of keys in what is typed."""

    def __init__(self, sequence: bytes) -> None:
        self.sequence = sequence
        self.held = 0
        """How many of them were typed last, and are not passed on yet."""

    def feed(self, data: bytes) -> bytes | None:
        """What is to be passed on; None once the sequence is complete."""
        passed = bytearray()
        for key in data:
            while self.held and key != self.sequence[self.held]:
                passed += self.sequence[: self.held]
                self.held = 0
            if self.sequence and key == self.sequence[self.held]:
                self.held += 1
                if self.held == len(self.sequence):
                    return None
            else:
                passed.append(key)
        return bytes(passed)


class _Raw:
    """Our own terminal while another is shown in it: raw, its size handed on; as it was, at the end."""

    def __init__(self, master: int, given: int) -> None:
        self.master = master
        self.given = given
        self.before: list[Any] | None = None
        self.resized, self._say = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __enter__(self) -> _Raw:
        import signal

        if os.isatty(self.given):
            # The descriptor is written to in the signal's own handler: one of Python's runs only once poll(2) is over,
            # which a signal just before it does not end.
            self.wakeup = signal.set_wakeup_fd(self._say, warn_on_full_buffer=False)
            self.handler = signal.signal(signal.SIGWINCH, lambda *_: None)
            self.fit()
            self.before = make_raw(self.given)
        return self

    def fit(self) -> None:
        """Give the other the size of ours."""
        rows, columns = size(self.given)
        if rows or columns:
            set_size(self.master, rows, columns)

    def __exit__(self, *_: object) -> None:
        import signal

        if self.before is not None:
            restore(self.given, self.before)
            signal.signal(signal.SIGWINCH, self.handler)
            signal.set_wakeup_fd(self.wakeup)
        os.close(self.resized)
        os.close(self._say)
