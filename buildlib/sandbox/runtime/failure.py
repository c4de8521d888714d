"""How a failure is told: one line on standard error, and in the log that the engine reads it from."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildlib.errors import BuildlibError

PREFIX = {
    "create": "buildlib-runtime create failed: ",
    "run": "buildlib-runtime run failed: ",
    "exec": "exec failed: ",
}
EXEC_FAILED = 255
"""The exit code of a failed ``exec``, which can't be taken for that of most commands."""


def tell(verb: str, error: BuildlibError, options: Mapping[str, Any]) -> int:
    """Write it to the log and to standard error; returns the exit code."""
    message = PREFIX.get(verb, "") + str(error)
    if error.hint and options.get("debug"):
        message += f" ({error.hint})"
    note(message, options, level="error")
    if options.get("log"):
        print(message, file=sys.stderr)
    return EXEC_FAILED if verb == "exec" else 1


def note(message: str, options: Mapping[str, Any], *, level: str) -> None:
    """One line of the log, in the form of logrus, which engines parse; without ``--log`` it goes to standard error."""
    line = message.strip()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options.get("log-format") == "json":
        import json

        text = json.dumps({"level": level, "msg": line, "time": now}, separators=(",", ":"))
    else:
        quoted = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        text = f'time="{now}" level={level} msg="{quoted}"'
    path = options.get("log")
    if not path:
        print(text, file=sys.stderr)
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        print(f"{path}: {error.strerror}: {text}", file=sys.stderr)
        return
    try:
        os.write(fd, text.encode("utf-8", "backslashreplace") + b"\n")
    finally:
        os.close(fd)
