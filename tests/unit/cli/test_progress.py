"""What is told of blobs on their way: on a terminal as a user sees it in the end, and line by line elsewhere."""

from __future__ import annotations

import io
import re
import threading

import pytest

from buildlib.cli.progress import Live, Progress
from buildlib.events import BytesMoved, Log

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


class Terminal(io.StringIO):
    """Takes what a terminal would get, and shows what would be on it."""

    def isatty(self):
        return True

    def screen(self):
        lines = [""]
        for part in re.split(r"(\x1b\[\d*[AJ]|\n)", self.getvalue()):
            if part == "\n":
                lines.append("")
            elif part.endswith("J"):
                continue  # what is below was taken away by the move up
            elif part.startswith("\x1b["):
                del lines[-1 - int(part[2:-1]) :]
                lines.append("")
            else:
                lines[-1] += part
        return lines


def tell(stream, *events, quiet=False):
    with Progress(quiet, stream) as show:
        for event in events:
            show(event)


def test_elsewhere_each_blob_has_one_plain_line():
    out = io.StringIO()
    tell(
        out, BytesMoved(ONE, 5, 10), BytesMoved(ONE, 10, 10), BytesMoved(TWO, 9, 9, skipped=True),
        Log("info", "copying a to b"),
    )  # fmt: skip
    assert out.getvalue() == f"Copying blob {ONE}\nCopying blob {TWO} (there already)\ncopying a to b\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_nothing_is_told_when_quiet(stream):
    tell(stream, BytesMoved(ONE, 10, 10), Log("info", "x"), quiet=True)
    assert stream.getvalue() == ""


def test_a_terminal_ends_with_a_line_a_blob_and_the_total():
    out = Terminal()
    tell(
        out, BytesMoved(ONE, 0, 4_000_000), BytesMoved(TWO, 7, 7, skipped=True), BytesMoved(ONE, 2_000_000, 4_000_000),
        Log("info", "hello"), BytesMoved(ONE, 4_000_000, 4_000_000),
    )  # fmt: skip
    first, second, third, total, end = out.screen()
    assert first == f"{TWO[:19]}  there already"
    assert second == "hello"
    assert third == f"{ONE[:19]}  [{'#' * 20}] 100%  4 MB of 4 MB"
    assert re.fullmatch(r"4 MB in \d+\.\d s, .*B/s", total)
    assert end == ""


def test_a_terminal_shows_how_far_each_blob_is(monkeypatch):
    out = Terminal()
    live = Live(out)
    now = 0.0
    live._clock = lambda: now
    live._begun = live._last = 0.0
    live.show(BytesMoved(ONE, 1_000_000, 4_000_000))
    now = 1.0
    live.show(BytesMoved(TWO, 500_000, None))
    assert out.screen() == [
        f"{ONE[:19]}  [{'#' * 5:20}]  25%  1 MB of 4 MB",
        f"{TWO[:19]}  500 KB",
        "1.5 MB in 1.0 s, 1.5 MB/s",
        "",
    ]
    now = 2.0
    live.show(BytesMoved(ONE, 4_000_000, 4_000_000))
    live.finish()
    assert out.screen() == [
        f"{ONE[:19]}  [{'#' * 20}] 100%  4 MB of 4 MB",
        f"{TWO[:19]}  500 KB",
        "4.5 MB in 2.0 s, 2.25 MB/s",
        "",
    ]


def test_an_empty_blob_is_whole():
    out = Terminal()
    tell(out, BytesMoved(ONE, 0, 0))
    assert "100%" in out.screen()[0]


def test_blobs_may_tell_from_several_threads():
    out = Terminal()
    with Progress(False, out) as show:

        def move(name):
            for done in range(101):
                show(BytesMoved(name, done, 100))

        threads = [threading.Thread(target=move, args=(f"sha256:{n:064}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = out.screen()
    assert len(lines) == 10
    assert all("100%" in line for line in lines[:8])
    assert lines[8].startswith("800 B in")
