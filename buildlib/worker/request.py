"""The child that does one request: it reads the arguments, does the work, sends the answer and is gone.

A contained one (a run) says on its *notes* how it goes, and the server answers when it is dead with all its processes:
so nothing is mounted and nothing runs any more when the client hears of it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal

from buildlib.errors import BuildlibError, Cancelled, WorkerError, from_os_error
from buildlib.oci.value import NamedTuple
from buildlib.sandbox.child import become
from buildlib.worker import birth, operations, wire
from buildlib.worker.tier import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from buildlib.sandbox.op import Op


class Command(NamedTuple):
    """What a contained operation returns: the child becomes the last of ``ops``."""

    ops: Sequence[Op]
    stdio: tuple[int, int, int]
    timeout: float | None = None
    """Seconds, from the start of ``ops``."""
    hold: Sequence[int] = ()
    """Descriptors that stay open until all is dead: locks."""
    after: dict[str, Any] | None = None
    """Arguments of the operation "after", where something is left to be cleared away."""


def perform(sock: socket.socket, root: str, name: str) -> NoReturn:
    """Do the request that comes from ``sock`` and answer. Called right after fork(2); never returns."""

    def work() -> None:
        birth.enter_request({sock.fileno()}, private_mounts=current().mounts and name in operations.PRIVATE)
        answer = _answer(name, lambda: _asked(sock, root, name))
        _send(sock, answer)

    _to_the_end(work)


def perform_contained(sock: socket.socket, notes: socket.socket, root: str, name: str) -> NoReturn:
    """Do the request that comes from ``sock``, as process 1 of a pid namespace. Never returns.

    The notes are ``{"started": {timeout, after, stays}}``, then or instead an error.
    """

    def work() -> None:
        gc.disable()  # it will be gone before there is a heap worth sweeping
        birth.enter_request({sock.fileno(), notes.fileno()}, private_mounts=current().mounts)
        asked: dict[str, Any] = _answer(name, lambda: {"command": _asked(sock, root, name)})
        if "error" in asked:
            _send(notes, asked)
            return
        command: Command = asked["command"]["reply"]
        started = {"timeout": command.timeout, "after": command.after, "stays": operations.stays(name)}
        wire.send(notes, {"started": started}, command.hold)
        become(command.ops, command.stdio, notes.fileno(), _report)

    _to_the_end(work)


def finish(sock: socket.socket, root: str, after: dict[str, Any], answer: dict[str, Any]) -> NoReturn:
    """Clear away what a contained request left, then send its answer. Never returns."""

    def work() -> None:
        birth.enter_request({sock.fileno()}, private_mounts=current().mounts)
        cleared = _answer("after", lambda: {"reply": operations.find("after")(root, after, ())})
        _send(sock, cleared if "error" in cleared and "error" not in answer else answer)

    _to_the_end(work)


def _to_the_end(work: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGTERM, _cancel)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        work()
        code = 0
    except Cancelled:
        pass  # between two steps; nobody waits for the answer
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _cancel(*_: object) -> None:
    # Once: what clears away because of it shall not be interrupted again.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Cancelled("the request was cancelled")


def _send(sock: socket.socket, answer: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # the client hung up
        wire.send(sock, answer)


def _report(notes: int, error: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(notes, wire.pack({"error": error}))


def _asked(sock: socket.socket, root: str, name: str) -> dict[str, Any]:
    message, fds = wire.receive(sock)
    if message["op"] != name:
        raise WorkerError(f"a request for {name} asks for {message['op']}")
    return {"reply": operations.find(name)(root, message["args"], fds)}


def _answer(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except BuildlibError as error:
        return {"error": error.to_dict()}
    except OSError as error:
        what = f"{name}: {error.filename}" if error.filename else name
        return {"error": from_os_error(error, what).to_dict()}
    except Exception as error:
        import traceback

        message = f"{name}: {type(error).__name__}: {error}"
        return {"error": WorkerError(message, hint=traceback.format_exc()).to_dict()}
