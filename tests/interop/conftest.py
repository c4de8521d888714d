"""Real podman, buildah, skopeo and umoci, each with storage of its own in the test's folder. They run nowhere else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""
"""Modest limits work on every machine: podman's own defaults are above what a container or CI job may set."""

POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'


@frozen
class Program:
    """A real program with the arguments and the environment that keep it inside the test's folder."""

    name: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run it and return what it printed; a failure fails the test with all its output."""
        argv = [self.name, *self.arguments, *arguments]
        done = subprocess.run(argv, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
        return done.stdout


def program(name: str, package: str | None = None) -> str:
    """The path of a program that is installed, or a skip that names the package."""
    return shutil.which(name) or pytest.skip(f"{name} is not installed: apt-get install {package or name}")


@pytest.fixture
def tools() -> Iterator[Path]:
    """A folder for the storage of these programs; podman insists on a path of less than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="tools-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def containers_environment(tools: Path) -> dict[str, str]:
    """Environment in which these tools read nothing of this machine's settings and write only to the test's folder."""
    return environment_in(tools)


def environment_in(folder: Path) -> dict[str, str]:
    """The environment whose home and settings lie in ``folder``."""
    home = folder / "home"
    (home / ".config" / "containers").mkdir(parents=True)
    (home / "tmp").mkdir()
    conf = home / "containers.conf"
    conf.write_text(CONTAINERS_CONF)
    (home / ".config" / "containers" / "policy.json").write_text(POLICY)
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "CONTAINERS_CONF": str(conf),
        "LC_ALL": "C.UTF-8",
    }


def _storage(tools: Path, name: str) -> tuple[str, ...]:
    # vfs needs no mounts of its own, so that nothing is left to unmount.
    return "--root", f"{tools}/{name}", "--runroot", f"{tools}/{name}-run", "--storage-driver", "vfs"


@pytest.fixture
def podman(tools: Path, containers_environment: dict[str, str]) -> Iterator[Program]:
    """``podman("run", "--rm", "--network", "host", …)`` on a store of its own."""
    arguments = (*_storage(tools, "podman"), "--cgroup-manager", "cgroupfs", "--events-backend", "none")
    tool = Program(program("podman"), arguments, containers_environment)
    program("runc")
    yield tool
    tool("rm", "--all", "--force", check=False)


@pytest.fixture
def buildah(tools: Path, containers_environment: dict[str, str]) -> Iterator[Program]:
    """``buildah("bud", …)`` on a store of its own; chroot isolation, which works inside a container too."""
    yield from buildah_in(tools, containers_environment)


def buildah_in(tools: Path, environment: dict[str, str]) -> Iterator[Program]:
    """What the fixture ``buildah`` gives, for a fixture of a wider scope."""
    tool = Program(program("buildah"), _storage(tools, "buildah"), environment | {"BUILDAH_ISOLATION": "chroot"})
    yield tool
    tool("rm", "--all", check=False)


@pytest.fixture
def skopeo(tools: Path, containers_environment: dict[str, str]) -> Program:
    """``skopeo("inspect", …)``."""
    return Program(
        program("skopeo"), ("--insecure-policy", "--tmpdir", str(tools / "home" / "tmp")), containers_environment
    )


@pytest.fixture
def umoci(containers_environment: dict[str, str]) -> Program:
    """``umoci("unpack", …)``."""
    return Program(program("umoci"), (), containers_environment)


@pytest.fixture
def bud(tmp_path: Path) -> Program:
    """Our own Dockerfile command, on the store of the fixture ``store``."""
    return Program(str(Path(sys.executable).parent / "bud"), ("--root", str(tmp_path / "store")))


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """The address of the one docker daemon of all tests."""
    from tests.interop.docker_engine import engine

    with engine() as address:
        yield address
