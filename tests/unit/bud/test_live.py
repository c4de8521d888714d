"""The live view on a real pseudo-terminal: what is on the screen at the end, and how the terminal is left."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

pytest.importorskip("rich", reason="the live view needs rich")

BEGINNING = """
import os, sys, threading, time
os.open(os.ttyname(2), os.O_RDWR)  # the leader of a session gets the terminal that it opens as its own
from bud.told import progress
shown = progress("auto", sys.stderr, os.environ)
"""


class Terminal:
    """A pseudo-terminal with a program on it, and a screen that knows what the live view writes."""

    def __init__(self, program: str, *, rows: int = 20, columns: int = 60, **environ: str) -> None:
        self.raw = ""
        self.fd, slave = pty.openpty()
        self.resize(rows, columns)
        environ = {"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[3]), **environ}
        self.child = subprocess.Popen(
            [sys.executable, "-c", BEGINNING + program], stdin=slave, stderr=slave, env=environ, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: str) -> Terminal:
        """Read until ``text`` has been written."""
        deadline = time.monotonic() + 60
        while text not in self.raw:
            assert select.select([self.fd], [], [], max(deadline - time.monotonic(), 0))[0], self.raw
            if not self._read():
                raise AssertionError(self.raw)
        return self

    def _read(self) -> bool:
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the program is gone
            return False
        self.raw += data.decode()
        return bool(data)

    def finish(self) -> list[str]:
        """Wait for the end; the lines of the screen."""
        while self._read():
            pass
        os.close(self.fd)
        self.child.wait()
        return screen(self.raw)


def screen(raw: str) -> list[str]:
    """The lines that stand there after ``raw`` was written, scrolled out ones too."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", raw):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif len(piece) == 1:
            lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + 1 :]
            column += 1
        elif piece.endswith("A"):
            row = max(row - int(piece[2:-1] or 1), 0)
        elif piece.endswith("K"):
            lines[row] = ""
    return "\n".join(line.rstrip() for line in lines).rstrip("\n").split("\n")


def without_times(lines: list[str]) -> list[str]:
    return [re.sub(r" +\d+\.\ds", " Ts", line) for line in lines]


def test_the_steps_of_a_build_end_up_on_the_screen_once() -> None:
    terminal = Terminal("""
shown.step("[1/3] FROM base").end(cached=True)
def stage(name):
    step = shown.step(f"[{name} 2/3] RUN make {name}")
    for number in range(30):
        step.write(f"{name} line {number}\\n")
        time.sleep(0.02)
    step.end()
threads = [threading.Thread(target=stage, args=[name]) for name in ("left", "right")]
for thread in threads: thread.start()
for thread in threads: thread.join()
shown.warn("mind this")
shown.close()
""")
    assert without_times(terminal.finish()) == [
        "[+] Building Ts (3/3) FINISHED",
        " => CACHED [1/3] FROM base Ts",
        " => [left 2/3] RUN make left Ts",
        " => [right 2/3] RUN make right Ts",
        "[Warning] mind this",
    ]
    # While both went on, the last lines of both could be seen.
    assert " => => # left line" in terminal.raw
    assert " => => # right line" in terminal.raw
    assert_left_alone(terminal)


def assert_left_alone(terminal: Terminal) -> None:
    """The cursor is visible again, and no colour is left on."""
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h")
    colours = re.findall(r"\x1b\[([0-9;]*)m", terminal.raw)
    assert not colours or colours[-1] in ("0", "")


def test_a_build_that_is_over_at_once_draws_nothing_and_needs_no_rich() -> None:
    terminal = Terminal("""
shown.step("[1/1] FROM base").end(cached=True)
shown.close()
print("rich" in sys.modules, file=sys.stderr)
""")
    assert without_times(terminal.finish()) == [
        "[+] Building Ts (1/1) FINISHED",
        " => CACHED [1/1] FROM base Ts",
        "False",
    ]
    assert "\x1b" not in terminal.raw


def test_after_ctrl_c_the_terminal_is_as_before_and_steps_are_canceled() -> None:
    terminal = Terminal("""
try:
    step = shown.step("[1/1] RUN sleep")
    step.write("waiting\\n")
    time.sleep(60)
except KeyboardInterrupt:
    pass
finally:
    shown.close()
""").until("waiting")
    os.write(terminal.fd, b"\x03")
    # The terminal echoes it, and that shifts nothing.
    assert without_times(terminal.finish()) == ["[+] Building Ts (0/1) FINISHED", " => CANCELED [1/1] RUN sleep Ts"]
    assert "^C" in terminal.raw
    assert_left_alone(terminal)


def test_of_a_step_that_failed_the_last_output_stays() -> None:
    terminal = Terminal("""
step = shown.step("[1/1] RUN false")
step.write("why it failed\\n")
time.sleep(0.5)
step.end(error="exit code 1")
shown.close()
""")
    assert without_times(terminal.finish())[1:] == [" => ERROR [1/1] RUN false Ts", " => => # why it failed"]


def test_no_color_means_no_color() -> None:
    program = """
shown.step("[1/2] RUN a").end()
step = shown.step("[2/2] RUN b")
time.sleep(0.6)
step.end()
shown.close()
"""
    plain, coloured = Terminal(program, NO_COLOR="1"), Terminal(program)
    assert plain.finish()[0].startswith("[+] Building")
    coloured.finish()
    assert "\x1b[34m" in coloured.raw
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", plain.raw)


def test_a_terminal_that_becomes_narrow_gets_narrow_lines() -> None:
    terminal = Terminal("""
step = shown.step("[1/1] RUN " + "x" * 200)
time.sleep(1)
input()
step.end()
shown.close()
""", columns=100).until("x" * 60)  # fmt: skip
    terminal.resize(20, 30)
    os.write(terminal.fd, b"\n")
    lines = terminal.finish()
    assert 20 < len(lines[-1]) <= 30


def test_more_steps_than_lines_do_not_scroll_while_they_run() -> None:
    terminal = Terminal("""
steps = [shown.step(f"[{n}/40] RUN step-{n}") for n in range(40)]
time.sleep(0.6)
for step in steps: step.end()
shown.close()
""", rows=10)  # fmt: skip
    lines = terminal.finish()
    assert len([line for line in lines if "RUN step-" in line]) == 40
    drawn = terminal.raw.split("FINISHED")[0]
    assert drawn.count("\n") <= 9 * drawn.count("[+] Building")
