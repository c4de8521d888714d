"""The runtime in the hands of a user without rights: its own id is root in the container, and nothing is limited."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

NOBODY = 65534


@pytest.fixture
def home(busybox_root: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rootless-") as name:
        home = Path(name)
        home.chmod(0o755)
        shutil.copytree(busybox_root, home / "rootfs", symlinks=True)
        shutil.chown(home, NOBODY, NOBODY)
        yield home


def as_nobody(home: Path, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(home)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        return subprocess.run([*PROGRAM, *words], cwd=home, env=environment, text=True, timeout=60, **who, **streams)
    except PermissionError:
        pytest.skip("this Python lies where other users can't read it")


def test_a_container_is_run_entered_and_removed(home: Path) -> None:
    assert as_nobody(home, "spec", "--rootless").returncode == 0
    config = json.loads((home / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["sleep", "100"]}
    (home / "config.json").write_text(json.dumps(config))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert as_nobody(home, "run", "--detach", "one", **quiet).returncode == 0
    inside = as_nobody(home, "exec", "one", "sh", "-c", "id -u; hostname; cat /proc/1/comm; cat /proc/self/uid_map")
    assert inside.stdout.split() == ["0", "buildlib", "sleep", "0", str(NOBODY), "1"]
    assert json.loads(as_nobody(home, "state", "one").stdout)["owner"] == "nobody"
    assert as_nobody(home, "delete", "--force", "one").returncode == 0
    assert as_nobody(home, "list", "--quiet").stdout == ""
