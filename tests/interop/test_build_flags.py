"""Every flag of ``buildah build`` and ``docker build`` is a flag of ``bud``; and those that hand images to docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bud.cli import VERB
from buildlib.cli.flags import GLOBAL_FLAGS
from tests.interop.builders import old_docker


def flags_of(program: str, **environment: str) -> set[tuple[str, str]]:
    """Short and long names in the help of a program's ``build``."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([path, "build", "--help"], capture_output=True, text=True, env={**os.environ, **environment})
    if "buildx component is missing" in done.stderr:
        pytest.skip("this docker command builds by a plugin that is not installed: buildx")
    found = set(re.findall(r"^ +(?:-(\w), |    )--([\w-]+)", done.stdout, re.MULTILINE))
    assert len(found) > 15, done.stdout + done.stderr
    return found


@pytest.mark.parametrize(
    ("program", "environment"),
    [("buildah", {}), ("docker", {"DOCKER_BUILDKIT": "1"}), ("docker", {"DOCKER_BUILDKIT": "0"})],
)
def test_each_flag_of_theirs_is_one_of_ours(program: str, environment: dict[str, str]) -> None:
    ours = {(flag.short, flag.name) for flag in (*VERB.flags, *GLOBAL_FLAGS)} | {("h", "help")}
    assert flags_of(program, **environment) - ours == set()


@pytest.mark.root
def test_an_image_is_loaded_into_the_daemon(docker_host: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\nLABEL which=loaded\n")
    argv = [str(Path(sys.executable).parent / "bud"), f"--root={tmp_path}/store", "-q", "--load", "-t=loaded:1"]
    subprocess.run([*argv, str(tmp_path)], check=True, env={**os.environ, "DOCKER_HOST": docker_host})
    program, _ = old_docker()
    argv = [program, "--host", docker_host, "inspect", "--format", "{{.Config.Labels.which}}", "loaded:1"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "loaded\n"
