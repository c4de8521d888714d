"""``buildlib run --tty`` as somebody at a terminal uses it: keys, sizes, Ctrl-C, and walking away."""

from __future__ import annotations

import os
import pty
import select
import sys
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from buildlib.errors import RunError, UsageError
from buildlib.linux import terminal
from buildlib.terminal import keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildlib.image import Image
    from buildlib.store import Store


@frozen
class Sitting:
    """A process on a terminal that we sit in front of."""

    pid: int
    fd: int

    def until(self, wanted: bytes) -> bytes:
        """What is shown, until that."""
        shown = b""
        while wanted not in shown:
            assert select.select([self.fd], [], [], 60)[0], shown
            data = os.read(self.fd, 4096)
            assert data, shown
            shown += data
        return shown

    def rest(self) -> tuple[bytes, int]:
        """What else is shown, and the exit code."""
        return self.shown_yet(), self.code()

    def shown_yet(self) -> bytes:
        """What else is shown until all processes on the terminal have ended."""
        shown = b""
        while True:
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                return shown
            if not data:
                return shown
            shown += data

    def code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def sit(store: Store, busybox_image: Image, tmp_path: Path) -> Callable[..., Sitting]:
    """``sit("-it", script)``: ``buildlib run`` in the container ``it``."""
    store.from_image(busybox_image, name="it")
    root = str(tmp_path / "store")

    def start(flags: str, script: str) -> Sitting:
        words = [
            sys.executable,
            "-m",
            "buildlib",
            "--root",
            root,
            "run",
            *flags.split(),
            "it",
            "--",
            "sh",
            "-c",
            script,
        ]
        pid, fd = pty.fork()
        if pid == 0:
            terminal.set_size(0, 12, 34)
            os.execv(words[0], words)
        return Sitting(pid, fd)

    return start


@pytest.mark.root
def test_the_command_has_the_terminal_of_who_runs_it(sit: Callable[..., Sitting]) -> None:
    shown, code = sit("-it -e A=b", "tty; stty size; echo $A").rest()
    assert shown.split() == [b"/dev/pts/0", b"12", b"34", b"b"]
    assert code == 0


@pytest.mark.root
def test_keys_and_new_sizes_reach_it_and_its_exit_code_is_ours(sit: Callable[..., Sitting]) -> None:
    until = "until [ \"$(stty size)\" = '20 30' ]; do sleep 0.05; done; echo resized"
    sitting = sit("--tty", f"echo ready; read x; echo got $x; {until}; read y; exit 4")
    sitting.until(b"ready")
    os.write(sitting.fd, b"words\n")
    sitting.until(b"got words")
    terminal.set_size(sitting.fd, 20, 30)
    sitting.until(b"resized")
    os.write(sitting.fd, b"\n")
    assert sitting.rest()[1] == 4


@pytest.mark.root
def test_ctrl_c_is_for_the_command(sit: Callable[..., Sitting]) -> None:
    sitting = sit("-t", "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.1; done")
    sitting.until(b"ready")
    os.write(sitting.fd, b"\x03")
    sitting.until(b"caught")
    assert sitting.rest()[1] == 7


@pytest.mark.root
def test_who_types_the_detach_keys_walks_away_and_the_command_goes_on(
    sit: Callable[..., Sitting], store: Store
) -> None:
    sitting = sit("-t --detach-keys ctrl-a,q", "echo ready; sleep 1; yes | head -c 100000; echo done > /after; exit 3")
    sitting.until(b"ready")
    os.write(sitting.fd, b"\x01x\x01q")
    assert sitting.code() == 0
    assert b"Error" not in sitting.shown_yet(), "nobody sits there any more to be told"
    assert store.container("it").run(["cat", "/after"], capture=True).stdout == "done\n"


@pytest.mark.root
def test_what_goes_wrong_before_is_told_as_without_a_terminal(sit: Callable[..., Sitting]) -> None:
    shown, code = sit("-t --user nobody-here", "true").rest()
    assert b"nobody-here" in shown
    assert code == 125


@pytest.mark.root
def test_from_python_it_is_shown_on_the_terminal_of_the_process(store: Store, busybox_image: Image) -> None:
    pid, fd = pty.fork()
    if pid == 0:
        code = 1
        try:
            with store.from_image(busybox_image) as container:
                try:
                    container.run("tty; exit 6", tty=True)
                except RunError as error:
                    code = error.exit_code or 0
        finally:
            os._exit(code)
    shown, code = Sitting(pid, fd).rest()
    assert (shown, code) == (b"/dev/pts/0\r\n", 6)


@pytest.mark.parametrize(
    ("text", "found"), [("ctrl-p,ctrl-q", b"\x10\x11"), ("a", b"a"), ("", b""), ("ctrl-@,ctrl-[", b"\0\x1b")]
)
def test_detach_keys_are_written_as_in_docker(text: str, found: bytes) -> None:
    assert keys(text) == found


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-pp", "pp", "ctrl-1"])
def test_keys_that_there_are_not_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        keys(text)
