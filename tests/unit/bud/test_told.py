"""A build is told as JSON or in plain lines, and what its steps print is kept in files, of the newest builds only."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

from bud.live import LiveProgress
from bud.progress import Progress
from bud.rawjson import JsonProgress
from bud.step_logs import KEPT_BUILDS, LogFolder, LoggedProgress
from bud.told import progress


class TerminalLike(StringIO):
    def isatty(self) -> bool:
        return True


def test_where_no_terminal_is_lines_are_told() -> None:
    for kind in ("auto", "tty", "plain"):
        assert type(progress(kind, StringIO(), {"TERM": "xterm"})) is Progress
    assert type(progress("auto", TerminalLike(), {"TERM": "dumb"})) is Progress
    assert type(progress("plain", TerminalLike(), {"TERM": "xterm"})) is Progress
    assert progress("quiet", TerminalLike(), {"TERM": "xterm"}).out is None


def test_on_a_terminal_it_is_live() -> None:
    assert type(progress("auto", TerminalLike(), {"TERM": "xterm"})) is LiveProgress
    assert type(progress("tty", TerminalLike(), {"TERM": "xterm"})) is LiveProgress


def test_on_github_each_step_is_a_group_of_its_own() -> None:
    out = StringIO()
    told = progress("auto", out, {"GITHUB_ACTIONS": "true"})
    first = told.step("[a 1/1] RUN x")
    second = told.step("[b 1/1] RUN y")
    first.write("one\n")
    second.write("two\nhalf")
    assert "two" not in out.getvalue()
    second.end(error="bad")
    assert "bad" not in out.getvalue()
    third = told.step("[c 1/1] COPY z")
    first.write("::set-output::")
    first.end(cached=True)
    third.say("note")
    told.close()
    lines = [re.sub(r"#(\d+) \d\.\d{3} ", r"#\1 T ", line) for line in out.getvalue().splitlines()]
    assert lines == [
        "::group::#1 [a 1/1] RUN x", "#1 T one", "#1 T ::set-output::", "::endgroup::", "#1 CACHED", "",
        "::group::#2 [b 1/1] RUN y", "#2 T two", "#2 T half", "::endgroup::", "#2 ERROR: bad", "",
        "::group::#3 [c 1/1] COPY z", "#3 note", "::endgroup::", "",
    ]  # fmt: skip


def test_events_are_lines_of_json() -> None:
    out = StringIO()
    told = progress("rawjson", out, {})
    assert isinstance(told, JsonProgress)
    told.warn("mind")
    step = told.step("[1/2] RUN a")
    step.write("half \udcff\n")
    step.say("not cached: b changed")
    step.end()
    told.step("[2/2] RUN c").end(error="exit code 1")
    told.write("\n")
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert out.getvalue().isascii()
    assert [event["event"] for event in events] == [
        "Log", "StepStarted", "Output", "Log", "StepFinished", "StepStarted", "StepFinished",
    ]  # fmt: skip
    assert events[1]["title"] == "[1/2] RUN a"
    assert {event["step"] for event in events[1:3]} == {"1"}
    assert events[2]["text"] == "half \udcff\n"
    assert events[3]["values"] == {"step": "1"}
    assert (events[4]["error"], events[6]["error"]) == (None, "exit code 1")
    assert all(event["time"] > 0 for event in events)


def test_all_that_a_step_prints_is_kept(tmp_path: Path) -> None:
    out = StringIO()
    told = LoggedProgress(Progress(out), LogFolder(str(tmp_path)))
    quiet, loud = told.step("[1/2] COPY"), told.step("[2/2] RUN")
    loud.write("one\ntw\udcff\r")
    loud.write("o" * 100_000)
    quiet.end(cached=True)
    loud.end(error="bad")
    assert quiet.log is None
    assert loud.log is not None
    assert Path(loud.log).read_bytes() == b"one\ntw\xff\r" + b"o" * 100_000
    assert Path(loud.log).name == "2.log"
    assert Path(loud.log).stat().st_mode & 0o777 == 0o600
    assert "#2 ERROR: bad" in out.getvalue()


def test_a_build_that_prints_nothing_leaves_nothing(tmp_path: Path) -> None:
    told = progress("quiet", StringIO(), {}, str(tmp_path))
    told.step("x").end(cached=True)
    told.close()
    assert list(tmp_path.iterdir()) == []


def test_only_the_newest_builds_keep_their_logs(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("not a build")
    folders = []
    for number in range(KEPT_BUILDS + 3):
        (tmp_path / f"{number:013d}-1-0").mkdir()
        folders.append(f"{number:013d}-1-0")
    step = progress("quiet", StringIO(), {}, str(tmp_path)).step("x")
    step.write("out")
    step.end()
    assert step.log is not None
    kept = {*folders[4:], Path(step.log).parent.name, "mine.txt"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_what_can_not_be_kept_does_not_end_a_build(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = StringIO()
    step = progress("plain", out, {}, str(tmp_path / "file")).step("x")
    assert step.write("out\n") == 4
    step.end()
    assert step.log is None
    assert "out\n" in out.getvalue()
