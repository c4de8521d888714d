"""The child that does one request: it reads the arguments, does the work, sends the answer and is gone."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from buildlib.errors import BuildlibError, Cancelled, WorkerError, from_os_error
from buildlib.worker import birth, operations, wire

if TYPE_CHECKING:
    import socket
    from typing import NoReturn


def perform(sock: socket.socket, root: str, announced: str) -> NoReturn:
    """Do the request that comes from ``sock``. Called right after fork(2); never returns."""
    code = 1
    try:
        birth.enter_request({sock.fileno()}, private_mounts=announced in operations.PRIVATE)
        signal.signal(signal.SIGTERM, _cancel)
        answer = _answer(sock, root, announced)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(OSError):  # the client hung up
            wire.send(sock, answer)
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


def _answer(sock: socket.socket, root: str, announced: str) -> dict[str, Any]:
    try:
        message, fds = wire.receive(sock)
        if message["op"] != announced:
            raise WorkerError(f"a request for {announced} asks for {message['op']}")
        return {"reply": operations.find(announced)(root, message["args"], fds)}
    except BuildlibError as error:
        return {"error": error.to_dict()}
    except OSError as error:
        what = f"{announced}: {error.filename}" if error.filename else announced
        return {"error": from_os_error(error, what).to_dict()}
    except Exception as error:
        import traceback

        message = f"{announced}: {type(error).__name__}: {error}"
        return {"error": WorkerError(message, hint=traceback.format_exc()).to_dict()}
