"""The container image of this project, built by this project, from the Dockerfile of its examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import buildlib

if TYPE_CHECKING:
    from buildlib.store import Store

pytestmark = [pytest.mark.root, pytest.mark.slow]

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKERFILE = CHECKOUT / "examples" / "kubernetes" / "Dockerfile"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Those of this checkout and of all that it needs, as pip is configured here to get them."""
    folder = tmp_path / "context" / "wheels"
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", folder, CHECKOUT]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"pip gets no wheels here: {done.stderr.strip().splitlines()[-1]}")
    return folder


def with_python(store: Store, debian_tar: str) -> str:
    """A base with the Python of the tests, since no registry can be asked for one."""
    prefix = Path(sys.base_prefix)
    used = subprocess.run(
        ["ldd", prefix / "bin" / "python3", *prefix.glob("lib/python3*/lib-dynload/*.so")],
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    libraries = {path for path in re.findall(r"=> (/\S+)", used) if not re.search(r"/(libc|libm|ld-.*)\.so", path)}
    with store.from_image(f"tarball:{debian_tar}") as c:
        c.copy(str(prefix) + "/", dest="/usr/local/", context="/", exclude=["**/test", "**/__pycache__", "share"])
        c.copy(*(str(Path(path).resolve()) for path in libraries), dest="/usr/local/lib/", context="/")
        c.run("ldconfig")
        c.commit("localhost/python")
    return "localhost/python"


def test_it_is_built_by_itself_and_runs(store, debian_tar, wheels):
    base = with_python(store, debian_tar)
    image = buildlib.build(
        str(wheels.parent), store=store, file=str(DOCKERFILE), build_arg={"BASE": base}, tag=["localhost/buildlib"]
    )
    assert image.config.config.entrypoint == ("buildlib",)
    with store.from_image(image) as c:
        assert c.run(["buildlib", "--version"], capture=True).stdout.startswith("buildlib")
        assert "wheels" not in c.run(["ls", "/"], capture=True).stdout
        # A store on the disk of the container, in which nothing may be mounted.
        script = "buildlib --root /tmp/s from scratch && buildlib --root /tmp/s images"
        assert "working-container" in c.run(script, capture=True).stdout
