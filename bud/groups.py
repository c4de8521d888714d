"""Progress in the log of GitHub Actions: each step is a group that folds, and its outcome stands below it.

Groups don't nest. So one step at a time has the floor and is told as it goes on; what others say waits for its end.
"""

from __future__ import annotations

from bud.progress import Progress, StepProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


class GroupedProgress(Progress):
    """Writes workflow commands around plain progress. Thread-safe."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._open: list[_Group] = []
        """Steps of which something is still to be told; the first one has the floor."""

    def step(self, title: str) -> StepProgress:
        """Begin a step."""
        with self._lock:
            self._number += 1
            group = _Group(self, self._number, title)
            self._open.append(group)
            self._tell()
        return group

    def told(self, group: _Group, text: str, end: str = "") -> None:
        """Something of a step; ``end``: that it is over."""
        with self._lock:
            group.waiting += text
            group.outcome = end
            self._tell()

    def close(self) -> None:
        """Tell what is left of steps that have no end."""
        with self._lock:
            for group in self._open:
                group.outcome = group.outcome or "\n"
            self._tell()

    def _tell(self) -> None:
        """Write what may be written now."""
        said = ""
        while self._open:
            group = self._open[0]
            said += group.waiting
            group.waiting = ""
            if not group.outcome:
                break
            said += f"::endgroup::\n{group.outcome}"
            del self._open[0]
        if self.out is not None and said:
            self.out.write(said)
            self.out.flush()


class _Group(StepProgress):
    def __init__(self, progress: GroupedProgress, number: int, title: str) -> None:
        super().__init__(_Lines(progress, self), number)
        self._grouped = progress
        self.waiting = f"::group::#{number} {title}\n"
        self.outcome = ""

    def end(self, *, cached: bool = False, error: str | None = None) -> None:
        """The step is over."""
        self.end_line()
        self._grouped.told(self, "", f"#{self._number} {self.outcome_of(cached, error)}\n\n")


class _Lines(Progress):
    """What a step of the plain kind writes to."""

    def __init__(self, progress: GroupedProgress, group: _Group) -> None:
        super().__init__(None)
        self._grouped = progress
        self._group = group

    def write(self, text: str) -> None:
        """Raw text."""
        self._grouped.told(self._group, text)
