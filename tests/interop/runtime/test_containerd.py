"""containerd's own command with our runtime: run, exec, ps, metrics, pause, kill, terminals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.linux.mount import MNT_DETACH, umount
from tests.interop.conftest import program

from .conftest import Engine, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

# The control group is named by the id alone, so that tests at the same time must not share one.
ONE, TWO = f"one-{os.getpid()}", f"two-{os.getpid()}"

CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{folder}/sock"
"""


@pytest.fixture
def ctr() -> Iterator[Engine]:
    daemon, command = program("containerd"), program("ctr", "containerd")
    with tempfile.TemporaryDirectory(prefix="ctr-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "config.toml").write_text(CONFIG.format(folder=folder))
        argv = ["setpriv", "--pdeathsig", "TERM", daemon, "--config", str(folder / "config.toml")]
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        try:
            end = time.monotonic() + 30
            while b"successfully booted" not in (folder / "log").read_bytes():
                assert running.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.1)
            yield Engine((command, "--address", f"{folder}/sock"))
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(20)
            points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
            for point in reversed([point for point in points if point.startswith(f"{folder}/")]):
                umount(point, MNT_DETACH)


@pytest.fixture
def run(runtime_program: str, tools: Path, busybox_tar: str) -> tuple[str, ...]:
    """``ctr run`` up to the id of the container, on a root file system."""
    rootfs = tools / "rootfs"
    rootfs.mkdir()
    shutil.unpack_archive(busybox_tar, rootfs, "tar")
    for name in ("proc", "sys", "dev", "run"):
        (rootfs / name).mkdir(exist_ok=True)
    return "run", "--runc-binary", runtime_program, "--runc-root", f"{tools}/runc", "--rootfs", str(rootfs)


def test_it_runs_a_command_and_passes_streams_and_exit_codes_on(ctr: Engine, run: tuple[str, ...]) -> None:
    options, root = run[:-1], run[-1]
    done = ctr(*options[:1], "--rm", *options[1:], root, ONE, "/bin/sh", "-c", "echo out; echo oops >&2; exit 3")
    assert (done.code, done.out, done.err) == (3, "out\n", "oops\n")
    assert "executable file not found" in ctr(*run[:1], "--rm", *run[1:], TWO, "nosuch").err


def test_a_task_in_the_background_is_entered_paused_measured_and_killed(ctr: Engine, run: tuple[str, ...]) -> None:
    ctr.ok(*run[:1], "--detach", *run[1:], ONE, "/bin/sleep", "100")
    assert "RUNNING" in ctr.ok("tasks", "list")
    done = ctr("tasks", "exec", "--exec-id", "more", ONE, "/bin/sh", "-c", "id -u; exit 4")
    assert (done.code, done.out) == (4, "0\n")
    assert "pids.current" in ctr.ok("tasks", "metrics", ONE)
    assert len(ctr.ok("tasks", "ps", ONE).splitlines()) == 2
    ctr.ok("tasks", "pause", ONE)
    assert "PAUSED" in ctr.ok("tasks", "list")
    ctr.ok("tasks", "resume", ONE)
    ctr.ok("tasks", "kill", "--signal", "KILL", ONE)
    until(lambda: "STOPPED" in ctr.ok("tasks", "list"), "it has stopped")
    ctr("tasks", "delete", ONE)
    ctr.ok("containers", "delete", ONE)


def test_a_terminal(ctr: Engine, run: tuple[str, ...]) -> None:
    shown = ctr.on_a_terminal(*run[:1], "--rm", "--tty", *run[1:], ONE, "/bin/sh", "-c", "tty; ls /dev/console")
    assert shown == "/dev/pts/0\n/dev/console\n"
