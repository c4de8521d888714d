"""What a build tells while it goes on, in the plain style of ``docker build``: numbered steps, CACHED, output lines."""

from __future__ import annotations

import time
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

CANCELED = "CANCELED"
"""The "error" of a step that was ended, because another one failed or the user wished it."""


class Progress:
    """Writes to a text stream, or nowhere when there is none. Thread-safe: steps go on at the same time."""

    def __init__(self, out: TextIO | None) -> None:
        self.out = out
        self._number = 0
        self._lock = allocate_lock()

    def step(self, title: str) -> StepProgress:
        """Begin a step."""
        with self._lock:
            self._number += 1
            step = StepProgress(self, self._number)
        step.say(title)
        return step

    def warn(self, text: str) -> None:
        """Say something that is worth to know."""
        self.write(f"[Warning] {text}\n")

    def close(self) -> None:
        """The build is over, or something else needs the terminal; here, nothing is held back anyway."""

    def write(self, text: str) -> None:
        """Raw text."""
        if self.out is not None and text:
            with self._lock:
                self.out.write(text)
                self.out.flush()


class StepProgress:
    """One step; a stream for what its command prints."""

    log: str | None = None
    """The path of the file with all that it printed, where there is one."""

    def __init__(self, progress: Progress, number: int) -> None:
        self._progress = progress
        self._number = number
        self._began = time.monotonic()
        self._line = ""

    def say(self, text: str) -> None:
        """One line of the step."""
        self._progress.write(f"#{self._number} {text}\n")

    def write(self, text: str) -> int:
        """A piece of output: whole lines are shown with the time at which they came, the rest waits for its end."""
        *lines, self._line = (self._line + text).split("\n")
        now = time.monotonic() - self._began
        # A carriage return redraws a line: only what was drawn last is worth a line of its own.
        shown = (line.rstrip("\r").rpartition("\r")[2] for line in lines)
        self._progress.write("".join(f"#{self._number} {now:.3f} {line}\n" for line in shown))
        return len(text)

    def flush(self) -> None:
        """A stream has this; lines are shown at once anyway."""

    def end(self, *, cached: bool = False, error: str | None = None) -> None:
        """The step is over; ``error`` may be :data:`CANCELED`."""
        self.end_line()
        self.say(f"{self.outcome_of(cached, error)}\n")

    def end_line(self) -> None:
        """Show what was printed without a line end."""
        if self._line:
            self.write("\n")

    def outcome_of(self, cached: bool, error: str | None) -> str:
        """How it ended, in words."""
        if error is not None:
            return error if error == CANCELED else f"ERROR: {error}"
        return "CACHED" if cached else f"DONE {time.monotonic() - self._began:.1f}s"
