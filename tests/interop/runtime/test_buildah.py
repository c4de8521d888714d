"""buildah with our runtime for its RUN steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.conftest import program

from .conftest import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture
def buildah(tools: Path, engine_environment: dict[str, str], runtime_program: str) -> Iterator[Engine]:
    environment = engine_environment | {"BUILDAH_ISOLATION": "oci", "BUILDAH_RUNTIME": runtime_program}
    store = ("--root", f"{tools}/b", "--runroot", f"{tools}/r", "--storage-driver", "vfs")
    engine = Engine((program("buildah"), *store), environment)
    yield engine
    engine("rm", "--all")


@pytest.fixture
def container(buildah: Engine, busybox_tar: str) -> str:
    name = buildah.ok("from", "scratch").strip()
    buildah.ok("add", "--quiet", name, busybox_tar, "/")
    return name


def test_run_passes_streams_and_the_exit_code_on(buildah: Engine, container: str) -> None:
    flags = ("--network", "host")
    done = buildah("run", *flags, container, "--", "sh", "-c", "echo out; id -u; exit 3")
    assert done.out == "out\n0\n"
    assert "exit status 3" in done.err
    assert "executable file not found in $PATH" in buildah("run", *flags, container, "--", "nosuch").err
    assert buildah.ok("run", *flags, "--user", "1000:44", container, "--", "id", "-g") == "44\n"


def test_run_on_a_terminal(buildah: Engine, container: str) -> None:
    shown = buildah.on_a_terminal("run", "--network", "host", "--tty", container, "--", "tty")
    assert shown == "/dev/pts/0\n"


def test_a_dockerfile(buildah: Engine, container: str, tmp_path: Path) -> None:
    buildah.ok("commit", "--quiet", container, "localhost/busy")
    (tmp_path / "Dockerfile").write_text("FROM localhost/busy\nRUN echo made > /made && rm /etc/passwd\n")
    buildah.ok("bud", "--quiet", "--network", "host", "--pull-never", "-t", "localhost/built", str(tmp_path))
    name = buildah.ok("from", "--pull-never", "localhost/built").strip()
    assert buildah.ok("run", "--network", "host", name, "--", "cat", "/made") == "made\n"
