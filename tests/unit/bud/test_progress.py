"""Progress is told in docker's plain style."""

from __future__ import annotations

import re
from io import StringIO

from bud.progress import Progress


def shown(out: StringIO) -> str:
    """What was written, with times made equal."""
    return re.sub(r"\d+\.\d{3}", "T", re.sub(r"\d+\.\ds", "Ts", out.getvalue()))


def test_steps_are_numbered_and_end_in_one_of_three_ways() -> None:
    out = StringIO()
    progress = Progress(out)
    first, second = progress.step("[1/2] RUN a"), None
    first.end(cached=True)
    second = progress.step("[2/2] RUN b")
    second.write("out\nhalf")
    second.write(" line\n")
    second.end()
    progress.step("x").end(error="bad")
    assert shown(out) == (
        "#1 [1/2] RUN a\n#1 CACHED\n\n#2 [2/2] RUN b\n#2 T out\n#2 T half line\n#2 DONE Ts\n\n#3 x\n#3 ERROR: bad\n\n"
    )


def test_a_line_without_an_end_is_shown_at_the_end_of_the_step() -> None:
    out = StringIO()
    step = Progress(out).step("x")
    step.write("prompt> ")
    step.end()
    assert "#1 T prompt> \n#1 DONE" in shown(out)


def test_of_a_line_that_is_drawn_again_and_again_only_the_last_state_is_shown() -> None:
    out = StringIO()
    step = Progress(out).step("x")
    step.write("10%\r50%\r100%\r\nnext\n")
    assert shown(out) == "#1 x\n#1 T 100%\n#1 T next\n"


def test_without_a_stream_nothing_is_told() -> None:
    step = Progress(None).step("x")
    assert step.write("a\n") == 2
    step.end()
