"""Progress for programs: each event of :mod:`buildlib.events` as one line of JSON."""

from __future__ import annotations

import json
import time

from bud.progress import Progress, StepProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from buildlib.events import Event


class JsonProgress(Progress):
    """Writes ``{"event": "StepStarted", "time": …, …}``; ``time`` is in seconds since 1970. Thread-safe."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._steps = 0

    def step(self, title: str) -> StepProgress:
        """Begin a step."""
        from buildlib.events import StepStarted

        with self._lock:
            self._steps += 1
            number = self._steps
        self.tell(StepStarted(str(number), title, number))
        return _JsonStep(self, str(number))

    def warn(self, text: str) -> None:
        """Say something that is worth to know."""
        from buildlib.events import Log

        self.tell(Log("warning", text))

    def write(self, text: str) -> None:
        """Text that belongs to no step."""
        from buildlib.events import Log

        if text.strip():
            self.tell(Log("info", text.strip()))

    def tell(self, event: Event) -> None:
        """Write one event."""
        from attrs import asdict

        document = {"event": type(event).__name__, "time": round(time.time(), 3), **asdict(event)}
        # In ASCII, so that output that is not UTF-8 can't break a reader.
        super().write(json.dumps(document) + "\n")


class _JsonStep(StepProgress):
    def __init__(self, progress: JsonProgress, step: str) -> None:
        self._json = progress
        self._step = step
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line of the step, by the builder."""
        from buildlib.events import Log

        self._json.tell(Log("info", text, {"step": self._step}))

    def write(self, text: str) -> int:
        """A piece of output, passed on as it comes."""
        from buildlib.events import Output

        if text:
            self._json.tell(Output("stdout", text, self._step))
        return len(text)

    def end(self, *, cached: bool = False, error: str | None = None) -> None:
        """The step is over."""
        from buildlib.events import StepFinished

        self._json.tell(StepFinished(self._step, cached, round(time.monotonic() - self._began, 3), error))
