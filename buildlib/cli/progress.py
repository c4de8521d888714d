"""What verbs that move images tell on stderr while they work: live lines on a terminal, a plain line a blob elsewhere,
JSON for machines.

On a terminal each blob that is on its way has a line with how far it is, and a last line the total and the rate.
"""

from __future__ import annotations

import sys

from buildlib import cli
from buildlib.cli import human

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TextIO

INTERVAL = 0.1
"""Seconds between two pictures of the live lines."""
SHORT = 19
"""``sha256:`` and twelve digits."""


def sink(quiet: bool) -> Callable[[Any], None]:
    """A sink of events that prints plain lines; a silent one when ``quiet``."""
    return _silent if quiet else Plain(sys.stderr).show


def _silent(event: Any) -> None:
    """Drop an event. Of our own, for the events themselves are costly to import."""


class Progress:
    """A context whose value is a sink of events: what it shows is gone, or final, when the context ends."""

    def __init__(self, quiet: bool, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live: Live | None = None

    def __enter__(self) -> Callable[[Any], None]:
        if self._quiet:
            return _silent
        if cli.log_format == "json":
            from buildlib.cli.failure import json_logger
            from buildlib.events import structlog_sink

            return structlog_sink(json_logger(self._stream))
        if self._stream.isatty():
            self._live = Live(self._stream)
            return self._live.show
        return Plain(self._stream).show

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.finish()


class Plain:
    """A line when the first bytes of a blob move, as buildah and skopeo print where no terminal is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seen: set[str] = set()

    def show(self, event: Any) -> None:
        """Print what is new."""
        what = getattr(event, "what", None)
        if what is None:
            if hasattr(event, "message"):
                self._print(event.message)
        elif what not in self._seen:
            self._seen.add(what)
            self._print(f"Copying blob {what}" + (" (there already)" if event.skipped else ""))

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class _Row:
    __slots__ = ("done", "since", "skipped", "total")

    def __init__(self, since: float) -> None:
        self.done = 0
        self.total: int | None = None
        self.skipped = False
        self.since = since

    @property
    def ended(self) -> bool:
        return self.skipped or (self.total is not None and self.done >= self.total)


class Live:
    """Lines on a terminal that are written over again and again. Called from several threads."""

    def __init__(self, stream: TextIO) -> None:
        import threading
        import time

        self._stream = stream
        self._clock = time.monotonic
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}
        self._begun = self._last = self._clock()
        self._shown = 0

    def show(self, event: Any) -> None:
        """Take an event in, and draw if it is time."""
        with self._lock:
            what = getattr(event, "what", None)
            if what is None:
                if hasattr(event, "message"):
                    self._clear()
                    self._stream.write(f"{event.message}\n")
                return
            row = self._rows.get(what)
            if row is None:
                row = self._rows[what] = _Row(self._clock())
            row.done, row.total, row.skipped = event.done, event.total, event.skipped
            if row.ended:
                self._clear()
                self._stream.write(self._line(what, row) + "\n")
                del self._rows[what]
                self._moved(row)
            if self._clock() - self._last >= INTERVAL or row.ended:
                self._draw()

    def finish(self) -> None:
        """Leave final lines only."""
        with self._lock:
            for what, row in self._rows.items():  # blobs whose size nobody knew
                self._clear()
                self._stream.write(self._line(what, row) + "\n")
                self._moved(row)
            self._rows.clear()
            self._clear()
            if self._total:
                self._stream.write(self._sum(self._total) + "\n")
            self._stream.flush()

    _total = 0

    def _moved(self, row: _Row) -> None:
        if not row.skipped:
            self._total += row.done

    def _draw(self) -> None:
        self._clear()
        lines = [self._line(what, row) for what, row in self._rows.items()]
        if lines:
            lines.append(self._sum(self._total + sum(row.done for row in self._rows.values())))
        width = self._width()
        self._stream.write("".join(line[:width] + "\n" for line in lines))
        self._stream.flush()
        self._shown, self._last = len(lines), self._clock()

    def _width(self) -> int:
        """Columns of the terminal: a line that wraps could not be written over."""
        import os

        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _clear(self) -> None:
        if self._shown:
            self._stream.write(f"\x1b[{self._shown}A\x1b[J")
            self._shown = 0

    def _line(self, what: str, row: _Row) -> str:
        if row.skipped:
            return f"{what[:SHORT]}  there already"
        size = human.size(row.done)
        if row.total is None:
            return f"{what[:SHORT]}  {size}"
        share = row.done / row.total if row.total else 1.0
        bar = "#" * round(20 * share)
        return f"{what[:SHORT]}  [{bar:20}] {share:4.0%}  {size} of {human.size(row.total)}"

    def _sum(self, total: int) -> str:
        seconds = max(self._clock() - self._begun, 1e-3)
        return f"{human.size(total)} in {seconds:.1f} s, {human.size(round(total / seconds))}/s"
