"""docker with our runtime in its daemon.json: through containerd and its shim."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.interop.conftest import program
from tests.interop.docker_engine import engine

from .conftest import HOME, SCRIPT, Engine, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

LOOP = 'trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.1; done'
RUN = ("run", "--runtime", "ours", "--network", "none")


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, busybox_tar: str) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("docker")
    script = folder / "buildlib-runtime"
    script.write_text(SCRIPT.format(where=script, python=sys.executable, home=HOME))
    script.chmod(0o755)
    (folder / "daemon.json").write_text(json.dumps({"runtimes": {"ours": {"path": str(script)}}}))
    command = program("docker", "docker.io")
    with engine("--config-file", str(folder / "daemon.json")) as host:
        docker = Engine((command, "--host", host))
        docker.ok("import", busybox_tar, "busy")
        yield docker
        for name in docker.ok("ps", "--all", "--quiet").split():
            docker("rm", "--force", name)


def test_it_runs_a_command_and_passes_streams_and_exit_codes_on(docker: Engine) -> None:
    done = docker(*RUN, "--rm", "--interactive", "busy", "sh", "-c", "cat; echo oops >&2; exit 3", given="through\n")
    assert (done.code, done.out, done.err) == (3, "through\n", "oops\n")
    assert docker(*RUN, "--rm", "busy", "nosuch").code == 127
    assert docker(*RUN, "--rm", "busy", "/etc").code == 126


def test_a_container_in_the_background_is_entered_paused_stopped_and_looked_at(docker: Engine) -> None:
    name = docker.ok(*RUN, "--detach", "busy", "sh", "-c", LOOP).strip()
    until(lambda: docker.ok("logs", name) == "ready\n", "it is ready")
    done = docker("exec", "--user", "1000:44", name, "sh", "-c", "id -u; id -g; exit 4")
    assert (done.code, done.out) == (4, "1000\n44\n")
    assert docker("exec", name, "nosuch").code in (126, 127)
    assert "sleep" in docker.ok("top", name)
    docker.ok("pause", name)
    assert docker.ok("inspect", "--format", "{{.State.Status}}", name) == "paused\n"
    docker.ok("unpause", name)
    docker.ok("update", "--memory", "64m", "--memory-swap", "64m", name)
    assert "64MiB" in docker.ok("stats", "--no-stream", "--format", "{{.MemUsage}}", name)
    docker.ok("stop", "--time", "20", name)
    assert docker.ok("logs", name) == "ready\nbye\n"
    assert docker.ok("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name) == "exited 9\n"
    docker.ok("start", name)
    docker.ok("kill", "--signal", "KILL", name)
    assert docker.ok("wait", name) == "137\n"
    docker.ok("rm", name)


def test_a_terminal(docker: Engine) -> None:
    shown = docker.on_a_terminal(*RUN, "--rm", "--tty", "busy", "sh", "-c", "tty; ls /dev/console")
    assert shown == "/dev/pts/0\n/dev/console\n"


def test_the_default_profile_and_capabilities_of_the_engine(docker: Engine) -> None:
    script = "grep -E 'Seccomp:|CapEff' /proc/self/status; mount -t tmpfs x /mnt"
    done = docker(*RUN, "--rm", "--cap-add", "SYS_ADMIN", "busy", "sh", "-c", script)
    assert done.out.split() == ["CapEff:", "00000000a82425fb", "Seccomp:", "2"]
