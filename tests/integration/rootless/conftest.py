"""Two ordinary users: one with subordinate ids, one without."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .person import Person

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter; that of pytest is for its user alone."""
    folder = Path(tempfile.mkdtemp(prefix="buildlib-rootless-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def busybox(place: Path, busybox_tar: str) -> str:
    """The root file system of ``busybox_tar`` where ordinary users can read it."""
    path = shutil.copy(busybox_tar, place / "busybox.tar")
    os.chmod(path, 0o644)  # noqa: PTH101
    return str(path)


@pytest.fixture
def person(place: Path) -> Person:
    """A user with 65,536 subordinate ids."""
    if shutil.which("newuidmap") is None:
        pytest.skip("newuidmap is not installed: apt-get install uidmap")
    (place / "ranged").mkdir()
    return Person(place / "ranged", "ranged", subordinate=True)


@pytest.fixture
def single(place: Path) -> Person:
    """A user with its own id and no other."""
    (place / "single").mkdir()
    return Person(place / "single", "single", subordinate=False)
