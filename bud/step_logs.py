"""Keeps all that the steps of a build print: ``logs/<build>/<number>.log`` in the store. It never fails a build.

A file is made when a step prints something, so what is cached leaves none. Old builds are removed.
"""

from __future__ import annotations

import os
import time

from bud.progress import Progress, StepProgress

KEPT_BUILDS = 20
"""How many builds keep their logs; the newest stay."""


class LogFolder:
    """The logs of one build, below ``root`` (the store's ``logs``)."""

    def __init__(self, root: str) -> None:
        self.root = root
        # Sorts by time; the pid keeps builds apart that begin within one millisecond.
        self.path = os.path.join(root, f"{time.time_ns() // 1_000_000:013d}-{os.getpid()}-{id(self) & 0xFFFF:04x}")
        self._made = False

    def open(self, number: int) -> tuple[str, int] | None:
        """A new file for a step: its path and a descriptor; None where nothing can be written."""
        path = os.path.join(self.path, f"{number}.log")
        try:
            if not self._made:
                os.makedirs(self.path, 0o700, exist_ok=True)
                self._made = True
                sweep(self.root, KEPT_BUILDS)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return path, os.open(path, flags, 0o600)
        except OSError:
            return None


def sweep(root: str, keep: int) -> None:
    """Remove the logs of all but the ``keep`` newest builds. What can't be removed stays."""
    try:
        builds = sorted(name for name in os.listdir(root) if name[:13].isdigit() and name[13:14] == "-")
    except OSError:
        return
    for name in builds[: max(len(builds) - keep, 0)]:
        import shutil

        shutil.rmtree(os.path.join(root, name), ignore_errors=True)


class LoggedProgress(Progress):
    """Tells another one all that it is told, and keeps what the steps print."""

    def __init__(self, inner: Progress, folder: LogFolder) -> None:
        super().__init__(None)
        self.inner = inner
        self.folder = folder
        self._steps = 0

    def step(self, title: str) -> StepProgress:
        """Begin a step."""
        with self._lock:
            self._steps += 1
            number = self._steps
        return _LoggedStep(self.inner.step(title), self.folder, number)

    def warn(self, text: str) -> None:
        """Say something that is worth to know."""
        self.inner.warn(text)

    def write(self, text: str) -> None:
        """Raw text."""
        self.inner.write(text)

    def close(self) -> None:
        """Nothing more is drawn over."""
        self.inner.close()


class _LoggedStep(StepProgress):
    def __init__(self, inner: StepProgress, folder: LogFolder, number: int) -> None:
        self._inner = inner
        self._folder = folder
        self._number = number
        self._file: int | None = None
        self._tried = False

    def say(self, text: str) -> None:
        """One line of the step, by the builder."""
        self._inner.say(text)

    def write(self, text: str) -> int:
        """A piece of output."""
        self._keep(text)
        return self._inner.write(text)

    def _keep(self, text: str) -> None:
        if not self._tried and text:
            self._tried = True
            found = self._folder.open(self._number)
            if found is not None:
                self.log, self._file = found
        if self._file is None:
            return
        data = memoryview(text.encode("utf-8", "surrogateescape"))
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            # No space, mostly: the step itself will say so if it matters to it.
            self._release()

    def end(self, *, cached: bool = False, error: str | None = None) -> None:
        """The step is over."""
        self._release()
        self._inner.end(cached=cached, error=error)

    def _release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
