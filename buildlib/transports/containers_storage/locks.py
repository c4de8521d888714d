"""The lock files of containers/storage: record locks, and the mark of the last writer in the file itself.

Other programs take them with fcntl(2)'s F_SETLK. Those locks belong to a whole process and go when it closes *any*
descriptor of the file; the locks of open file descriptions (F_OFD_SETLK) exclude them just as well and have neither
trouble, so that threads exclude each other too.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildlib.errors import TransportError, from_os_error

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLOCK = struct.Struct("@hhqqi0q")
"""``struct flock``: type, whence, start, length (0: to the end), and a pid, which must be 0."""
_MARK = struct.Struct("<QQI44s")
"""What ends up in the file (pkg/lockfile, lastwrite.go): nanoseconds, a counter, the pid, chance; 64 bytes in all."""
_numbers = itertools.count(1)


class Lock:
    """A lock file that is held."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def written(self) -> None:
        """Leave a new mark. To be called before the list is written, so that no crash hides what was written."""
        mark = _MARK.pack(time.time_ns(), next(_numbers), os.getpid(), os.urandom(44))
        if os.pwrite(self._fd, mark, 0) != len(mark):
            raise TransportError("no space for the mark of the last writer")


@contextmanager
def locked(path: str, *, shared: bool = False) -> Iterator[Lock]:
    """Hold the lock file ``path``, which is made if it is missing; wait until others let go.

    To share it with other readers takes no right to write: a lock file that is missing then needs no lock.
    """
    try:
        fd = _open(path, shared)
    except OSError as error:
        raise from_os_error(error, f"locking {path}") from error
    if fd is None:
        yield Lock(-1)
        return
    try:
        _set(fd, fcntl.F_RDLCK if shared else fcntl.F_WRLCK)
        yield Lock(fd)
    finally:
        _set(fd, fcntl.F_UNLCK)  # a child that was forked meanwhile must not go on holding it
        os.close(fd)


def _open(path: str, shared: bool) -> int | None:
    if shared:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _set(fd: int, kind: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))
