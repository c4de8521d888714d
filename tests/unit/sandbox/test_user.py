"""USER words are resolved by the files of the image, as docker does it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import FormatError, NotFound, UsageError
from buildlib.sandbox.user import MAX_BYTES, User, find_user, resolve_user

if TYPE_CHECKING:
    from pathlib import Path

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# a comment
broken line
app:x:1000:1001:app:/home/app:/bin/sh
1234:x:77:78::/odd:
bare:x:5:6
wild:x:99999999999:1::/:
"""
GROUP = """\
root:x:0:
adm:x:4:root,app
app:x:1001:
video:x:44:app,other
odd:x:nonsense:app
"""


@pytest.mark.parametrize(
    ("words", "user"),
    [
        ("", User(0, 0, (4,), "/root", "root")),
        ("root", User(0, 0, (4,), "/root", "root")),
        ("0", User(0, 0, (4,), "/root", "root")),
        ("app", User(1000, 1001, (4, 44), "/home/app", "app")),
        ("1000", User(1000, 1001, (4, 44), "/home/app", "app")),
        ("app:video", User(1000, 44, (), "/home/app", "app")),
        ("app:7", User(1000, 7, (), "/home/app", "app")),
        ("app:", User(1000, 1001, (4, 44), "/home/app", "app")),
        (":video", User(0, 44, (), "/root", "root")),
        ("2000", User(2000, 0, (), "/", None)),
        ("2000:2001", User(2000, 2001, (), "/", None)),
        ("1234", User(77, 78, (), "/odd", "1234")),
        ("bare", User(5, 6, (), "/", "bare")),
    ],
)
def test_words_become_numbers(words: str, user: User) -> None:
    assert find_user(words, PASSWD, GROUP) == user


@pytest.mark.parametrize(("words", "kind"), [("nobody", "user"), ("app:nosuch", "group"), ("wild", "user")])
def test_an_unknown_name_is_not_found(words: str, kind: str) -> None:
    with pytest.raises(NotFound) as caught:
        find_user(words, PASSWD, GROUP)
    assert caught.value.kind == kind


@pytest.mark.parametrize("words", ["2147483648", "app:4294967296", "99999999999999999999"])
def test_ids_out_of_range_are_refused(words: str) -> None:
    with pytest.raises(UsageError):
        find_user(words, PASSWD, GROUP)


def test_without_files_root_and_numbers_work() -> None:
    assert find_user("", "", "") == User()
    assert find_user("7:8", "", "") == User(7, 8)


def test_links_are_followed_in_the_image_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").symlink_to("/etc/passwd.real")
    (tmp_path / "passwd").write_text("evil:x:0:0::/:\n")
    (root / "etc/group").symlink_to("../../passwd")
    root_fd = os.open(root, os.O_PATH)
    try:
        with pytest.raises(NotFound):
            resolve_user(root_fd, "evil")
        (root / "etc/passwd.real").write_text("app:x:1:2::/h:\n")
        assert resolve_user(root_fd, "app") == User(1, 2, (), "/h", "app")
    finally:
        os.close(root_fd)


def test_a_fifo_or_a_giant_in_place_of_passwd_is_an_error_and_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    root_fd = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(FormatError, match="is not a file"):
            resolve_user(root_fd, "app")
        (tmp_path / "etc/passwd").unlink()
        with open(tmp_path / "etc/passwd", "wb") as file:  # noqa: PTH123
            file.truncate(MAX_BYTES + 1)
        with pytest.raises(FormatError, match="larger"):
            resolve_user(root_fd, "app")
    finally:
        os.close(root_fd)
