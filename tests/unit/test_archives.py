"""A root file system archive that became an image is known again by its identity, and not read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.archives import find

if TYPE_CHECKING:
    from buildlib.store import Store

pytestmark = pytest.mark.root
LONG_AGO = 1_000_000_000


@pytest.fixture
def tar(busybox_tar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive, and no rule against what is young: a change time can't be set back."""
    monkeypatch.setattr("buildlib.archives.RACY_NS", 0)
    return Path(shutil.copy(busybox_tar, tmp_path / "base.tar"))


def test_it_is_read_once(store: Store, tar: Path) -> None:
    image = store.pull(f"tarball:{tar}")
    assert find(store, str(tar)) == image
    with store.from_image(f"tarball:{tar}") as container:
        assert container.base == image
    assert store.pull(f"tarball:{tar}", names=["named"]).names == ("localhost/named:latest",)
    assert len(store.db.rows("SELECT id FROM layers")) == 1


def test_another_time_or_file_of_that_name_is_another_archive(store: Store, tar: Path) -> None:
    image = store.pull(f"tarball:{tar}")
    os.utime(tar, (LONG_AGO, LONG_AGO))
    assert find(store, str(tar)) is None
    assert store.pull(f"tarball:{tar}") == image
    assert find(store, str(tar)) == image
    shutil.copy(tar, tar.with_name("copy"))
    tar.with_name("copy").rename(tar)
    assert find(store, str(tar)) is None
    assert find(store, str(tar.with_name("missing"))) is None


def test_an_image_that_was_removed_is_made_again(store: Store, tar: Path) -> None:
    image = store.pull(f"tarball:{tar}")
    image.remove()
    assert find(store, str(tar)) is None
    assert store.pull(f"tarball:{tar}").id == image.id


def test_a_young_archive_is_not_trusted(store: Store, busybox_tar: str, tmp_path: Path) -> None:
    tar = shutil.copy(busybox_tar, tmp_path / "young.tar")
    store.pull(f"tarball:{tar}")
    assert find(store, str(tar)) is None
