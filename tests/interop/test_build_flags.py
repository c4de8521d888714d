"""Every flag of ``buildah build`` and ``docker build``, as far as they are installed, is a flag of ``bud``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from bud.cli import VERB
from buildlib.cli.flags import GLOBAL_FLAGS


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
