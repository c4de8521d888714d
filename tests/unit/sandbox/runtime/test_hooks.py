"""Hooks run at their points, where the spec says, with the state on their standard input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.errors import FormatError
from buildlib.sandbox.runtime import hooks

from .conftest import groups_of

if TYPE_CHECKING:
    from .conftest import Bundle, Runtime


def hook(script: str, **more: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], **more}


@pytest.mark.root
def test_each_runs_once_in_order_in_its_namespace_with_the_state(
    bundle: Bundle, runtime: Runtime, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    told.mkdir()
    point = {"destination": "/told", "type": "bind", "source": str(told), "options": ["bind", "rw"]}
    outside = 'state=$(cat); echo "{at} $(readlink /proc/self/ns/mnt) $state" >> {file}'
    where = {"startContainer": "/told/log"}
    all_hooks = {
        name: [hook(outside.replace("{at}", name).replace("{file}", where.get(name, f"{told}/log")))]
        for name in hooks.NAMES
    }
    (bundle.rootfs / "told").mkdir(exist_ok=True)
    bundle.sh("echo process - '{}' >> /told/log; exec sleep 100", hooks=all_hooks)
    config = json.loads((bundle.path / "config.json").read_text())
    config["mounts"].append(point)
    (bundle.path / "config.json").write_text(json.dumps(config))

    name = bundle.start()
    runtime.ok("kill", name, "KILL")
    runtime.wait_for(name, "stopped")
    runtime.ok("delete", name)

    lines = [line.split(" ", 2) for line in (told / "log").read_text().splitlines()]
    points = [line[0] for line in lines]
    assert points[:3] == ["prestart", "createRuntime", "createContainer"]
    assert sorted(points[3:-1]) == ["poststart", "process", "startContainer"]  # that of the host is at the same time
    assert points.index("startContainer") < points.index("process")
    assert points[-1] == "poststop"
    here = str(Path("/proc/self/ns/mnt").readlink())
    for at, namespace, state in lines:
        if at != "process":
            assert (namespace == here) == (at not in ("createContainer", "startContainer"))
            assert json.loads(state)["id"] == name
    statuses = {line[0]: json.loads(line[2]).get("status") for line in lines}
    assert statuses["createRuntime"] == "creating"
    assert (statuses["poststart"], statuses["poststop"]) == ("running", "stopped")


@pytest.mark.root
@pytest.mark.parametrize("point", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_fails_before_the_start_ends_it_all(point: str, bundle: Bundle, runtime: Runtime) -> None:
    bundle.sh("echo ran", hooks={point: [hook("echo why >&2; exit 3")]})
    done = bundle.run()
    assert done.returncode == 1
    assert f"error running {point} hook #0: exit status 3, output: why" in done.stderr
    assert "ran" not in done.stdout
    assert runtime.ok("list", "--quiet") == ""
    assert groups_of(bundle.names[-1]) == []


@pytest.mark.root
@pytest.mark.parametrize("point", ["poststart", "poststop"])
def test_a_hook_that_fails_afterwards_is_told_and_changes_nothing(point: str, bundle: Bundle) -> None:
    done = bundle.sh("exit 5", hooks={point: [hook("exit 3")]}).run()
    assert done.returncode == 5
    assert f"error running {point} hook" in done.stderr


def test_a_hook_has_its_time_and_no_more() -> None:
    with pytest.raises(Exception, match="hook #1: hook timed out after 1s"):
        hooks.run("prestart", [hook("true"), hook("exec sleep 100", timeout=1)], b"{}")


def test_a_hook_has_the_environment_that_it_was_given_and_the_state(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"cat > {out}; tr '\\0' '\\n' < /proc/$$/environ >> {out}"
    hooks.run("prestart", [hook(script, env=["A=b", "PATH=/bin:/usr/bin"])], b"state\n")
    assert out.read_text() == "state\nA=b\nPATH=/bin:/usr/bin\n"


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ({"path": "relative"}, "not absolute"),
        ({}, "path is missing"),
        ({"path": "/x", "timeout": 0}, "timeout"),
        ([], "path is missing"),
    ],
)
def test_a_hook_that_can_not_be_meant_is_refused(entry: object, where: str) -> None:
    with pytest.raises(FormatError, match=where):
        hooks.check({"prestart": [entry]})
