"""Turns errors into what a person reads on stderr, and into the exit code."""

from __future__ import annotations

import sys

from buildlib.errors import BuildlibError, RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

OWN_FAILURE = 125


def report(error: BaseException, log_level: str = "") -> int:
    """Print ``Error: …`` and, where there is one, ``hint: …``, or both as JSON; return the exit code.

    The code is the command's own for :class:`RunError`, 125 for everything else. A traceback is printed only with
    ``--log-level debug`` or ``trace``.
    """
    if log_level in ("debug", "trace"):
        import traceback

        traceback.print_exception(error)
    message, hint = describe(error)
    from buildlib import cli

    if cli.log_format == "json":
        json_logger(sys.stderr).error(message, hint=hint, exit_code=exit_code(error))
        return exit_code(error)
    text = f"Error: {message}\n" + (f"hint: {hint}\n" if hint else "")
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads stderr; the exit code still tells
    return exit_code(error)


def json_logger(stream: TextIO) -> Any:
    """A logger of structlog that writes one JSON object a line, with level and time (UTC)."""
    import structlog

    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    steps: list[Any] = [structlog.processors.add_log_level, stamp, structlog.processors.JSONRenderer()]
    return structlog.wrap_logger(structlog.PrintLogger(stream), processors=steps)


def exit_code(error: BaseException) -> int:
    """The process's exit code for ``error``."""
    if isinstance(error, RunError) and error.exit_code:
        return error.exit_code
    return OWN_FAILURE


def describe(error: BaseException) -> tuple[str, str | None]:
    """Message and hint of any error, also of those that should not have come this far."""
    if isinstance(error, BuildlibError):
        return error.message, error.hint
    if isinstance(error, OSError) and error.strerror:
        where = f"{_text(error.filename)}: " if error.filename is not None else ""
        return f"{where}{error.strerror}", None
    return (
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug: run it again with --log-level debug and report what it prints",
    )


def _text(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
