"""What a build tells while it goes on, in the plain style of ``docker build``: numbered steps, CACHED, output lines."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


class Progress:
    """Writes to a text stream, or nowhere when there is none. One step at a time."""

    def __init__(self, out: TextIO | None) -> None:
        self.out = out
        self._number = 0

    def step(self, title: str) -> StepProgress:
        """Begin a step."""
        self._number += 1
        step = StepProgress(self, self._number)
        step.say(title)
        return step

    def warn(self, text: str) -> None:
        """Say something that is worth to know."""
        self.write(f"[Warning] {text}\n")

    def write(self, text: str) -> None:
        """Raw text."""
        if self.out is not None:
            self.out.write(text)
            self.out.flush()


class StepProgress:
    """One step; a stream for what its command prints."""

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
        """The step is over."""
        if self._line:
            self.write("\n")
        if error is not None:
            self.say(f"ERROR: {error}")
        elif cached:
            self.say("CACHED")
        else:
            self.say(f"DONE {time.monotonic() - self._began:.1f}s")
        self._progress.write("\n")
