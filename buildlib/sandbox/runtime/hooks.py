"""Hooks: programs of the host (or of the container) that are told the state of a container at points of its life.

Which ones run where is said in config.md, "POSIX-platform Hooks": prestart and createRuntime in the runtime's
namespaces before the pivot, createContainer in the container's then, startContainer before the process, poststart
and poststop in the runtime's again.
"""

from __future__ import annotations

import os
import select
import time

from buildlib.errors import FormatError, SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

_OUTPUT = 1 << 16


def check(hooks: object) -> dict[str, list[dict[str, Any]]]:
    """The hooks of a spec by their point. Raises :class:`FormatError` that names the wrong field."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, entries in hooks.items() if isinstance(hooks, dict) else ():
        if not isinstance(entries, list):
            raise FormatError(f"hooks.{name}: expected a list")
        for number, entry in enumerate(entries):
            where = f"hooks.{name}[{number}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
                raise FormatError(f"{where}.path is missing")
            if not entry["path"].startswith("/"):
                raise FormatError(f"{where}.path {entry['path']!r} is not absolute")
            timeout = entry.get("timeout")
            if timeout is not None and (type(timeout) is not int or timeout <= 0):
                raise FormatError(f"{where}.timeout has to be more than 0 seconds")
        found[name] = entries
    return found


def run(point: str, hooks: Sequence[dict[str, Any]], state: bytes) -> None:
    """Run them in order with ``state`` on their standard input. The first that fails raises :class:`SandboxError`."""
    for number, hook in enumerate(hooks):
        failed = _run(hook, state)
        if failed:
            raise SandboxError(f"error running {point} hook #{number}: {failed}", op=f"run hook {hook['path']}")


def _run(hook: dict[str, Any], state: bytes) -> str:
    """Run one; "" or why it failed."""
    path, args = hook["path"], hook.get("args") or [hook["path"]]
    env = dict(word.split("=", 1) for word in hook.get("env") or () if "=" in word)
    # A state is far smaller than a pipe, so that writing it never waits for the hook.
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.write(writer, state)
    os.close(writer)
    output, said = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, reader, 0), (os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
    try:
        pid = os.posix_spawn(path, args, env, file_actions=actions, setpgroup=0)
    except OSError as error:
        os.close(output)
        return f"fork/exec {path}: {error.strerror}"
    finally:
        os.close(reader)
        os.close(said)
    try:
        return _wait(pid, output, hook.get("timeout"))
    finally:
        os.close(output)


def _wait(pid: int, output: int, timeout: int | None) -> str:
    """Until the process ends; what it prints is kept for the error, and what its own children do is theirs."""
    deadline = None if timeout is None else time.monotonic() + timeout
    ended = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(output, select.POLLIN)
    text, over = b"", False
    while not over:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            os.killpg(pid, 9)
            break
        ready = [fd for fd, _ in poll.poll(None if left is None else left * 1000)]
        if output in ready:
            data = os.read(output, _OUTPUT)
            text += data[: _OUTPUT - len(text)]
            if not data:
                poll.unregister(output)
        over = ended in ready and output not in ready
    os.close(ended)
    _, status = os.waitpid(pid, 0)
    if not over:
        return f"hook timed out after {timeout}s"
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return ""
    how = f"exit status {code}" if code > 0 else f"signal {-code}"
    return f"{how}, output: {text.decode(errors='replace').strip()}"
