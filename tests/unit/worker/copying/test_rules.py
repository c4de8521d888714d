"""Names, trailing slashes, modes and owners: the parts of COPY that need no file."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildlib.errors import CopyError, UsageError
from buildlib.worker.copying import owner
from buildlib.worker.copying.modes import Chmod
from buildlib.worker.copying.rules import Destination, clean_source, file_name, split_pivot

if TYPE_CHECKING:
    from pathlib import Path

PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"
GROUP = "root:x:0:\nwww:x:33:\n"


@pytest.mark.parametrize(
    ("dest", "workdir", "count", "path", "directory"),
    [
        ("/app", "/", 1, "/app", False),
        ("/app/", "/", 1, "/app", True),
        ("/app/.", "/", 1, "/app", True),
        ("app", "/srv/x", 1, "/srv/x/app", False),
        ("./", "/srv/x", 1, "/srv/x", True),
        (".", "/srv/x", 1, "/srv/x", True),
        ("..", "/srv/x", 1, "/srv", True),
        ("../y", "/srv/x", 1, "/srv/y", False),
        ("../../../../y", "/srv", 1, "/y", False),
        ("/srv/x", "/srv/x", 1, "/srv/x", True),
        ("/app", "/", 2, "/app", True),
        ("/", "", 1, "/", True),
    ],
)
def test_a_destination_is_relative_to_the_working_directory_and_says_when_it_must_be_a_directory(
    dest: str, workdir: str, count: int, path: str, directory: bool
) -> None:
    assert Destination.parse(dest, workdir, count) == (path, directory)


@pytest.mark.parametrize(
    ("source", "clean"),
    [
        ("a", "a"),
        ("./a/", "a"),
        ("/a/b", "a/b"),
        ("../../etc/passwd", "etc/passwd"),
        (".", ""),
        ("/", ""),
        ("a//b", "a/b"),
    ],
)
def test_a_source_can_not_leave_its_root(source: str, clean: str) -> None:
    assert clean_source(source) == clean


@pytest.mark.parametrize(
    ("source", "base", "pattern"),
    [
        ("./x/a.txt", "", "x/a.txt"),
        ("x/./y/*.txt", "x", "y/*.txt"),
        ("./x/./y/z", "x", "y/z"),
        ("x/./y/./z", "x", "y/z"),
        ("/x/./y", "x", "y"),
        (".", "", ""),
    ],
)
def test_the_first_pivot_divides_what_parents_keeps_from_what_it_does_not(source: str, base: str, pattern: str) -> None:
    assert split_pivot(source) == (base, pattern)


def test_the_name_of_given_content_is_one_component() -> None:
    assert file_name("a/b.conf") == "b.conf"
    for bad in ("", "..", "a/", "x\0y"):
        with pytest.raises(CopyError):
            file_name(bad)


@pytest.mark.parametrize(
    ("chown", "ids"),
    [
        ("55", (55, 55)),
        ("55:66", (55, 66)),
        ("root", (0, 0)),
        ("app", (1000, 1001)),
        ("app:", (1000, 1001)),
        ("app:www", (1000, 33)),
        ("app:44", (1000, 44)),
        (":www", (0, 33)),
        ("7:root", (7, 0)),
    ],
)
def test_chown_takes_numbers_as_they_are_and_names_from_the_container(chown: str, ids: tuple[int, int]) -> None:
    assert owner.resolve(chown, PASSWD, GROUP) == ids


@pytest.mark.parametrize("chown", ["nobody", "app:nogroup", "99999999999", "4294967295"])
def test_an_owner_that_the_container_does_not_know_is_an_error(chown: str) -> None:
    with pytest.raises(CopyError):
        owner.resolve(chown, PASSWD, GROUP)


def test_only_names_need_the_files_of_the_container() -> None:
    assert [owner.needs_files(text) for text in ("0", "5:6", "root", "root:7", "app", "5:www")] == [False] * 4 + [
        True
    ] * 2


@pytest.mark.parametrize("text", ["", "8", "0999", "17777", "u", "u=rwz", "x=r", "u+rw,,g+r", "+-z", "rwx"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Chmod.parse(text)


def test_an_octal_mode_sets_all_bits_also_of_directories() -> None:
    assert [Chmod.parse("644").apply(kind | 0o755) for kind in (0o100000, 0o040000)] == [0o644, 0o644]
    assert Chmod.parse("4755").apply(0o100644) == 0o4755


_CLAUSE = st.tuples(
    st.sampled_from(["a", "u", "g", "o", "ug", "go", "uo"]),
    st.lists(
        st.tuples(
            st.sampled_from("+-="),
            st.one_of(st.sampled_from("ugo"), st.sets(st.sampled_from("rwxXst")).map(lambda s: "".join(sorted(s)))),
        ).map("".join),
        min_size=1,
        max_size=2,
    ).map("".join),
).map("".join)


@settings(max_examples=60, deadline=None)
@given(text=st.lists(_CLAUSE, min_size=1, max_size=3).map(",".join), mode=st.integers(0, 0o7777))
def test_symbolic_modes_are_those_of_gnu_chmod(text: str, mode: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("chmod")
    (folder / "file").touch()
    (folder / "directory").mkdir()
    for path in (folder / "file", folder / "directory"):
        path.chmod(mode)
        before = path.stat().st_mode
        subprocess.run(["chmod", "--", text, path], check=True)
        assert Chmod.parse(text).apply(before) == path.stat().st_mode & 0o7777
        path.chmod(0o700)
