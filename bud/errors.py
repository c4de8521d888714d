"""What can be wrong with a Dockerfile: one error class that points at the place."""

from __future__ import annotations

from buildlib.errors import BuildlibError, RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bud.calls import Call


class DockerfileError(BuildlibError):
    """A Dockerfile, or the ignore file beside it, that can't be meant.

    ``file`` is the name it was read under, ``line`` counts from 1, ``text`` is that physical line, ``column`` counts
    from 1 and ``expected`` says what would have been right. ``message`` carries file and line already.
    """

    fields = ("file", "line", "column", "text", "expected")
    file: str
    line: int | None
    column: int | None
    text: str | None
    expected: str | None

    def excerpt(self) -> str:
        """The line with a caret below the place, in two or three lines; "" when no line is known."""
        if self.line is None or self.text is None:
            return ""
        # A very long line is cut around the caret, so that the caret stays below what it means.
        column = self.column or 1
        start = max(0, column - 80) if len(self.text) > 160 else 0
        shown = self.text[start : start + 160]
        lines = [f"{self.line:>5} | {visible(shown)}"]
        if self.column is not None:
            # Tabs stay tabs, so that the caret stands right whatever their width is.
            gap = "".join("\t" if char == "\t" else " " for char in shown[: column - 1 - start])
            lines.append(f"{'':>5} | {gap}^")
        if self.expected:
            lines.append(f"{'':>5}   expected {self.expected}")
        return "\n".join(lines)


class StepFailed(RunError):
    """A RUN ended with an exit code other than 0.

    ``file`` and ``line`` say where it stands, ``instruction`` is its text. The ``container`` holds what it left behind.
    """

    fields = (*RunError.fields, "file", "line", "instruction")  # type: ignore[assignment]  # the base has a fixed length
    file: str
    line: int | None
    instruction: str
    call: Call | None = None
    """What was called on the container."""
    log: str | None = None
    """The file with all that the command printed."""


def visible(text: str) -> str:
    """``text`` with a replacement for what a terminal can't or shouldn't show; tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest of the ``known`` words, or None when none is near."""
    import difflib

    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold()[:100], list(by_fold), 1, 0.6)
    return f"did you mean {by_fold[near[0]]}?" if near else None
