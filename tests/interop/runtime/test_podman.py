"""podman with our runtime: run, exec, logs, stop, kill, pods' shared namespaces, terminals, exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Engine

pytestmark = pytest.mark.root

RUN = ("run", "--rm", "--network", "host")
LOOP = 'trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.1; done'


def ready(podman: Engine, name: str) -> None:
    until(lambda: "ready" in podman.ok("logs", name), "it is ready")


def test_it_runs_a_command_and_passes_streams_and_exit_codes_on(engine_podman: Engine) -> None:
    done = engine_podman(*RUN, "--interactive", "busy", "sh", "-c", "cat; echo oops >&2; exit 3", given="through\n")
    assert (done.code, done.out, done.err) == (3, "through\n", "oops\n")
    assert engine_podman(*RUN, "busy", "nosuch").code == 127
    assert engine_podman(*RUN, "busy", "/etc").code == 126


def test_a_container_in_the_background_is_entered_stopped_and_looked_at(engine_podman: Engine) -> None:
    engine_podman.ok("run", "--detach", "--name", "one", "--network", "none", "busy", "sh", "-c", LOOP)
    ready(engine_podman, "one")
    done = engine_podman(
        "exec", "--user", "1000:44", "--workdir", "/tmp", "one", "sh", "-c", "id -u; id -g; pwd; exit 4"
    )
    assert (done.code, done.out) == (4, "1000\n44\n/tmp\n")
    assert engine_podman("exec", "one", "nosuch").code == 127
    assert engine_podman.ok("exec", "one", "ls", "/sys/class/net") == "lo\n"
    assert engine_podman.ok("top", "one", "pid").split()[:2] == ["PID", "1"]
    engine_podman.ok("pause", "one")
    assert engine_podman.ok("inspect", "--format", "{{.State.Status}}", "one") == "paused\n"
    engine_podman.ok("unpause", "one")
    engine_podman.ok("stop", "--time", "20", "one")
    assert engine_podman.ok("logs", "one") == "ready\nbye\n"
    assert engine_podman.ok("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "one") == "exited 9\n"
    engine_podman.ok("start", "one")
    engine_podman.ok("kill", "--signal", "KILL", "one")
    engine_podman("wait", "one")
    assert engine_podman.ok("inspect", "--format", "{{.State.ExitCode}}", "one") == "137\n"


def test_limits_reach_the_kernel(engine_podman: Engine) -> None:
    limits = (
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        "--ulimit",
        "nofile=100:200",
        "--ulimit",
        "nproc=1000:1000",
        "--cap-drop",
        "all",
    )
    script = "ulimit -n; grep CapEff /proc/self/status; cat /sys/fs/cgroup/memory*/memory.limit_in_bytes"
    script += " 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    said = engine_podman.ok(*RUN, *limits, "busy", "sh", "-c", script).split()
    assert said == ["100", "CapEff:", "0000000000000000", str(64 << 20)]


def test_mounts_users_and_a_read_only_root(engine_podman: Engine, tmp_path: object) -> None:
    flags = ("--volume", f"{tmp_path}:/given", "--read-only", "--user", "1000", "--tmpfs", "/scratch")
    script = "touch /given/x /bin/x /scratch/x; id -u; ls /given /scratch"
    done = engine_podman(*RUN, *flags, "--security-opt", "no-new-privileges", "busy", "sh", "-c", script)
    assert "1000" in done.out
    assert "/bin/x: Read-only file system" in done.err


def test_user_namespaces(engine_podman: Engine) -> None:
    flags = ("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536")
    said = engine_podman.ok(
        *RUN, *flags, "busy", "sh", "-c", "id -u; cat /proc/self/uid_map; touch /made; stat -c %u /made"
    )
    assert said.split() == ["0", "0", "100000", "65536", "0"]


def test_containers_share_namespaces(engine_podman: Engine) -> None:
    engine_podman.ok("run", "--detach", "--name", "first", "--network", "none", "busy", "sh", "-c", LOOP)
    share = ("--network", "container:first", "--ipc", "container:first", "--pid", "container:first")
    ready(engine_podman, "first")
    said = engine_podman.ok(
        "run", "--rm", *share, "busy", "sh", "-c", "readlink /proc/1/ns/net; readlink /proc/self/ns/net"
    )
    assert len(set(said.split())) == 1
    engine_podman.ok("stop", "--time", "20", "first")


def test_a_terminal_of_the_right_size(engine_podman: Engine) -> None:
    script = "tty; stty size; ls /dev/console"
    shown = engine_podman.on_a_terminal(*RUN, "--tty", "busy", "sh", "-c", script)
    assert shown.split("\n")[:3] == ["/dev/pts/0", "33 77", "/dev/console"]


def test_a_health_check_and_an_init_and_hooks_of_the_engine(engine_podman: Engine) -> None:
    engine_podman.ok(
        "run", "--detach", "--name", "well", "--network", "none", "--health-cmd", "true", "busy", "sh", "-c", LOOP
    )
    assert engine_podman("healthcheck", "run", "well").code == 0
    engine_podman.ok("rm", "--force", "--time", "0", "well")
