"""Devices for runs, by path and by CDI name; and runs without confinement."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from buildlib.container.devices import find
from buildlib.errors import FormatError, NotFound, RunError, SandboxError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.container import WorkingContainer

SPEC = {
    "cdiVersion": "0.6.0",
    "kind": "example.com/null",
    "containerEdits": {"env": ["ALL=1"]},
    "devices": [
        {
            "name": "one",
            "containerEdits": {
                "deviceNodes": [{"path": "/dev/one", "hostPath": "/dev/null", "fileMode": 0o600}],
                "mounts": [{"hostPath": "/etc", "containerPath": "/host-etc", "options": ["ro", "bind"]}],
            },
        },
        {"name": "two", "containerEdits": {"env": ["TWO=2"]}},
        {"name": "evil", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/sh"}]}},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    (tmp_path / "spec.yaml").write_text("not looked at")
    return str(tmp_path)


def test_a_path_of_the_host() -> None:
    (node,) = find(["/dev/null"]).nodes
    assert (node.path, node.type, node.major, node.minor) == ("/dev/null", "c", 1, 3)
    (node,) = find(["/dev/null:/dev/void:rwm"]).nodes
    assert node.path == "/dev/void"
    with pytest.raises(NotFound, match="/dev/nope"):
        find(["/dev/nope"])
    with pytest.raises(SandboxError, match="is no device"):
        find(["/etc/passwd"])


def test_a_name_that_is_specified(folder: str) -> None:
    found = find(["example.com/null=one"], [folder])
    (node,) = found.nodes
    assert (node.path, node.major, node.minor, node.file_mode) == ("/dev/one", 1, 3, 0o600)
    assert found.env == ("ALL=1",)
    assert found.binds[0]["target"] == "/host-etc"
    assert find(["example.com/null=two,required"], [folder]).env == ("ALL=1", "TWO=2")


def test_a_name_that_nobody_specifies(folder: str) -> None:
    assert find(["example.com/other=one", "example.com/null=nine"], [folder, "/nowhere"]) == ((), (), ())
    with pytest.raises(NotFound, match=r"example\.com/null=nine is not there"):
        find(["example.com/null=nine,required"], [folder])


def test_what_can_not_be_given_is_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="hooks"):
        find(["example.com/null=evil"], [folder])
    with pytest.raises(SandboxError, match="names no device"):
        find(["../../etc"], [folder])
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(FormatError, match=r"spec\.json"):
        find(["example.com/null=one"], [folder])


@pytest.mark.root
def test_a_run_sees_its_devices(container: WorkingContainer) -> None:
    seen = container.run("ls -l /dev/void; echo x > /dev/void", devices=["/dev/null:/dev/void"], capture=True).stdout
    assert "1,   3" in seen
    with pytest.raises(RunError):
        container.run("test -e /dev/void")
    assert "/dev/void" not in {change.path for change in container.diff()}


@pytest.mark.root
def test_an_insecure_run_is_not_confined(container: WorkingContainer, cached: WorkingContainer) -> None:
    script = "grep CapEff /proc/self/status; mkdir -p /m && mount -t tmpfs none /m && umount /m && echo mounted"
    assert "mounted" in container.run(script, security="insecure", capture=True).stdout
    assert "mounted" not in container.run(script, check=False, capture=True).stdout
    cached.run("echo 1 > /x")
    assert not cached.run("echo 1 > /x", security="insecure").cached
    with pytest.raises(UsageError, match="security"):
        container.run("true", security="none")
