"""A store folder with a busybox layer, a worker for it, and a way to run commands in containers of it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from buildlib import worker as workers
from buildlib.sandbox.defaults import default_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildlib.worker import Pending, Worker

BASE = "ba5e" * 4
KEY = "c0" * 32


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Place:
    """A store folder, its worker, and one container at a time by its key."""

    def __init__(self, root: Path, worker: Worker) -> None:
        self.root = root
        self.worker = worker
        self.parents = [BASE]

    def layer(self, name: str) -> Path:
        """The files of a layer; made where it is missing."""
        folder = self.root / "layers" / name / "fs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def prepare(self, key: str = KEY, parents: list[str] | None = None) -> Path:
        """The upper of a prepared container."""
        parents = self.parents if parents is None else parents
        self.worker.call("prepare", {"key": key, "parents": parents})
        return self.root / "containers" / key / "upper"

    def arguments(self, *argv: str, key: str = KEY, parents: list[str] | None = None, **options: Any) -> dict[str, Any]:
        names = {"binds", "files", "user", "workdir", "timeout"}
        args = {name: options.pop(name) for name in list(options) if name in names}
        spec = default_spec(argv, **{"env": ["PATH=/bin:/usr/bin"], **options})
        return {"key": key, "parents": self.parents if parents is None else parents, "spec": spec.to_dict(), **args}

    def submit(self, *argv: str, fds: tuple[int, int, int] | None = None, **options: Any) -> Pending:
        with Path(os.devnull).open("r+") as null:
            nowhere = (null.fileno(), null.fileno(), null.fileno())
            return self.worker.submit("run", self.arguments(*argv, **options), fds or nowhere)

    def run(self, *argv: str, **options: Any) -> Ran:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open() as null:
            reply = self.submit(*argv, fds=(null.fileno(), out.fileno(), err.fileno()), **options).result()
            out.seek(0)
            err.seek(0)
            return Ran(reply["exit_code"], out.read().decode(), err.read().decode())

    def sh(self, script: str, **options: Any) -> Ran:
        return self.run("/bin/sh", "-c", script, **options)


@pytest.fixture
def place(tmp_path: Path, busybox_tar: str) -> Iterator[Place]:
    root = tmp_path / "store"
    for name in (f"layers/{BASE}/fs", "containers", "caches", "tmp", "empty"):
        (root / name).mkdir(parents=True)
    subprocess.run(["tar", "-xpf", busybox_tar, "-C", root / "layers" / BASE / "fs"], check=True)
    with workers.start(str(root)) as worker:
        yield Place(root, worker)


def listing(folder: Path) -> list[str]:
    """Everything below a folder, by relative path."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def processes(command: str) -> list[int]:
    """The pids of all processes with this command line, in whatever pid namespace they are."""
    wanted = command.replace(" ", "\0").encode() + b"\0"
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes() == wanted:
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def until(condition: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
    """Wait for something that must come about."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {seconds} s")


def interrupt_soon(condition: Callable[[], Any]) -> threading.Thread:
    """As Ctrl-C would: SIGINT for this process once ``condition`` holds."""

    def wait() -> None:
        until(condition, "what to interrupt")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread
