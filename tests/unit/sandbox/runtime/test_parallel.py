"""Many containers at the same time: none is lost, and nothing of them is left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import PROGRAM, groups_of

if TYPE_CHECKING:
    from .conftest import Bundle, Runtime

pytestmark = pytest.mark.root

MARK = "RUNTIME_TEST_PARALLEL"


@pytest.mark.parametrize("count", [30, pytest.param(100, marks=pytest.mark.slow)])
def test_all_run_and_nothing_is_left(count: int, bundle: Bundle, runtime: Runtime, tmp_path: Path) -> None:
    bundle.sh("hostname; exec sleep 0.5")
    token = f"{MARK}={os.urandom(8).hex()}"
    name, _, value = token.partition("=")
    mounts, descriptors = mounted(), open_here()
    started = []
    for number in range(count):
        argv = [*PROGRAM, "--root", str(runtime.root), "run", "--bundle", str(bundle.path), f"many-{number}"]
        with (tmp_path / f"{number}.out").open("wb") as out:
            environment = {**os.environ, name: value}
            started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment))
    codes = [process.wait(120) for process in started]
    said = [(tmp_path / f"{number}.out").read_text() for number in range(count)]
    assert (set(codes), set(said)) == ({0}, {"buildlib\n"})

    assert runtime.ok("list", "--quiet") == ""
    assert [left for number in range(count) for left in groups_of(f"many-{number}")] == []
    assert carrying(token) == []
    assert (mounted(), open_here()) == (mounts, descriptors)


def mounted() -> int:
    """Mounts in this namespace, those of other tests aside."""
    return sum("/runtime" in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


def open_here() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def carrying(token: str) -> list[str]:
    """Processes that inherited the variable."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(folder.name)
        except OSError:
            continue
    return found
