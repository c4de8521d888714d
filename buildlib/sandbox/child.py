"""The process that becomes the command: it plugs in the standard streams, takes the steps of the plan and execs."""

from __future__ import annotations

import json
import os
import select
import signal
from typing import TYPE_CHECKING

from buildlib.errors import BuildlibError, SandboxError
from buildlib.linux import process
from buildlib.sandbox.program import NotRunnable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from buildlib.sandbox.op import Op


def become(ops: Sequence[Op], stdio: tuple[int, int, int], report_fd: int) -> NoReturn:
    """Execute ``ops``; the last one is the command. Called right after fork(2); never returns.

    ``report_fd`` is closed by the exec. What is written to it says, as JSON, why there was none: the data of an
    error, or ``{"code": 127, "message": …}`` for a command that can't be started.
    """
    code = 125
    try:
        _detach(report_fd)
        report_fd = _plug_in(stdio, report_fd)
        for op in ops:
            _step(op)
    except NotRunnable as failure:
        # The message goes where the shell would print it, too.
        code = failure.code
        _write(2, f"Error: {failure.message}\n")
        _write(report_fd, json.dumps({"code": failure.code, "message": failure.message}))
    except BuildlibError as error:
        _write(report_fd, json.dumps(error.to_dict()))
    except BaseException as error:  # nothing may unwind into the frames of the parent
        failed = SandboxError(f"setting up the sandbox: {type(error).__name__}: {error}")
        _write(report_fd, json.dumps(failed.to_dict()))
    finally:
        os._exit(code)


def _step(op: Op) -> None:
    try:
        op.execute()
    except OSError as error:
        what = f" ({error.filename})" if error.filename and str(error.filename) not in op.describe() else ""
        message = f"{op.describe()}: {error.strerror}{what}"
        raise SandboxError(message, op=op.describe(), errno=error.errno) from error


def _detach(report_fd: int) -> None:
    """A session of its own, as runc does: no controlling terminal to read from or to push characters into."""
    process.die_with_parent()
    poll = select.poll()
    poll.register(report_fd, 0)
    if poll.poll(0):  # nobody reads: the parent died before it could take us with it
        os._exit(125)
    os.setsid()
    for number in range(1, signal.SIGSYS + 1):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _plug_in(stdio: tuple[int, int, int], report_fd: int) -> int:
    """Make ``stdio`` the descriptors 0, 1, 2 and let all others close at exec; returns where ``report_fd`` is now."""
    import fcntl

    # First out of the way: one of them may be where another must go.
    report_fd = fcntl.fcntl(report_fd, fcntl.F_DUPFD_CLOEXEC, 3)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in stdio]
    for target, fd in enumerate(high):
        os.dup2(fd, target)
        os.close(fd)
    process.close_from(3, on_exec=True)
    return report_fd


def _write(fd: int, text: str) -> None:
    try:
        os.write(fd, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return  # nobody listens any more; the exit code still tells
