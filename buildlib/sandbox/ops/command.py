"""The last ops: look at the command while everything may be read, then become it."""

from __future__ import annotations

import errno
import os

from buildlib.linux import process
from buildlib.oci.value import frozen
from buildlib.sandbox.program import NotRunnable, candidates, interpreter, vet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MANY = 4096
"""More descriptors than this process ever has open."""


@frozen
class Vet:
    """Make sure that the command is no door to the host, while we may still read every file."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line."""
        return f"vet {self.args[0]}"

    def execute(self) -> None:
        """Follow interpreters and loaders. Raises :class:`NotRunnable`."""
        for path in candidates(self.args[0], environment(self.env)):
            vet(path)


@frozen
class Execute:
    """Become the command, looked up through PATH of its own environment."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line."""
        return f"execute {' '.join(self.args)}"

    def execute(self) -> None:
        """execve(2). Raises :class:`NotRunnable`; else it does not return."""
        _start(os.execve, self.args, environment(self.env))


@frozen
class Supervise:
    """Start the command as process 2 and remain, as process 1 of the pid namespace, to reap what ends.

    As process 1 a command would not die of signals that it has no handler for (``kill -9 $$`` does nothing, abort()
    ends in a segmentation fault), so that its exit code would lie; and nobody would reap its orphans.
    (pid_namespaces(7))
    """

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    own_session: bool = True
    """Not where it has a terminal: that belongs to the session of process 1."""

    def describe(self) -> str:
        """One line."""
        return f"remain as init, execute {' '.join(self.args)}"

    def execute(self) -> None:
        """posix_spawn(3), which copies no memory. Raises :class:`NotRunnable`; else it does not return."""
        # This process is a copy of one of the host: what it shows of itself is nobody's business in there.
        process.hide_words()
        process.set_name("init")
        process.prctl(process.PR_SET_DUMPABLE, 0)
        command = _start(_spawn if self.own_session else os.posix_spawn, self.args, environment(self.env))
        try:
            _close_all()
            os._exit(_wait_for(command))
        finally:
            os._exit(125)


def _close_all() -> None:
    try:
        process.close_from(0)
    except OSError:  # a filter of system calls that does not know close_range(2)
        os.closerange(0, _MANY)


def _spawn(path: str, args: tuple[str, ...], env: dict[str, str]) -> int:
    return os.posix_spawn(path, args, env, setsid=True)


def _start(
    start: Callable[[str, tuple[str, ...], dict[str, str]], int], args: tuple[str, ...], env: dict[str, str]
) -> int:
    """Call ``start`` with one candidate after the other; its errors are those of execve(2)."""
    denied = None
    for path in candidates(args[0], env):
        try:
            return start(path, args, env)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                _explain_missing(path)
            elif error.errno == errno.EACCES:
                denied = denied or path
            else:
                raise _not_runnable(path, error) from None
        except ValueError as error:
            raise NotRunnable(126, f"{args[0]}: {error}") from None
    if denied is not None:
        what = "it is a directory" if os.path.isdir(denied) else "permission denied"
        raise NotRunnable(126, f"{denied}: {what}")
    if "/" in args[0]:
        raise NotRunnable(127, f"{args[0]}: no such file in the container")
    raise NotRunnable(127, f"{args[0]}: command not found in PATH of the container")


def _wait_for(command: int) -> int:
    """Reap everything that ends, until the command does: its exit code, 128 + n for signal n."""
    while True:
        pid, status = os.wait()
        if pid == command:
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def environment(pairs: tuple[str, ...]) -> dict[str, str]:
    """``("K=V", …)`` as a mapping; of equal names the last wins, words without "=" are dropped as by execvp(3)."""
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair[1:])


def _explain_missing(path: str) -> None:
    """ENOENT for a file that is there means that what should run it is not: say which."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError:
        if os.path.lexists(path):
            raise NotRunnable(127, f"{path}: its interpreter is missing in the container") from None
        return
    try:
        found = interpreter(fd)
        script = os.pread(fd, 2, 0) == b"#!"
    finally:
        os.close(fd)
    if found is not None:
        kind = "interpreter" if script else "loader"
        raise NotRunnable(127, f"{path}: its {kind} {found!r} is missing in the container")


def _not_runnable(path: str, error: OSError) -> NotRunnable:
    if error.errno == errno.ENOEXEC:
        return NotRunnable(126, f"{path}: not a program for this machine, and no script that starts with #!")
    return NotRunnable(126, f"{path}: {error.strerror}")
