"""Paths are resolved beneath their root, whatever links an image holds."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from buildlib.linux.beneath import BENEATH, IN_ROOT, NO_SYMLINKS, make_dirs, missing, open_in_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("inside")
    (root / "up").symlink_to("../outside")
    (root / "absolute").symlink_to(tmp_path / "outside")
    (root / "abs-etc").symlink_to("/etc")
    return root


@pytest.fixture
def root_fd(tree: Path) -> Iterator[int]:
    fd = os.open(tree, os.O_PATH)
    yield fd
    os.close(fd)


def read(fd: int) -> str:
    with os.fdopen(fd) as file:
        return file.read()


def test_an_absolute_path_starts_at_the_root(root_fd: int) -> None:
    assert read(open_in_root(root_fd, "/etc/passwd", os.O_RDONLY)) == "inside"


def test_an_absolute_link_is_followed_inside_the_root(root_fd: int) -> None:
    assert read(open_in_root(root_fd, "abs-etc/passwd", os.O_RDONLY)) == "inside"


@pytest.mark.parametrize("path", ["up/secret", "absolute/secret", "../outside/secret", "/../outside/secret"])
def test_no_link_and_no_dots_lead_out_of_the_root(root_fd: int, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        open_in_root(root_fd, path, os.O_RDONLY)


def test_beneath_refuses_what_would_leave(root_fd: int) -> None:
    with pytest.raises(OSError) as caught:
        open_in_root(root_fd, "up/secret", os.O_RDONLY, resolve=BENEATH)
    assert caught.value.errno == errno.EXDEV


def test_no_symlinks_refuses_even_a_harmless_link(root_fd: int) -> None:
    with pytest.raises(OSError) as caught:
        open_in_root(root_fd, "abs-etc/passwd", os.O_RDONLY, resolve=IN_ROOT | NO_SYMLINKS)
    assert caught.value.errno == errno.ELOOP


def test_a_magic_link_to_an_open_descriptor_is_refused(tree: Path) -> None:
    root_fd = os.open("/", os.O_PATH)
    leak = os.open(tree, os.O_PATH)
    try:
        with pytest.raises(OSError) as caught:
            open_in_root(root_fd, f"/proc/self/fd/{leak}/etc/passwd", os.O_RDONLY)
        assert caught.value.errno in (errno.ELOOP, errno.EXDEV)
    finally:
        os.close(leak)
        os.close(root_fd)


def test_what_is_missing_is_named_where_it_would_be_made(tree: Path, root_fd: int) -> None:
    (tree / "etc/resolv.conf").symlink_to("../run/systemd/resolv.conf")
    (tree / "var").mkdir()
    (tree / "var/run").symlink_to("/run")
    assert missing(root_fd, "/etc/passwd") == []
    assert missing(root_fd, "/etc/resolv.conf") == ["/run", "/run/systemd", "/run/systemd/resolv.conf"]
    assert missing(root_fd, "/var/run/secrets") == ["/run", "/run/secrets"]
    assert missing(root_fd, "../../a/../b/./c") == ["/b", "/b/c"]


def test_a_circle_of_links_is_an_error(tree: Path, root_fd: int) -> None:
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    with pytest.raises(OSError) as caught:
        missing(root_fd, "/a/x")
    assert caught.value.errno == errno.ELOOP


def test_a_file_in_the_way_is_an_error(root_fd: int) -> None:
    with pytest.raises(NotADirectoryError):
        missing(root_fd, "/etc/passwd/x")


def test_directories_are_made_where_the_links_point_and_never_outside(tree: Path, root_fd: int) -> None:
    fd, made = make_dirs(root_fd, "/absolute/deep/er", 0o750)
    os.close(fd)
    assert made[-1].endswith("/outside/deep/er")
    assert (tree / made[-1].lstrip("/")).stat().st_mode & 0o777 == 0o750
    assert not (tree.parent / "outside/deep").exists()


def test_making_directories_that_exist_makes_none(root_fd: int) -> None:
    fd, made = make_dirs(root_fd, "/etc")
    os.close(fd)
    assert made == []


@pytest.mark.root
def test_new_directories_get_the_owner_and_old_ones_keep_theirs(tree: Path, root_fd: int) -> None:
    fd, _ = make_dirs(root_fd, "/etc/app/data", uid=1000, gid=1001)
    os.close(fd)
    assert (tree / "etc").stat().st_uid == 0
    for name in ("etc/app", "etc/app/data"):
        assert ((tree / name).stat().st_uid, (tree / name).stat().st_gid) == (1000, 1001)
