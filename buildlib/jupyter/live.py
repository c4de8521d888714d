"""How a build goes on, as a piece of HTML below the cell that is written anew while it runs.

It has the methods of ``bud.progress.Progress``, which is all that a build asks of it.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from buildlib.display.html import page, tag, text

EVERY = 0.1
"""Seconds between two drawings: more often costs the browser more than it tells."""

_LINES = 6
"""Of what the step prints that runs right now."""


class LiveProgress:
    """Shows the steps of one build. Thread-safe, as steps go on at the same time."""

    out = None

    def __init__(self) -> None:
        self._steps: list[LiveStep] = []
        self._warnings: list[str] = []
        self._lock = threading.Lock()
        self._drawn = 0.0
        self._shown: Any = None
        self._began = time.monotonic()

    def step(self, title: str) -> LiveStep:
        """Begin a step."""
        step = LiveStep(self, title)
        with self._lock:
            self._steps.append(step)
        self.draw()
        return step

    def warn(self, text: str) -> None:
        """Say something that is worth to know."""
        self._warnings.append(text)
        self.draw()

    def write(self, text: str) -> None:
        """Raw text: what a step prints comes through the step."""

    def close(self) -> None:
        """The build is over: draw it once more, as it ended."""
        self.draw(at_once=True)

    def html(self) -> str:
        """What is shown right now."""
        with self._lock:
            steps = list(self._steps)
        rows = "".join(step.html() for step in steps)
        rows += "".join(tag("div", text(f"warning: {line}"), class_="changed") for line in self._warnings)
        done = sum(step.over for step in steps)
        head = tag("div", text(f"{done} of {len(steps)} steps · {time.monotonic() - self._began:.1f} s"), class_="s")
        return page(head + rows)

    def draw(self, *, at_once: bool = False) -> None:
        """Show it, unless that was just done."""
        now = time.monotonic()
        if not at_once and now - self._drawn < EVERY:
            return
        self._drawn = now
        from IPython import display

        show: Any = display
        if self._shown is None:
            self._shown = show.display(show.HTML(self.html()), display_id=True)
        elif self._shown:
            self._shown.update(show.HTML(self.html()))


class LiveStep:
    """One step: what it is, how long it takes, the last lines that it printed."""

    log: str | None = None

    def __init__(self, progress: LiveProgress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._began = time.monotonic()
        self._seconds = 0.0
        self._how = ""
        self._text = ""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return bool(self._how)

    def say(self, text: str) -> None:
        """One line of the step."""
        self.write(f"{text}\n")

    def write(self, text: str) -> int:
        """A piece of what it prints."""
        self._text = (self._text + text)[-8000:]
        self._progress.draw()
        return len(text)

    def flush(self) -> None:
        """A stream has this."""

    def end(self, *, cached: bool = False, error: str | None = None) -> None:
        """It is over."""
        self._seconds = time.monotonic() - self._began
        self._how = "cached" if cached else "error" if error is not None else "done"
        if error is not None:
            self._text += f"\n{error}"
        self._progress.draw(at_once=error is not None)

    def html(self) -> str:
        """Its line, and what it printed last where it runs or failed."""
        seconds = self._seconds if self.over else time.monotonic() - self._began
        mark, kind = {"": ("▸", "changed"), "done": ("✓", "added"), "cached": ("●", "s"), "error": ("✗", "changed")}[
            self._how
        ]
        told = "cached" if self._how == "cached" else f"{seconds:.1f} s"
        line = tag("span", mark, class_=kind) + " " + tag("code", text(self._title)) + tag("span", told, class_="s")
        if self._how in ("", "error"):
            lines = [each.rpartition("\r")[2] for each in self._text.strip().split("\n")][-_LINES:]
            line += "".join(tag("div", text(each), class_="f m s") for each in lines if each)
        return tag("div", line)
