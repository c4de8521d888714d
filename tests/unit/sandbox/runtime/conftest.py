"""Bundles with a busybox in them, and the runtime as the program that engines start."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import field, frozen

from buildlib.sandbox.runtime.verb_spec import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOME = str(Path(__file__).parents[4])
START = f"import sys; sys.path[:0] = [{HOME!r}]; from buildlib.sandbox.runtime.command_line import program; program()"
PROGRAM = (sys.executable, "-I", "-S", "-c", START)
"""As the console script, without the detour that an editable installation takes to every module."""
PATIENCE = 20


@frozen
class Runtime:
    """``runtime("state", id)``: the program with a root of its own."""

    root: Path
    flags: tuple[str, ...] = ()

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        argv = [*PROGRAM, "--root", str(self.root), *self.flags, *words]
        return subprocess.run(argv, text=True, timeout=60, **options)

    def ok(self, *words: str, **options: Any) -> str:
        """What it prints; a failure fails the test."""
        done = self(*words, **options)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout or ""

    def fails(self, *words: str, **options: Any) -> str:
        """What it says when it fails."""
        done = self(*words, **options)
        assert done.returncode != 0, f"{words} did not fail"
        return done.stderr

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("state", name))
        return found

    def wait_for(self, name: str, status: str) -> None:
        until(lambda: self.state(name)["status"] == status, f"{name} is {status}")


@frozen
class Bundle:
    """A directory with a config.json and, shared by all tests, a root file system."""

    path: Path
    rootfs: Path
    runtime: Runtime
    names: list[str] = field(factory=list)

    def write(self, *args: str, **process: Any) -> Bundle:
        """The config: ``args`` as the command; keywords are fields of the process, others of the spec."""
        spec = document()
        spec["root"] = {"path": str(self.rootfs), "readonly": False}
        spec["process"].update(terminal=False, args=list(args))
        top = {name: process.pop(name) for name in ("hooks", "mounts", "annotations", "linux") if name in process}
        spec["process"].update(process)
        spec["linux"].update(top.pop("linux", {}))
        spec.update(top)
        (self.path / "config.json").write_text(json.dumps(spec))
        return self

    def sh(self, script: str, **more: Any) -> Bundle:
        return self.write("/bin/sh", "-c", script, **more)

    def name(self) -> str:
        """An id that no other test has; what is left of it is removed."""
        self.names.append(f"test-{secrets.token_hex(6)}")
        return self.names[-1]

    def run(self, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.runtime("run", *flags, "--bundle", str(self.path), self.name(), **options)

    def create(self, *flags: str, **options: Any) -> str:
        # What it starts keeps the streams, so they must not be pipes that are read to their end.
        name = self.name()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
        done = self.runtime("create", "--bundle", str(self.path), *flags, name, **quiet)
        assert done.returncode == 0, self.runtime.fails("create", "--bundle", str(self.path), *flags, name)
        return name

    def start(self, *flags: str, **options: Any) -> str:
        name = self.create(*flags, **options)
        self.runtime.ok("start", name)
        return name


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory, busybox_tar: str) -> Path:
    root = tmp_path_factory.mktemp("runtime") / "rootfs"
    root.mkdir()
    subprocess.run(["tar", "-xpf", busybox_tar, "-C", root], check=True)
    for name in ("proc", "sys", "dev"):
        (root / name).mkdir()
    return root


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path / "state")


@pytest.fixture
def bundle(tmp_path: Path, runtime: Runtime, busybox_root: Path) -> Iterator[Bundle]:
    path = tmp_path / "bundle"
    path.mkdir()
    made = Bundle(path, busybox_root, runtime)
    yield made
    for name in made.names:
        runtime("delete", "--force", name)
        assert groups_of(name) == []


def until(is_so: Callable[[], bool], what: str) -> None:
    """Ask again and again; a test does not wait for ever."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def groups_of(name: str) -> list[str]:
    """The control groups of a container that are still there."""
    base = Path("/sys/fs/cgroup")
    places = [base / "buildlib" / name, *(path / "buildlib" / name for path in base.iterdir())]
    return [str(place) for place in places if place.is_dir()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
