"""One more process in a container that runs: in all of its namespaces, in its control group, as whom it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .conftest import until

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Bundle, Runtime

pytestmark = pytest.mark.root


@pytest.fixture
def running(bundle: Bundle) -> str:
    return bundle.sh("echo inside > /dev/shm/mark; exec sleep 100").start()


def test_it_is_in_the_container_and_its_exit_code_is_ours(running: str, runtime: Runtime) -> None:
    until(lambda: runtime("exec", running, "test", "-s", "/dev/shm/mark").returncode == 0, "it has begun")
    done = runtime("exec", running, "sh", "-c", "cat /dev/shm/mark; hostname; cat /proc/1/comm; exit 7")
    assert (done.returncode, done.stdout) == (7, "inside\nbuildlib\nsleep\n")


def test_it_shares_every_namespace_and_the_control_group(running: str, runtime: Runtime) -> None:
    script = "cd /proc; for n in mnt pid net ipc uts cgroup; do readlink $0/ns/$n; done; cat $0/cgroup"
    mine, first = (runtime.ok("exec", running, "sh", "-c", script, pid) for pid in ("self", "1"))
    assert mine == first


def test_it_may_be_somebody_else_somewhere_else(running: str, runtime: Runtime) -> None:
    words = ("--user", "1000:44", "--additional-gids", "7", "--cwd", "/tmp", "--env", "NAME=value")
    said = runtime.ok("exec", *words, running, "sh", "-c", "id -u; id -g; id -G; pwd; echo $NAME")
    assert said == "1000\n44\n44 7\n/tmp\nvalue\n"


def test_capabilities_are_those_of_the_container_and_what_is_added(running: str, runtime: Runtime) -> None:
    show = ("grep", "CapEff", "/proc/self/status")
    base = int(runtime.ok("exec", running, *show).split()[1], 16)
    more = int(runtime.ok("exec", "--cap", "CAP_SYS_TIME", running, *show).split()[1], 16)
    assert more == base | 1 << 25


def test_a_process_is_taken_from_a_file(running: str, runtime: Runtime, tmp_path: Path) -> None:
    process = {"args": ["/bin/sh", "-c", "echo $X; id -u"], "cwd": "/", "env": ["X=y"], "user": {"uid": 5, "gid": 5}}
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert runtime.ok("exec", "--process", str(tmp_path / "process.json"), running) == "y\n5\n"


def test_detached_it_runs_on_and_its_pid_is_written(running: str, runtime: Runtime, tmp_path: Path) -> None:
    quiet = {"stdout": -3, "stderr": -3}
    runtime.ok("exec", "--detach", "--pid-file", str(tmp_path / "pid"), running, "sleep", "50", **quiet)
    pid = int((tmp_path / "pid").read_text())
    assert pid in json.loads(runtime.ok("ps", "--format", "json", running))


def test_a_command_that_is_not_there_is_told_and_harms_nobody(running: str, runtime: Runtime) -> None:
    done = runtime("exec", running, "nosuch")
    assert done.returncode == 255
    assert (
        'exec failed: unable to start container process: exec: \\"nosuch\\": executable file not found' in done.stderr
    )
    assert runtime.state(running)["status"] == "running"


def test_nothing_runs_in_a_container_that_has_stopped(running: str, runtime: Runtime) -> None:
    runtime.ok("kill", running, "KILL")
    runtime.wait_for(running, "stopped")
    assert "cannot exec in a stopped container" in runtime.fails("exec", running, "true")


def test_nobody_inside_can_look_into_the_runtime(running: str, runtime: Runtime) -> None:
    """The process that joins has the host's program file and descriptors (CVE-2016-9962, CVE-2019-5736)."""
    watch = "while :; do for p in /proc/[0-9]*; do readlink $p/exe $p/cwd; done; done 2>/dev/null | grep python"
    runtime.ok("exec", "--detach", running, "sh", "-c", f"{watch} > /dev/shm/seen", stdout=-3, stderr=-3)
    for _ in range(5):
        runtime.ok("exec", running, "true")
    assert runtime.ok("exec", running, "cat", "/dev/shm/seen") == ""
