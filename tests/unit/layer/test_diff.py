"""What a layer changes, compared with what docker says, and opaque marks that hide nothing."""

import os
import stat

import pytest

from buildlib.layer.diff import changes
from buildlib.layer.prune import prune_opaque
from buildlib.linux import mount

from .conftest import whiteout, written

pytestmark = pytest.mark.root


@pytest.fixture
def below(tmp_path):
    """Two layers with a few things in them."""
    base, second = tmp_path / "base", tmp_path / "second"
    for path in ("etc/passwd", "etc/conf/a", "etc/conf/b", "usr/lib/x", "gone"):
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text("content")
    second.mkdir()
    (second / "etc").mkdir()
    (second / "etc/issue").write_text("hello")
    whiteout(second / "gone")
    return [str(base), str(second)]


@pytest.fixture
def overlay(tmp_path, below):
    """The layers under a writable one: where it is seen, and the folder that takes what is written."""
    upper, work, merged = tmp_path / "upper", tmp_path / "work", tmp_path / "merged"
    for folder in (upper, work, merged):
        folder.mkdir()
    options = (
        f"lowerdir={':'.join(reversed(below))},upperdir={upper},workdir={work},index=off,metacopy=off,redirect_dir=off"
    )
    mount.mount("overlay", str(merged), "overlay", 0, options)
    yield merged, upper
    if os.path.ismount(merged):
        mount.umount(str(merged))


def found(upper, below):
    return {(change.kind, change.path) for change in changes(str(upper), below)}


def test_nothing_written_is_no_change(overlay, below):
    assert found(overlay[1], below) == set()


def test_files_are_added_changed_or_deleted_and_so_are_the_directories_around(overlay, below):
    merged, upper = overlay
    (merged / "etc/passwd").write_text("changed")
    (merged / "etc/conf/new").write_text("new")
    (merged / "usr/lib/x").unlink()
    (merged / "fresh").mkdir()
    (merged / "fresh/file").write_text("")
    assert found(upper, below) == {
        ("changed", "/etc"), ("changed", "/etc/passwd"), ("changed", "/etc/conf"), ("added", "/etc/conf/new"),
        ("changed", "/usr"), ("changed", "/usr/lib"), ("deleted", "/usr/lib/x"), ("added", "/fresh"),
        ("added", "/fresh/file"),
    }  # fmt: skip


def test_a_directory_that_is_gone_is_one_change(overlay, below):
    merged, upper = overlay
    for name in ("a", "b"):
        (merged / "etc/conf" / name).unlink()
    (merged / "etc/conf").rmdir()
    assert found(upper, below) == {("changed", "/etc"), ("deleted", "/etc/conf")}


def test_of_a_directory_made_again_each_thing_that_is_gone_is_told(overlay, below):
    merged, upper = overlay
    for name in ("a", "b"):
        (merged / "etc/conf" / name).unlink()
    (merged / "etc/conf").rmdir()
    (merged / "etc/conf").mkdir()
    (merged / "etc/conf/b").write_text("again")
    (merged / "etc/conf/c").write_text("new")
    assert found(upper, below) == {
        ("changed", "/etc"), ("changed", "/etc/conf"), ("deleted", "/etc/conf/a"), ("changed", "/etc/conf/b"),
        ("added", "/etc/conf/c"),
    }  # fmt: skip


def test_what_a_lower_layer_deleted_is_new_again(overlay, below):
    merged, upper = overlay
    (merged / "gone").write_text("back")
    assert found(upper, below) == {("added", "/gone")}


def test_metadata_alone_are_a_change(overlay, below):
    merged, upper = overlay
    (merged / "usr/lib").chmod(0o711)
    assert found(upper, below) == {("changed", "/usr"), ("changed", "/usr/lib")} or found(upper, below) == {
        ("changed", "/usr/lib"), ("changed", "/usr"),
    }  # fmt: skip


def test_sizes_and_modes_are_told_and_parents_come_first(overlay, below):
    merged, upper = overlay
    (merged / "etc/conf/new").write_text("12345")
    (merged / "etc/conf/new").chmod(0o640)
    told = list(changes(str(upper), below))
    assert [change.path for change in told] == ["/etc", "/etc/conf", "/etc/conf/new"]
    assert (told[-1].size, stat.S_IMODE(told[-1].mode), stat.S_ISDIR(told[0].mode)) == (5, 0o640, True)


def test_against_nothing_everything_is_added(below):
    assert {kind for kind, _ in found(below[0], [])} == {"added"}
    assert ("added", "/etc/conf/a") in found(below[0], [])


def test_many_layers_need_no_descriptors(tmp_path, below):
    for number in range(300):
        folder = tmp_path / f"many{number}/a/b/c"
        folder.mkdir(parents=True)
        (folder / str(number)).write_text("")
    stack = [str(tmp_path / f"many{number}") for number in range(300)]
    assert ("changed", "/a/b/c/299") in found(stack[-1], stack)


def test_opaque_marks_are_kept_only_where_they_hide_something(overlay, below):
    merged, upper = overlay
    (merged / "fresh/deep").mkdir(parents=True)
    (merged / "etc/fresh").mkdir()
    for name in ("a", "b"):
        (merged / "etc/conf" / name).unlink()
    (merged / "etc/conf").rmdir()
    (merged / "etc/conf").mkdir()
    (merged / "gone").mkdir()
    mount.umount(str(merged))
    for name in ("fresh", "etc/fresh", "gone"):
        os.setxattr(upper / name, "trusted.overlay.opaque", b"y")  # as the kernel has it, or might
    assert prune_opaque(str(upper), below) == 3
    assert b".wh..wh..opq" in written(upper)
    assert written(upper).count(b".wh..wh..opq") == 1
    assert os.getxattr(upper / "etc/conf", "trusted.overlay.opaque") == b"y"
    assert prune_opaque(str(upper), below) == 0
