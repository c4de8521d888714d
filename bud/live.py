"""The live view of a build on a terminal, in the way of ``docker buildx build``. Needs ``rich``, which draws it.

A build that is over before a moment has passed is told in one go, and ``rich`` is not even imported.
"""

from __future__ import annotations

import time
from threading import Thread

from bud import frame
from bud.progress import Progress, StepProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Event
    from typing import Any, TextIO

_STYLES = {
    frame.HEADER: "bold",
    frame.DONE: "blue",
    frame.CACHED: "blue",
    frame.FAILED: "bold red",
    frame.CANCELED: "yellow",
    frame.OUTPUT: "dim",
    frame.NOTE: "dim",
}
_PATIENCE = 0.2
"""Seconds that a build may take before something is drawn; importing and starting costs half of that."""


def available() -> bool:
    """Whether what draws is installed. Imports nothing."""
    from importlib.util import find_spec

    return find_spec("rich") is not None


class LiveProgress(Progress):
    """Draws all steps again and again until it is closed. Thread-safe; ``color=False`` draws without any."""

    def __init__(self, out: TextIO, *, color: bool = True) -> None:
        from threading import Event

        super().__init__(out)
        self._terminal = out
        self._color = color
        self._steps: list[frame.StepState] = []
        self._warnings: list[str] = []
        self._began = time.monotonic()
        self._live: Any = None
        self._closed: Event = Event()
        self._drawer: Thread | None = None

    def step(self, title: str) -> StepProgress:
        """Begin a step."""
        with self._lock:
            state = frame.StepState(len(self._steps) + 1, title, time.monotonic())
            self._steps.append(state)
            if self._drawer is None and not self._closed.is_set():
                self._drawer = Thread(target=self._draw_later, name="progress", daemon=True)
                self._drawer.start()
        return _LiveStep(self, state)

    def warn(self, text: str) -> None:
        """Say something that is worth to know; it stands below the view when that is over."""
        self.write(f"[Warning] {text}\n")

    def write(self, text: str) -> None:
        """Raw text; it waits for the end of the view."""
        with self._lock:
            if not self._closed.is_set():
                self._warnings.append(text)
                return
        super().write(text)

    def close(self) -> None:
        """Draw the last picture and leave the terminal to others; what comes after is told in plain style."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            drawer = self._drawer
        if drawer is not None:
            drawer.join()
        if self._live is not None:
            self._live.stop()
        elif self._steps:
            lines = (text.rstrip() for _kind, text in self._frame(_width(self._terminal), 0))
            super().write("".join(f"{line}\n" for line in lines))
        super().write("".join(self._warnings))

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _draw_later(self) -> None:
        if self._closed.wait(_PATIENCE):
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(
            file=self._terminal, force_terminal=True, no_color=not self._color, highlight=False, markup=False
        )
        self._live = Live(
            console=console,
            get_renderable=lambda: self._renderable(console),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()
        while not self._closed.wait(0.1):
            self._live.refresh()

    def _renderable(self, console: Any) -> Any:
        from rich.text import Text

        size = console.size
        text = Text(no_wrap=True, overflow="crop", end="")
        # A character in the last column makes some terminals begin a new line.
        for number, (kind, line) in enumerate(self._frame(size.width - 1, size.height - 2)):
            text.append(("\n" if number else "") + line, _STYLES.get(kind) if self._color else None)
        if not self._closed.is_set():
            # The cursor waits on a blank line: the ^C that a terminal echoes must not run into the next.
            text.append("\n ")
        return text

    def _frame(self, width: int, height: int) -> list[tuple[str, str]]:
        with self._lock:
            steps = list(self._steps)
            now = time.monotonic()
            return frame.frame(steps, self._began, now, width, height, finished=self._closed.is_set())

    def printed(self, state: frame.StepState, text: str) -> None:
        """A piece of output of a step."""
        with self._lock:
            state.printed(text)

    def said(self, state: frame.StepState, text: str) -> None:
        """One line of a step, by the builder."""
        with self._lock:
            state.notes.append(text)

    def ended(self, state: frame.StepState, cached: bool, error: str | None) -> None:
        """A step is over."""
        with self._lock:
            state.ended, state.cached, state.error = time.monotonic(), cached, error


class _LiveStep(StepProgress):
    def __init__(self, progress: LiveProgress, state: frame.StepState) -> None:
        self._live = progress
        self._state = state

    def say(self, text: str) -> None:
        """One line of the step, by the builder."""
        self._live.said(self._state, text)

    def write(self, text: str) -> int:
        """A piece of output."""
        self._live.printed(self._state, text)
        return len(text)

    def end(self, *, cached: bool = False, error: str | None = None) -> None:
        """The step is over."""
        self._live.ended(self._state, cached, error)


def _width(out: TextIO) -> int:
    import os

    try:
        return max(os.get_terminal_size(out.fileno()).columns - 1, 20)
    except (OSError, ValueError):
        return 79
