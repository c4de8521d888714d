"""Terminals: made in the container, sent to the engine's socket, or shown on the terminal of who runs it."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from buildlib.linux import terminal

from .conftest import PATIENCE, PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Bundle, Runtime

pytestmark = pytest.mark.root


def read_until(fd: int, wanted: bytes) -> bytes:
    text = b""
    while wanted not in text:
        assert select.select([fd], [], [], PATIENCE)[0], text
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        assert data, text
        text += data
    return text


def master_of(listener: socket.socket) -> int:
    connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    return fds[0]


def test_the_master_goes_to_the_console_socket(bundle: Bundle, runtime: Runtime, tmp_path: Path) -> None:
    script = "stty size; tty; ls -l /dev/console | cut -c1; read line; echo got $line; exit 3"
    bundle.sh(script, terminal=True, consoleSize={"height": 12, "width": 34})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        name = bundle.create("--console-socket", str(tmp_path / "sock"))
        master = master_of(listener)
    runtime.ok("start", name)
    assert read_until(master, b"c\r\n").split() == [b"12", b"34", b"/dev/pts/0", b"c"]
    os.write(master, b"words\n")
    assert b"got words" in read_until(master, b"got words")
    os.close(master)
    runtime.wait_for(name, "stopped")


def test_exec_has_a_terminal_of_its_own_and_for_its_user(bundle: Bundle, runtime: Runtime, tmp_path: Path) -> None:
    name = bundle.write("/bin/sleep", "100").start()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        flags = ("--tty", "--detach", "--user", "1000", "--console-socket", str(tmp_path / "sock"))
        runtime.ok("exec", *flags, name, "sh", "-c", "echo on $(tty) of $(stat -c %u $(tty)) > /dev/tty; sleep 9")
        master = master_of(listener)
    assert b"on /dev/pts/0 of 1000" in read_until(master, b"1000")
    os.close(master)


def test_in_the_foreground_it_is_shown_on_our_own_terminal(bundle: Bundle, runtime: Runtime) -> None:
    bundle.sh("stty size; read line; echo got $line; stty size; exit 3", terminal=True)
    ours, theirs = pty.openpty()
    terminal.set_size(theirs, 12, 34)
    argv = [*PROGRAM, "--root", str(runtime.root), "run", "--bundle", str(bundle.path), bundle.name()]
    running = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs)
    read_until(ours, b"12 34")
    os.write(ours, b"words\n")
    read_until(ours, b"got words")
    assert running.wait(20) == 3
    os.close(ours)
    os.close(theirs)


def test_a_new_size_is_handed_on_and_all_is_as_before_at_the_end(bundle: Bundle, runtime: Runtime) -> None:
    import signal
    import termios

    bundle.sh("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done", terminal=True)
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    argv = [*PROGRAM, "--root", str(runtime.root), "run", "--bundle", str(bundle.path), bundle.name()]
    running = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs)
    read_until(ours, b"ready")
    assert termios.tcgetattr(theirs) != before, "keys are passed on as they are"
    terminal.set_size(theirs, 20, 30)
    running.send_signal(signal.SIGWINCH)
    read_until(ours, b"20 30")
    assert running.wait(20) == 0
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_a_terminal_that_goes_nowhere_is_refused(bundle: Bundle, runtime: Runtime) -> None:
    bundle.write("/bin/true", terminal=True)
    assert "without a console socket" in runtime.fails("create", "--bundle", str(bundle.path), bundle.name())
    missing = ("--console-socket", "/no/such/socket")
    assert "No such file" in runtime.fails("create", *missing, "--bundle", str(bundle.path), bundle.name())
    assert runtime.ok("list", "--quiet") == ""


def test_the_sequence_that_detaches_is_kept_back_until_it_is_another() -> None:
    keys = terminal._Keys(b"\x10\x11")
    assert keys.feed(b"ab\x10") == b"ab"
    assert keys.feed(b"c") == b"\x10c"
    assert keys.feed(b"\x10\x10") == b"\x10"
    assert keys.feed(b"\x11") is None
    assert terminal._Keys(b"").feed(b"\x10\x11") == b"\x10\x11"


def test_only_a_multiplexer_gives_a_terminal(tmp_path: Path) -> None:
    for path in ("/dev/null", tmp_path):
        fd = os.open(path, os.O_RDONLY)
        with pytest.raises(OSError, match="multiplexer"):
            terminal.open_pair(fd)
        os.close(fd)
