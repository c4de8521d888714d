"""Real engines that start ``buildlib-runtime`` as their runtime; what they do with it nobody here wrote."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from tests.interop.conftest import CONTAINERS_CONF, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOME = Path(__file__).resolve().parents[3]

SCRIPT = """\
#!/bin/sh
# {where}: the runtime as it is in this checkout; -S leaves out what an editable installation does to every import.
exec {python} -I -S -c 'import sys; sys.path[:0] = ["{home}"]
from buildlib.sandbox.runtime.command_line import program; program()' --root {where}.state "$@"
"""


@frozen
class Done:
    """How a command of an engine ended."""

    code: int
    out: str
    err: str


def until(is_so: Callable[[], bool], what: str) -> None:
    """Ask again and again; a test does not wait for ever."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.1)


@frozen
class Engine:
    """``engine("run", …)``: a real program with its arguments; nothing of it fails a test by itself."""

    argv: tuple[str, ...]
    environment: dict[str, str] | None = None

    def __call__(self, *words: str, given: str = "") -> Done:
        argv = [*self.argv, *words]
        done = subprocess.run(argv, env=self.environment, input=given, capture_output=True, text=True, timeout=120)
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, given: str = "") -> str:
        done = self(*words, given=given)
        assert done.code == 0, f"{words}: {done.err}"
        return done.out

    def on_a_terminal(self, *words: str) -> str:
        """What it shows on a terminal of 33 rows and 77 columns."""
        line = subprocess.list2cmdline([*self.argv, *words])
        argv = ["script", "--quiet", "--return", "--command", f"stty rows 33 cols 77; {line}", "/dev/null"]
        done = subprocess.run(argv, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True)
        # Each terminal that it passes through adds a return; script(1) shows the end of its own input.
        return re.sub("\r+\n", "\n", done.stdout.decode()).replace("\0", "").replace("^@", "")


@pytest.fixture
def runtime_program(tools: Path) -> str:
    path = tools / "buildlib-runtime"
    path.write_text(SCRIPT.format(where=path, python=sys.executable, home=HOME))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def engine_environment(tools: Path, containers_environment: dict[str, str], runtime_program: str) -> dict[str, str]:
    """Podman and buildah find the runtime by their configuration."""
    conf = Path(containers_environment["CONTAINERS_CONF"])
    chosen = f'runtime = "ours"\n[engine.runtimes]\nours = ["{runtime_program}"]\n'
    conf.write_text(CONTAINERS_CONF.replace('runtime = "runc"\n', chosen))
    return containers_environment | {"TERM": "xterm", "XDG_RUNTIME_DIR": str(tools)}


@pytest.fixture
def engine_podman(
    tools: Path, engine_environment: dict[str, str], runtime_program: str, busybox_tar: str
) -> Iterator[Engine]:
    program("conmon")
    store = ("--root", f"{tools}/p", "--runroot", f"{tools}/r", "--storage-driver", "vfs")
    argv = (program("podman"), *store, "--cgroup-manager", "cgroupfs", "--events-backend", "none")
    engine = Engine(argv, engine_environment)
    engine.ok("import", "--quiet", busybox_tar, "busy")
    yield engine
    engine("rm", "--all", "--force", "--time", "0")
    state = Path(f"{runtime_program}.state")
    assert not state.exists() or not list(state.iterdir()), "the runtime still knows a container"
