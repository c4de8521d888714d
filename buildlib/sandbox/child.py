"""The process that becomes the command: it plugs in the standard streams, takes the steps of the plan and execs."""

from __future__ import annotations

import fcntl
import os

from buildlib.errors import BuildlibError, SandboxError
from buildlib.linux import process
from buildlib.linux.signals import signal
from buildlib.sandbox.program import NotRunnable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from buildlib.sandbox.op import Op


def become(
    ops: Sequence[Op], stdio: tuple[int, int, int], keep: int, report: Callable[[int, dict[str, Any]], object]
) -> NoReturn:
    """Execute ``ops``; the last one is the command. It never returns.

    The descriptor ``keep`` stays open until the exec. If there is none, it is given to ``report`` together with the
    reason, the data of an error; but not for a command that can't be started: why stands on its standard error then,
    and the exit code is what a shell would exit with.
    """
    code = 125
    try:
        detach()
        keep = _plug_in(stdio, keep)
        for op in ops:
            step(op)
    except NotRunnable as failure:
        code = failure.code
        _print(f"Error: {failure.message}\n")
    except BuildlibError as error:
        report(keep, error.to_dict())
    except BaseException as error:  # nothing may unwind into the frames of the parent
        failed = SandboxError(f"setting up the sandbox: {type(error).__name__}: {error}")
        report(keep, failed.to_dict())
    finally:
        os._exit(code)


def step(op: Op) -> None:
    """Execute one op. Raises :class:`BuildlibError` that quotes its description, or :class:`NotRunnable`."""
    try:
        op.execute()
    except OSError as error:
        what = f" ({error.filename})" if error.filename and str(error.filename) not in op.describe() else ""
        message = f"{op.describe()}: {error.strerror}{what}"
        raise SandboxError(message, op=op.describe(), errno=error.errno) from error


def detach() -> None:
    """A session of its own, as runc does: no controlling terminal to read from or to push characters into.

    And no signal is ignored or blocked, whatever the caller did.
    """
    if os.getsid(0) != os.getpid():
        os.setsid()
    for number in range(1, signal.SIGSYS + 1):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _plug_in(stdio: tuple[int, int, int], keep: int) -> int:
    """Make ``stdio`` the descriptors 0, 1, 2 and let all others close at exec; returns where ``keep`` is now."""
    # First out of the way: one of them may be where another must go.
    keep = fcntl.fcntl(keep, fcntl.F_DUPFD_CLOEXEC, 3)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in stdio]
    for target, fd in enumerate(high):
        os.dup2(fd, target)
        os.close(fd)
    process.close_from(3, on_exec=True)
    return keep


def _print(text: str) -> None:
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return  # nobody listens any more; the exit code still tells
