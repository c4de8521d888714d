"""Deleting trees that a build can make."""

import os

import pytest

from buildlib.linux.mount import MNT_DETACH, move_mount, new_mount, umount
from buildlib.snapshot.tree import remove_tree


def test_a_tree_deeper_than_any_path_is_deleted(tmp_path):
    (tmp_path / "t").mkdir()
    fd = os.open(tmp_path / "t", os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("directory", dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open("directory", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(str(tmp_path / "t"))
    assert not any(tmp_path.iterdir())


def test_a_wide_tree_with_everything_in_it_is_deleted(tmp_path):
    for number in range(300):
        (tmp_path / f"t/d{number}/sub").mkdir(parents=True)
        (tmp_path / f"t/d{number}/file").write_text("x")
    os.mkfifo(tmp_path / "t/fifo")
    (tmp_path / os.fsdecode(b"t/not-\xff-utf8")).touch()
    remove_tree(str(tmp_path / "t"))
    assert not any(tmp_path.iterdir())


def test_symbolic_links_are_deleted_and_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_text("x")
    (tmp_path / "t").mkdir()
    (tmp_path / "t/link").symlink_to(tmp_path / "outside")
    remove_tree(str(tmp_path / "t"))
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    remove_tree(str(tmp_path / "link"))
    assert (tmp_path / "outside/precious").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]


def test_what_is_not_there_is_fine_and_a_file_is_deleted_too(tmp_path):
    remove_tree(str(tmp_path / "nothing"))
    (tmp_path / "file").write_text("x")
    remove_tree(str(tmp_path / "file"))
    assert not any(tmp_path.iterdir())


@pytest.mark.root
def test_it_stops_at_a_mount(tmp_path):
    (tmp_path / "t/mnt").mkdir(parents=True)
    fd = new_mount("tmpfs")
    move_mount(fd, str(tmp_path / "t/mnt"))
    os.close(fd)
    try:
        (tmp_path / "t/mnt/precious").write_text("x")
        with pytest.raises(OSError, match="mounted") as caught:
            remove_tree(str(tmp_path / "t"))
        assert caught.value.filename == str(tmp_path / "t/mnt")
        assert (tmp_path / "t/mnt/precious").read_text() == "x"
    finally:
        umount(str(tmp_path / "t/mnt"), MNT_DETACH)
