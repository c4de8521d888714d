"""Runs with limits: each has a control group of its own below the caller's, and none is left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.errors import SandboxError
from buildlib.linux.cgroups import Cgroup, mounted

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Place

pytestmark = pytest.mark.root

MIB = 1 << 20


def run(place: Place, script: str, resources: dict[str, Any], parent: str = "") -> int:
    args = place.arguments("/bin/sh", "-c", script)
    args["spec"]["linux"].update(resources=resources, cgroupsPath=parent)
    with Path(os.devnull).open("r+") as null:
        return int(place.worker.call("run", args, (null.fileno(),) * 3)["exit_code"])


def ours(place: Place) -> list[Path]:
    """The groups of runs below a parent that only this test has, in whatever hierarchy."""
    folders = [Path(tree.place(parent(place))) for tree in mounted()]
    return [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()]


def parent(place: Place) -> str:
    return f"buildlib-test-{place.root.parent.name[:40]}-{os.getpid()}"


@pytest.fixture(autouse=True)
def _cleared(place: Place) -> Any:
    yield
    Cgroup.at(parent(place)).remove()


def test_limits_hold_and_the_group_is_gone_afterwards(place: Place) -> None:
    place.prepare()
    script = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done"
    assert run(place, script, {"pids": {"limit": 10}}, parent(place)) != 0
    assert run(place, "true", {"pids": {"limit": 10}}, parent(place)) == 0
    assert ours(place) == []


def test_who_takes_more_memory_than_it_may_is_killed(place: Place) -> None:
    place.prepare()
    limits = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    code = run(place, "exec dd if=/dev/zero of=/dev/null bs=64M count=1", limits, parent(place))
    assert code == 137
    assert ours(place) == []


def test_the_group_lies_below_our_own(place: Place) -> None:
    place.prepare()
    out = place.root / "out"
    args = place.arguments("cat", "/proc/self/cgroup")
    args["spec"]["linux"].update(resources={"cpu": {"shares": 512}}, namespaces=[{"type": "mount"}, {"type": "pid"}])
    with out.open("w") as file, Path(os.devnull).open("r+") as null:
        place.worker.call("run", args, (null.fileno(), file.fileno(), null.fileno()))
    names = [line.split(":", 2)[2] for line in out.read_text().splitlines() if "buildlib-run-" in line]
    assert names
    own = Path("/proc/self/cgroup").read_text()
    assert all(f":{os.path.dirname(name)}\n" in own or os.path.dirname(name) in own for name in names)  # noqa: PTH120


def test_a_limit_that_can_t_be_had_names_its_field_and_leaves_nothing(place: Place) -> None:
    place.prepare()
    with pytest.raises(SandboxError, match=r"linux.resources.cpu.cpus: cpuset.cpus does not take '4000'"):
        run(place, "true", {"cpu": {"cpus": "4000"}}, parent(place))
    assert ours(place) == []


def test_where_no_group_can_be_made_the_limit_is_named(place: Place) -> None:
    place.prepare()
    # A file of the kernel stands where the parent would be.
    with pytest.raises(SandboxError, match=r"linux.resources \(pids\): no control group can be made") as caught:
        run(place, "true", {"pids": {"limit": 10}}, "/cgroup.procs")
    assert caught.value.hint is not None


def test_a_cancelled_run_leaves_no_group(place: Place) -> None:
    place.prepare()
    args = place.arguments("sleep", "1000")
    args["spec"]["linux"].update(resources={"pids": {"limit": 10}}, cgroupsPath=parent(place))
    with Path(os.devnull).open("r+") as null:
        pending = place.worker.submit("run", args, (null.fileno(),) * 3)
    until(lambda: ours(place), "the group")
    pending.cancel()
    until(lambda: not ours(place), "the group to be removed")


def test_what_a_killed_worker_left_is_swept_by_the_next_run(place: Place) -> None:
    place.prepare()
    process = subprocess.Popen(["true"])
    process.wait()
    stale = Cgroup.at(f"{parent(place)}/buildlib-run-{process.pid}.1", {"pids"}).create()
    assert run(place, "true", {"pids": {"limit": 10}}, parent(place)) == 0
    assert not stale.exists()
