"""``--log-format json``: errors and progress for programs, one object a line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.image import Image
    from buildlib.store import Store


def lines(*words: str) -> tuple[int, list[dict[str, object]]]:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def test_an_error_is_an_object(tmp_path: Path) -> None:
    code, (error,) = lines("buildlib", "--log-format=json", f"--root={tmp_path}/store", "rmi", "no-such-image")
    assert code == 125
    assert error["level"] == "error"
    assert "no-such-image" in str(error["event"])
    assert error["exit_code"] == 125


@pytest.mark.root
def test_progress_is_an_object_for_each_blob(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    root = f"--root={store.root}"
    code, told = lines("buildlib", root, "--log-format=json", "push", "busybox", f"oci:{tmp_path}/layout:a")
    assert code == 0
    assert {"bytes moved"} <= {event["event"] for event in told}
    assert all("timestamp" in event for event in told)


@pytest.mark.root
def test_a_build_tells_its_steps(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo hi\n")
    code, told = lines("buildlib", f"--root={store.root}", "--log-format=json", "build", str(tmp_path))
    assert code == 0
    assert told
