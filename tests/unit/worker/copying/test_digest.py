"""The digest of a copy: what changes it, and what does not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.worker.copying.digest import NAMES_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.worker.copying.conftest import Workbench


def fill(bench: Workbench) -> None:
    bench.write("src/a", "one")
    bench.write("src/sub/b", "two")
    (bench.source / "src/link").symlink_to("a")


CHANGES: dict[str, Callable[[Workbench], Any]] = {
    "bytes": lambda bench: bench.write("src/a", "eno"),
    "a name": lambda bench: (bench.source / "src/a").rename(bench.source / "src/A"),
    "a new file": lambda bench: bench.write("src/new"),
    "a new empty directory": lambda bench: (bench.source / "src/empty").mkdir(),
    "a file moved deeper": lambda bench: (bench.source / "src/a").rename(bench.source / "src/sub/a"),
    "a mode": lambda bench: (bench.source / "src/a").chmod(0o755),
    "the mode of a directory": lambda bench: (bench.source / "src/sub").chmod(0o700),
    "an extended attribute": lambda bench: os.setxattr(bench.source / "src/a", "user.x", b"1"),
    "one of a directory": lambda bench: os.setxattr(bench.source / "src/sub", "user.x", b"1"),
    "the target of a link": lambda bench: (
        (bench.source / "src/link").unlink(),
        (bench.source / "src/link").symlink_to("b"),
    ),
    "a hard link instead of a copy": lambda bench: (
        (bench.source / "src/sub/b").unlink(),
        os.link(bench.source / "src/a", bench.source / "src/sub/b"),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_digest_changes_with(what: str, bench: Workbench) -> None:
    fill(bench)
    before = bench.digest("src")
    CHANGES[what](bench)
    assert bench.digest("src") != before


def test_the_digest_does_not_depend_on_times_nor_on_the_order_of_creation(bench: Workbench) -> None:
    fill(bench)
    before = bench.digest("src")
    for path in ("src/a", "src/sub", "src"):
        os.utime(bench.source / path, (1, 1))
    (bench.source / "src/a").unlink()
    bench.write("src/a", "one")
    assert bench.digest("src") == before


def test_the_directory_that_is_copied_counts_only_by_its_contents(bench: Workbench) -> None:
    fill(bench)
    before = bench.digest("src")
    (bench.source / "src").chmod(0o700)
    (bench.source / "src").rename(bench.source / "renamed")
    assert bench.digest("renamed") == before


@pytest.mark.root
def test_owners_count_only_where_they_are_kept(bench: Workbench) -> None:
    fill(bench)
    forced, kept = bench.digest("src"), bench.digest("src", keep_owner=True)
    os.chown(bench.source / "src/a", 5, 5)
    assert bench.digest("src") == forced
    assert bench.digest("src", keep_owner=True) != kept


def test_modes_count_as_they_come_out(bench: Workbench) -> None:
    """Two checkouts with different umasks give the same copy where --chmod says what comes out."""
    fill(bench)
    plain, forced = bench.digest("src"), bench.digest("src", chmod="u=rwX,go=rX")
    (bench.source / "src/a").chmod(0o600)
    assert bench.digest("src") != plain
    assert bench.digest("src", chmod="u=rwX,go=rX") == forced


def test_what_is_left_out_does_not_count(bench: Workbench) -> None:
    fill(bench)
    before = bench.digest("src", ignore="**/*.log\n")
    bench.write("src/sub/x.log", "noise")
    assert bench.digest("src", ignore="**/*.log\n") == before


def test_the_order_of_sources_counts_for_the_last_one_wins(bench: Workbench) -> None:
    bench.write("a/f", "1")
    bench.write("b/f", "2")
    assert bench.digest("a", "b") != bench.digest("b", "a")


def test_a_file_and_a_directory_with_that_file_are_different_things(bench: Workbench) -> None:
    bench.write("d/f", "1")
    assert bench.digest("d") != bench.digest("d/f")


@pytest.mark.root
def test_the_names_explain_what_changed(bench: Workbench) -> None:
    fill(bench)
    before = bench.copy("src", dest="/x").brief()
    bench.write("src/sub/b", "three")
    after = bench.copy("src", dest="/x").brief()
    assert {name for name in after if before.get(name) != after[name]} == {"src/sub/b", "src/sub"}


@pytest.mark.root
def test_of_many_files_only_the_top_is_kept_by_name(bench: Workbench) -> None:
    for number in range(NAMES_LIMIT + 10):
        bench.write(f"src/deep/{number}")
    bench.write("src/a")
    assert set(bench.copy("src", dest="/x").brief()) == {"src/a", "src/deep"}
