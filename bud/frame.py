"""What the live view of a build shows, as lines of text of a given width; it draws nothing and reads no clock."""

from __future__ import annotations

import re
from unicodedata import combining, east_asian_width

from bud import progress
from bud.errors import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TAIL = 6
"""How many lines of output a running step shows at most."""

HEADER, RUNNING, DONE, CACHED, FAILED, CANCELED = "header", "running", "done", "cached", "failed", "canceled"
OUTPUT, NOTE = "output", "note"
"""Kinds of lines; how they look is not known here."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|.)?")


class StepState:
    """One step as the view knows it. Times are seconds of one clock."""

    __slots__ = ("began", "cached", "ended", "error", "notes", "number", "rest", "tail", "title")

    def __init__(self, number: int, title: str, began: float) -> None:
        self.number = number
        self.title = title
        self.began = began
        self.ended: float | None = None
        self.cached = False
        self.error: str | None = None
        self.notes: list[str] = []
        """What the builder says about it."""
        self.tail: list[str] = []
        """The last whole lines that its command printed."""
        self.rest = ""
        """What came after the last line end."""

    @property
    def kind(self) -> str:
        """How it stands."""
        if self.ended is None:
            return RUNNING
        if self.error is not None:
            return CANCELED if self.error == progress.CANCELED else FAILED
        return CACHED if self.cached else DONE

    def printed(self, text: str) -> None:
        """A piece of output."""
        *lines, rest = (self.rest + text).split("\n")
        # Only the last state of a line that is drawn again and again matters, and no line is shown whole that is huge.
        self.rest = rest.rpartition("\r")[2][-4096:] if not rest.endswith("\r") else rest[-4096:]
        self.tail = (self.tail + [line.rstrip("\r").rpartition("\r")[2][:4096] for line in lines[-TAIL:]])[-TAIL:]

    def shown(self, most: int) -> list[str]:
        """The last lines, that which is not over yet too."""
        rest = self.rest.rstrip("\r").rpartition("\r")[2]
        lines = [line for line in (*self.tail, rest) if line.strip()]
        return [plain(line) for line in lines[-most:]] if most > 0 else []


def frame(
    steps: Sequence[StepState], began: float, now: float, width: int, height: int, *, finished: bool = False
) -> list[tuple[str, str]]:
    """The view as (kind, line), no line wider than ``width`` cells and not more than ``height`` lines.

    The header says how long it takes and how many of the steps are done. If there is too little room, steps that are
    over make place first, the oldest before the others. ``finished``: the last picture, with all steps.
    """
    done = sum(step.ended is not None for step in steps)
    head = f"[+] Building {now - began:.1f}s ({done}/{len(steps)})" + (" FINISHED" if finished else "")
    lines = [(HEADER, fit(head, width))]
    if finished:
        for step in steps:
            lines += _lines(step, now, width, TAIL if step.kind == FAILED else 0, finished=True)
        return lines
    room = max(height - 1, 1)
    running = [step for step in steps if step.ended is None][-room:]
    over = [step for step in steps if step.ended is not None]
    # Output is worth more than the oldest steps that are over, but some of those are kept as a background.
    background = min(len(over), max(room // 3, room - len(running) * (1 + TAIL), 0), room - len(running))
    tail = min(TAIL, (room - len(running) - background) // len(running)) if running else 0
    chosen = {step.number for step in (*running, *over[len(over) - background :])}
    for step in steps:
        if step.number in chosen:
            lines += _lines(step, now, width, tail if step.ended is None else 0)
    return lines


def _lines(step: StepState, now: float, width: int, tail: int, *, finished: bool = False) -> list[tuple[str, str]]:
    seconds = f"{(now if step.ended is None else step.ended) - step.began:.1f}s"
    kind = CANCELED if finished and step.ended is None else step.kind
    what = {CACHED: "CACHED ", FAILED: "ERROR ", CANCELED: "CANCELED "}.get(kind, "") + plain(step.title)
    found = [(kind, f"{fit(f' => {what}', width - len(seconds) - 1)} {seconds}")]
    if finished:
        found += [(NOTE, fit(f" => => {plain(note)}", width)) for note in step.notes]
    return found + [(OUTPUT, fit(f" => => # {line}", width)) for line in step.shown(tail)]


def plain(text: str) -> str:
    """``text`` without colours and cursor movements, and with nothing that a terminal would obey."""
    return visible(_ESCAPES.sub("", text)).expandtabs(8)


def fit(text: str, width: int) -> str:
    """``text`` cut or filled to exactly ``width`` cells of a terminal."""
    width = max(width, 0)
    if text.isascii():
        return text[:width].ljust(width)
    used, kept = 0, []
    for char in text:
        cells = 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1
        if used + cells > width:
            break
        used += cells
        kept.append(char)
    return "".join(kept) + " " * (width - used)
