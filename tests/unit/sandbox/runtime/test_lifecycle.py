"""A container from create to delete, as runtime.md of the spec has it, and every wrong order of the verbs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import PROGRAM, START, alive, groups_of, until

if TYPE_CHECKING:
    from .conftest import Bundle, Runtime

pytestmark = pytest.mark.root


def test_a_container_is_created_then_runs_then_stops_then_is_gone(bundle: Bundle, runtime: Runtime) -> None:
    bundle.sh("read line; exit 3", annotations={"org.example": "yes"})
    reader, writer = os.pipe()
    name = bundle.create(stdin=reader)
    os.close(reader)
    state = runtime.state(name)
    assert state["status"] == "created"
    assert state["ociVersion"].startswith("1.")
    assert (state["id"], state["bundle"], state["annotations"]) == (name, str(bundle.path), {"org.example": "yes"})
    assert b"read line" not in Path(f"/proc/{state['pid']}/cmdline").read_bytes(), "the command runs already"

    runtime.ok("start", name)
    assert runtime.state(name)["status"] == "running"
    os.close(writer)
    runtime.wait_for(name, "stopped")
    assert runtime.state(name)["pid"] == 0

    runtime.ok("delete", name)
    assert "does not exist" in runtime.fails("state", name)
    assert list(runtime.root.iterdir()) == []
    assert groups_of(name) == []


def test_what_no_container_is_called_is_an_error_for_every_verb(runtime: Runtime) -> None:
    for words in ("state x", "start x", "kill x KILL", "delete x", "exec x true", "ps x", "pause x", "resume x"):
        assert "container does not exist" in runtime.fails(*words.split())
    runtime.ok("delete", "--force", "x")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "ä"])
def test_ids_that_could_be_paths_are_refused(name: str, runtime: Runtime) -> None:
    assert "invalid container ID format" in runtime.fails("state", name)


def test_a_container_is_started_once(bundle: Bundle, runtime: Runtime) -> None:
    name = bundle.write("/bin/sleep", "100").start()
    assert "cannot start an already running container" in runtime.fails("start", name)
    runtime.ok("kill", name, "KILL")
    runtime.wait_for(name, "stopped")
    assert "cannot start a container that has stopped" in runtime.fails("start", name)


def test_an_id_is_given_once_and_the_first_keeps_it(bundle: Bundle, runtime: Runtime) -> None:
    name = bundle.write("/bin/sleep", "100").create()
    before = runtime.state(name)
    assert "already exists" in runtime.fails("create", "--bundle", str(bundle.path), name)
    assert runtime.state(name) == before


def test_a_running_container_is_deleted_by_force_only(bundle: Bundle, runtime: Runtime) -> None:
    name = bundle.write("/bin/sleep", "100").start()
    pid = runtime.state(name)["pid"]
    assert "that is not stopped: running" in runtime.fails("delete", name)
    assert alive(pid)
    runtime.ok("delete", "--force", name)
    assert not alive(pid)


def test_a_created_container_is_deleted_without_ever_having_run(bundle: Bundle, runtime: Runtime) -> None:
    name = bundle.write("/bin/true").create()
    pid = runtime.state(name)["pid"]
    runtime.ok("delete", name)
    assert not alive(pid)


@pytest.mark.parametrize("word", ["TERM", "SIGTERM", "sigterm", "15", None])
def test_signals_are_named_in_every_usual_way(word: str | None, bundle: Bundle, runtime: Runtime) -> None:
    name = bundle.sh("trap 'exit 0' TERM; : > /dev/shm/ready; while :; do sleep 0.05; done").start()
    until(lambda: runtime("exec", name, "test", "-e", "/dev/shm/ready").returncode == 0, "it has a handler")
    runtime.ok("kill", name, *([word] if word else []))
    runtime.wait_for(name, "stopped")
    assert "container not running" in runtime.fails("kill", name, "KILL")
    assert "unknown signal" in runtime.fails("kill", name, "NOSUCH")


def test_kill_all_reaches_processes_that_are_not_in_a_pid_namespace(bundle: Bundle, runtime: Runtime) -> None:
    spec = {"linux": {"namespaces": [{"type": name} for name in ("mount", "ipc", "uts")]}}
    name = bundle.sh("sleep 100 & exec sleep 100", **spec).start()
    until(lambda: len(json.loads(runtime.ok("ps", "--format", "json", name))) == 2, "both processes run")
    pids = json.loads(runtime.ok("ps", "--format", "json", name))
    runtime.ok("kill", "--all", name, "KILL")
    runtime.wait_for(name, "stopped")
    runtime.ok("delete", name)
    assert not any(alive(pid) for pid in pids)


def test_run_passes_on_the_exit_code_and_the_streams_and_leaves_nothing(bundle: Bundle, runtime: Runtime) -> None:
    done = bundle.sh("cat; echo oops >&2; exit 42").run(stdin=None, input="in and out")
    assert (done.returncode, done.stdout, done.stderr) == (42, "in and out", "oops\n")
    assert runtime.ok("list", "--quiet") == ""
    assert groups_of(bundle.names[-1]) == []


def test_a_command_that_ends_by_a_signal_has_the_exit_code_of_a_shell(bundle: Bundle) -> None:
    spec = {"linux": {"namespaces": [{"type": name} for name in ("mount", "ipc", "uts")]}}
    assert bundle.sh("kill -TERM $$", **spec).run().returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["nosuch"], 'exec: \\"nosuch\\": executable file not found in $PATH'),
        (["/no/such"], 'exec: \\"/no/such\\": stat /no/such: no such file or directory'),
        (["/etc/passwd"], 'exec: \\"/etc/passwd\\": permission denied'),
        (["/etc"], 'exec: \\"/etc\\": permission denied'),
    ],
)
def test_a_command_that_can_not_be_run_is_told_at_create_as_engines_parse_it(
    args: list[str], why: str, bundle: Bundle, runtime: Runtime
) -> None:
    bundle.write(*args)
    assert why in runtime.fails("create", "--bundle", str(bundle.path), name := bundle.name())
    assert runtime.ok("list", "--quiet") == ""
    assert groups_of(name) == []


def test_a_config_that_is_wrong_is_refused_before_anything_is_made(bundle: Bundle, runtime: Runtime) -> None:
    config = bundle.path / "config.json"
    create = ("create", "--bundle", str(bundle.path), "wrong")
    for text, why in (
        ("{", "not JSON"),
        ('{"ociVersion": "2.0.0"}', "ociVersion"),
        ('{"ociVersion": "1.2.0"}', "root.path"),
        ('{"ociVersion": "1.2.0", "root": {"path": "/no/such"}, "process": {"args": ["x"]}}', "invalid rootfs"),
        ('{"ociVersion": "1.2.0", "root": {"path": "/"}, "process": {"args": ["x"]}}', "invalid rootfs"),
        ('{"ociVersion": "1.2.0", "root": {"path": 7}}', "config.json.root.path"),
    ):
        config.write_text(text)
        assert why in runtime.fails(*create)
    config.unlink()
    assert "config.json not found" in runtime.fails(*create)
    assert runtime.ok("list", "--quiet") == ""


def test_errors_go_to_the_log_in_the_form_that_engines_read(bundle: Bundle, runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = runtime("state", "nobody")
    assert 'level=error msg="container does not exist: nobody"' in done.stderr
    flags = ["--log", str(log), "--log-format", "json"]
    subprocess_error = type(runtime)(runtime.root, tuple(flags)).fails("state", "nobody")
    assert subprocess_error == "container does not exist: nobody\n"
    said = json.loads(log.read_text())
    assert (said["level"], said["msg"]) == ("error", "container does not exist: nobody")
    assert said["time"].endswith("Z")


def test_the_pid_file_names_the_first_process(bundle: Bundle, runtime: Runtime, tmp_path: Path) -> None:
    name = bundle.write("/bin/sleep", "100").create("--pid-file", str(tmp_path / "pid"))
    assert int((tmp_path / "pid").read_text()) == runtime.state(name)["pid"]


def test_descriptors_are_passed_on_where_that_is_asked_for_and_no_others(bundle: Bundle, runtime: Runtime) -> None:
    bundle.sh("ls /proc/self/fd; cat <&3")
    with (bundle.path / "given").open("w+") as given, (bundle.path / "secret").open("w") as secret:
        given.write("from outside\n")
        given.seek(0)
        passed = (given.fileno(), secret.fileno())
        moving = f"import os; os.dup2({passed[0]}, 203); os.dup2({passed[1]}, 4); os.dup2(203, 3); os.close(203);"
        words = ("--root", str(runtime.root), "run", "--preserve-fds", "1", "--bundle", str(bundle.path))
        argv = [*PROGRAM[:-1], moving + START, *words, bundle.name()]
        done = subprocess.run(argv, capture_output=True, text=True, pass_fds=passed)
    *listed, last = done.stdout.split("\n")[:-1]
    assert last == "from outside"
    assert set(listed) - {"10", "11"} == {"0", "1", "2", "3", "4"}, "the fourth is that of ls"
    assert "3 is not open" in runtime.fails("run", "--preserve-fds", "1", "--bundle", str(bundle.path), "x")


def test_containers_are_listed_and_their_processes(bundle: Bundle, runtime: Runtime) -> None:
    assert runtime.ok("list").split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert runtime.ok("list", "--format", "json") == "null"
    name = bundle.write("/bin/sleep", "100").start()
    pid = runtime.state(name)["pid"]
    assert [(each["id"], each["pid"]) for each in json.loads(runtime.ok("list", "-f", "json"))] == [(name, pid)]
    assert runtime.ok("list", "-q") == f"{name}\n"
    assert json.loads(runtime.ok("ps", "--format", "json", name)) == [pid]


def test_a_paused_container_stands_still_until_it_is_resumed(bundle: Bundle, runtime: Runtime) -> None:
    name = bundle.write("/bin/sleep", "100").start()
    runtime.ok("pause", name)
    assert runtime.state(name)["status"] == "paused"
    assert "cannot exec in a paused container" in runtime.fails("exec", name, "true")
    runtime.ok("resume", name)
    assert runtime.state(name)["status"] == "running"
    assert "container not paused" in runtime.fails("resume", name)
    runtime.ok("pause", name)
    runtime.ok("delete", "--force", name)


def test_limits_are_changed_while_it_runs_and_what_it_uses_is_told(bundle: Bundle, runtime: Runtime) -> None:
    name = bundle.write("/bin/sleep", "100").start()
    runtime.ok("update", "--memory", "64m", "--pids-limit", "20", name)
    said = json.loads(runtime.ok("events", "--stats", name))
    assert (said["type"], said["id"]) == ("stats", name)
    assert said["data"]["memory"]["usage"]["limit"] == 64 << 20
    assert said["data"]["pids"] == {"current": 1, "limit": 20}
    runtime.ok("update", "--resources", "-", name, stdin=None, input='{"pids": {"limit": 30}}')
    assert json.loads(runtime.ok("events", "--stats", name))["data"]["pids"]["limit"] == 30


def test_without_pivot_the_root_is_moved(bundle: Bundle) -> None:
    done = bundle.sh("ls /; cd ..; ls; grep -c proc /proc/self/mountinfo").run("--no-pivot")
    assert done.returncode == 0
    here, above = sorted(path.name for path in bundle.rootfs.iterdir()), done.stdout.split()
    assert above[:-1] == [*here, *here]
