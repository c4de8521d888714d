"""A script that says buildah does the same with buildlib."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.interop.cli.parity import Scenario, Tool, buildlib, compare
from tests.interop.cli.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.conftest import Program

pytestmark = pytest.mark.root

BASE = (
    "from --name preparing scratch",
    "add -q preparing busybox.tar /",
    "config --cmd sh --env PATH=/bin:/usr/bin preparing",
    "commit -q preparing base",
    "rm preparing",
)


@pytest.fixture
def tools(tmp_path: Path, buildah: Program, busybox_tar: str) -> Iterator[tuple[Tool, Tool]]:
    """Buildah and buildlib, each with the image ``base`` in its store and the same files in its working folder."""
    assert buildah.environment is not None
    environment = dict(buildah.environment)
    made = []
    for name in ("theirs", "ours"):
        folder = tmp_path / name / "folder"
        _fill(folder, busybox_tar)
        argv = (buildah.name, *buildah.arguments)
        made.append(Tool(argv, folder, environment) if name == "theirs" else buildlib(folder, environment))
    for tool in made:
        for line in BASE:
            done = tool.run(line)
            assert done.code == 0, f"{tool.argv[0]} {line}: {done.stderr}"
    yield made[0], made[1]
    for tool in made:
        tool.run("umount --all")


def _fill(folder: Path, busybox_tar: str) -> None:
    (folder / "dir" / "sub").mkdir(parents=True)
    (folder / "busybox.tar").symlink_to(busybox_tar)
    (folder / "file").write_text("hello\n")
    (folder / "list.txt").write_text("list\n")
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o4755)
    (folder / "dir" / "a").write_text("a\n")
    (folder / "dir" / "sub" / "b").write_text("b\n")
    (folder / "dir" / "link").symlink_to("a")
    (folder / "dir" / ".containerignore").write_text("sub\n")
    (folder / "ignored").write_text("a\n.containerignore\n")
    with tarfile.open(folder / "pack.tar", "w") as tar:
        for name, kind, data in (("inside", tarfile.DIRTYPE, b""), ("inside/x", tarfile.REGTYPE, b"x\n")):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.size = kind, 0o751, 7, 8, len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_buildlib_does_as_buildah_does_when(scenario: Scenario, tools: tuple[Tool, Tool]) -> None:
    compare(scenario, *tools)
