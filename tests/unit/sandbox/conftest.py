"""A busybox root file system and a way to run a spec in it, each run in a process of its own as the worker does."""

from __future__ import annotations

import os
import subprocess
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from buildlib.linux import mount, namespaces
from buildlib.sandbox.defaults import default_spec
from buildlib.sandbox.launcher import launch

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildlib.oci.runtime import RuntimeSpec

ENV = ("PATH=/usr/bin:/bin",)


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Sandbox:
    """Runs specs in a root file system; the result, or the error, comes back from the disposable process."""

    def __init__(self, rootfs: Path) -> None:
        self.rootfs = rootfs

    def run(
        self,
        *args: str,
        spec: RuntimeSpec | None = None,
        timeout: float | None = None,
        cancel_fd: int | None = None,
        before: Callable[[], None] | None = None,
        **options: Any,
    ) -> Ran:
        spec = spec or default_spec(args, **{"env": ENV, **options})
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as said:
            with Path(os.devnull).open() as null:
                pid = os.fork()
                if pid == 0:
                    code = 250
                    try:
                        namespaces.unshare(namespaces.NEWNS)
                        mount.make_private()
                        if before is not None:
                            before()
                        stdio = (null.fileno(), out.fileno(), err.fileno())
                        code = launch(spec, str(self.rootfs), stdio=stdio, timeout=timeout, cancel_fd=cancel_fd)
                    except BaseException as error:
                        said.write(f"{type(error).__name__}: {error}".encode())
                        if os.environ.get("TRACE"):
                            traceback.print_exc()
                    finally:
                        said.flush()
                        os._exit(code)
            _, status = os.waitpid(pid, 0)
            for file in (out, err, said):
                file.seek(0)
            problem = said.read().decode()
            if problem:
                raise Refused(problem)
            return Ran(os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode())

    def sh(self, script: str, **options: Any) -> Ran:
        return self.run("/bin/sh", "-c", script, **options)


class Refused(Exception):
    """What launch() raised in the process that called it."""


@pytest.fixture
def rootfs(tmp_path: Path, busybox_tar: str) -> Path:
    root = tmp_path / "rootfs"
    root.mkdir()
    subprocess.run(["tar", "-xpf", busybox_tar, "-C", root], check=True)
    for name in ("proc", "sys", "dev"):
        (root / name).mkdir()
    return root


@pytest.fixture
def sandbox(rootfs: Path) -> Sandbox:
    return Sandbox(rootfs)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the host with something to steal and to spoil."""
    directory = tmp_path / "host"
    directory.mkdir()
    (directory / "secret").write_text("secret")
    return directory
