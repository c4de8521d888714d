"""The live view as lines: which steps it shows where there is little room, and what never reaches a terminal."""

from __future__ import annotations

from bud.frame import StepState, fit, frame, plain
from bud.progress import CANCELED


def step(number: int, *, began: float = 0.0, ended: float | None = None, cached: bool = False) -> StepState:
    state = StepState(number, f"[{number}/9] RUN do-{number}", began)
    state.ended, state.cached = ended, cached
    return state


def shown(steps: list[StepState], width: int = 60, height: int = 24, *, finished: bool = False) -> list[str]:
    return [line.rstrip() for _, line in frame(steps, 0.0, 12.34, width, height, finished=finished)]


def test_steps_are_shown_with_their_times_and_what_became_of_them() -> None:
    steps = [step(1, ended=0.0, cached=True), step(2, ended=3.14), step(3, began=4.0), step(4, ended=5.0)]
    steps[2].printed("one\ntwo\nthr")
    steps[3].error = "no"
    assert shown(steps, 40) == [
        "[+] Building 12.3s (3/4)",
        " => CACHED [1/9] RUN do-1           0.0s",
        " => [2/9] RUN do-2                  3.1s",
        " => [3/9] RUN do-3                  8.3s",
        " => => # one",
        " => => # two",
        " => => # thr",
        " => ERROR [4/9] RUN do-4            5.0s",
    ]


def test_of_a_running_step_the_last_lines_are_shown() -> None:
    state = step(1)
    for number in range(50):
        state.printed(f"line {number}\n")
    assert shown([state])[2:] == [f" => => # line {number}" for number in range(44, 50)]


def test_a_line_that_is_drawn_again_is_shown_as_it_is_now() -> None:
    state = step(1)
    state.printed("10%\r20%\r")
    assert state.shown(6) == ["20%"]
    state.printed("30%")
    assert state.shown(6) == ["30%"]
    state.printed("\r\nnext")
    assert state.shown(6) == ["30%", "next"]


def test_output_in_pieces_gives_the_same_lines() -> None:
    whole, pieces = step(1), step(2)
    text = "a\nbb\n\nccc\rdd\nee\n"
    whole.printed(text)
    for char in text:
        pieces.printed(char)
    assert whole.shown(6) == pieces.shown(6) == ["a", "bb", "dd", "ee"]


def test_no_line_of_output_moves_the_cursor_or_changes_colours() -> None:
    assert plain("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2Jx\x1bMy") == "red xy"
    assert plain("bell\x07 \x9b31m tab\t.") == "bell\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}31m tab  ."
    assert plain("\x1b") == ""


def test_where_there_is_little_room_running_steps_stay() -> None:
    steps = [step(number, ended=1.0) for number in range(1, 31)] + [step(31), step(32)]
    for state in steps[-2:]:
        state.printed("out\n" * 9)
    for height in range(3, 40):
        lines = shown(steps, height=height)
        assert len(lines) <= height
        assert [line for line in lines if "do-31" in line or "do-32" in line], height
    assert " => => # out" in shown(steps, height=12)
    assert shown(steps, height=12)[1].startswith(" => [28/9] RUN do-28")


def test_the_last_picture_has_all_steps_whatever_the_height_is() -> None:
    steps = [step(number, ended=1.0) for number in range(1, 31)] + [step(31)]
    steps[3].notes.append("not cached: a.txt changed")
    lines = shown(steps, height=5, finished=True)
    assert lines[0] == "[+] Building 12.3s (30/31) FINISHED"
    assert len(lines) == 33
    assert " => => not cached: a.txt changed" in lines
    assert lines[-1].startswith(" => CANCELED [31/9] RUN do-31")


def test_a_step_that_was_ended_did_not_fail() -> None:
    steps = [step(1, ended=1.0), step(2, ended=1.0)]
    steps[0].error, steps[1].error = CANCELED, "exit code 1"
    steps[0].printed("of no interest\n")
    steps[1].printed("why\n")
    lines = [line[:12].rstrip() for line in shown(steps, finished=True)[1:]]
    assert lines == [" => CANCELED", " => ERROR [2", " => => # why"]


def test_no_line_is_wider_than_asked() -> None:
    state = StepState(1, "RUN 漢字 e\u0301 " * 20, 0.0)
    state.printed("漢" * 300)
    for width in (1, 5, 20, 41):
        assert all(len(fit(line, width)) <= width for _, line in frame([state], 0, 1, width, 9)), width
    assert fit("漢字", 3) == "漢 "
    assert fit("abc", 0) == ""
