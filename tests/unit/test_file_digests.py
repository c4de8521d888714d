"""The memo of file digests: what it remembers, and what it dares not."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from buildlib.file_digests import RACY_NS, FileDigests

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.store import Store

DIGEST = "ab" * 32


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file whose times lie behind what is too young to be remembered."""
    path = tmp_path / "file"
    path.write_text("x")
    os.utime(path, (1, 1))
    deadline = path.stat().st_ctime_ns + RACY_NS
    while time.time_ns() <= deadline:
        time.sleep(0.1)
    return path


def test_a_digest_is_found_again_as_long_as_the_file_is_the_same(store: Store, old: Path) -> None:
    memo = FileDigests(store.db)
    memo.add(old.stat(), DIGEST)
    memo.save()
    again = FileDigests(store.db)
    assert again.find([old.stat(), old.stat()]) == [DIGEST, DIGEST]
    os.utime(old, (2, 2))
    assert again.find([old.stat()]) == [None]
    old.chmod(0o600)
    assert again.find([old.stat()]) == [None]


def test_nothing_is_written_before_it_is_saved(store: Store, old: Path) -> None:
    FileDigests(store.db).add(old.stat(), DIGEST)
    assert store.db.rows("SELECT * FROM file_digests") == []


def test_a_file_that_has_just_changed_is_not_remembered(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "young"
    path.write_text("x")
    memo = FileDigests(store.db)
    memo.add(path.stat(), DIGEST)
    os.utime(path, (1, 1))  # its mtime is old, but not its ctime
    memo.add(path.stat(), DIGEST)
    memo.save()
    assert memo.find([path.stat()]) == [None]


def test_many_files_are_asked_for_at_once(store: Store, tmp_path: Path) -> None:
    infos = []
    for number in range(1200):
        path = tmp_path / str(number)
        path.touch()
        infos.append(path.stat())
    rows = [(i.st_dev, i.st_ino, i.st_size, i.st_mtime_ns, i.st_ctime_ns, bytes.fromhex(DIGEST)) for i in infos]
    with store.db.transaction() as conn:
        conn.executemany("INSERT INTO file_digests VALUES (?, ?, ?, ?, ?, ?)", rows)
    assert FileDigests(store.db).find(infos) == [DIGEST] * 1200


def test_inode_numbers_of_64_bits_fit(store: Store) -> None:
    numbers = (0o100644, 2**64 - 1, 2**63 + 5, 1, 0, 0, 1, 1, 1, 1)
    info = os.stat_result(numbers, {"st_mtime_ns": 1, "st_ctime_ns": 1})
    memo = FileDigests(store.db)
    memo.add(info, DIGEST)
    memo.save()
    assert memo.find([info]) == [DIGEST]
