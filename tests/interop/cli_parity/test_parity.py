"""A script that says buildah does the same with buildlib."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.testing import serve_registry
from tests.interop.cli_parity import scenarios, settings, shown
from tests.interop.cli_parity.parity import Scenario, Tool, buildlib, compare, compare_scripts
from tests.interop.cli_parity.scripts import SCRIPTS, Script
from tests.interop.conftest import Program, program

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root


@pytest.fixture(scope="session")
def base_archive(tmp_path_factory: pytest.TempPathFactory, busybox_tar: str) -> Path:
    """A docker archive with the image ``localhost/base:latest``: busybox, PATH and a command."""
    layer = Path(busybox_tar).read_bytes()
    config = {
        "architecture": "amd64" if platform.machine() == "x86_64" else "arm64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "a test"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": ["localhost/base:latest"], "Layers": ["layer.tar"]}]
    path = tmp_path_factory.mktemp("base") / "base.tar"
    with tarfile.open(path, "w") as tar:
        documents = {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(config).encode()}
        for name, data in (documents | {"layer.tar": layer}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def buildah(tmp_path: Path, containers_environment: dict[str, str]) -> Iterator[Program]:
    """Buildah on overlay, which is as quick as it can be, with chroot isolation, which works inside a container too."""
    root = tmp_path / "buildah"
    arguments = ("--root", str(root), "--runroot", f"{root}-run", "--storage-driver", "overlay")
    yield Program(program("buildah"), arguments, containers_environment | {"BUILDAH_ISOLATION": "chroot"})
    # It mounts its own folder, and leaves that.
    subprocess.run(["umount", "--lazy", str(root / "overlay")], check=False, capture_output=True)


@pytest.fixture
def tools(tmp_path: Path, buildah: Program, base_archive: Path) -> Iterator[tuple[Tool, Tool]]:
    """Buildah and buildlib, each with the image ``base`` in its store and the same files in its working folder."""
    assert buildah.environment is not None
    environment = dict(buildah.environment)
    made = []
    for name in ("theirs", "ours"):
        folder = tmp_path / name / "folder"
        _fill(folder)
        argv = (buildah.name, *buildah.arguments)
        made.append(Tool(argv, folder, environment) if name == "theirs" else buildlib(folder, environment))
    for tool in made:
        done = tool.run(f"pull -q docker-archive:{base_archive}")
        assert done.code == 0, f"{tool.argv[0]} pull: {done.stderr}"
    yield made[0], made[1]
    for tool in made:
        tool.run("umount --all")


def _fill(folder: Path) -> None:
    (folder / "dir" / "sub").mkdir(parents=True)
    (folder / "file").write_text("hello\n")
    (folder / "list.txt").write_text("list\n")
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o4755)
    (folder / "dir" / "a").write_text("a\n")
    (folder / "dir" / "sub" / "b").write_text("b\n")
    (folder / "dir" / "link").symlink_to("a")
    (folder / "dir" / ".containerignore").write_text("sub\n")
    (folder / "ignored").write_text("a\n.containerignore\n")
    for kind in ("", ":gz", ":bz2", ":xz"):
        _pack(folder / f"pack.tar{kind.replace(':', '.')}", f"w{kind}")


def _pack(path: Path, mode: str) -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, kind, data in (("inside", tarfile.DIRTYPE, b""), ("inside/x", tarfile.REGTYPE, b"x\n")):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.size = kind, 0o751, 7, 8, len(data)
            tar.addfile(info, io.BytesIO(data))


ALL = (*scenarios.SCENARIOS, *shown.SCENARIOS, *settings.SCENARIOS)


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.title)
def test_buildlib_does_as_buildah_does_when(scenario: Scenario, tools: tuple[Tool, Tool]) -> None:
    compare(scenario, *tools)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.title)
def test_an_alias_is_enough_for(script: Script, tools: tuple[Tool, Tool]) -> None:
    with serve_registry() as one, serve_registry() as two:
        compare_scripts(script.text, script.images, *tools, [one.host, two.host])
