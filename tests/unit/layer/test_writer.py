"""Trees as archives: every kind of file, in one order, and the overlay's marks as whiteouts."""

# Names that are bytes, descriptors and folders given as str are what is tested here.
# ruff: noqa: PTH208

import io
import os
import socket
import stat
import tarfile

import pytest

from buildlib.errors import LayerError, StoreError
from buildlib.layer.blocks import SIZE
from buildlib.layer.writer import write_layer
from buildlib.snapshot.tree import remove_tree

from .conftest import members, names, whiteout, written


def test_entries_are_sorted_by_bytes_parents_before_children(tree):
    for path in ("b", "a/z", "a.b", "a/b/c", "A", "é", "z"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(path)
    (tree / "\udcff").write_text("not utf-8")
    assert names(written(tree)) == ["A", "a/", "a/b/", "a/b/c", "a/z", "a.b", "b", "z", "é", "\udcff"]


def test_the_same_tree_gives_the_same_bytes_in_whatever_order_it_was_made(tmp_path):
    archives = []
    for order in (1, -1):
        root = tmp_path / f"tree{order}"
        root.mkdir()
        for name in ["one", "two", "three", "four"][::order]:
            (root / name).write_text(name)
            os.utime(root / name, (1, 1))
        os.link(root / "one", root / "zero")
        archives.append(written(root))
    assert archives[0] == archives[1]


def test_an_empty_layer_is_the_well_known_kilobyte_of_zeros(tree):
    assert written(tree) == bytes(1024)


def test_metadata_are_exact_and_times_whole_seconds(tree):
    path = tree / "f"
    path.write_bytes(b"x")
    os.chown(path, 1234, 5678)
    path.chmod(0o6755)
    os.utime(path, ns=(1, 1_999_999_999))
    (member,) = members(written(tree))
    assert (member.uid, member.gid, member.mode, member.mtime) == (1234, 5678, 0o6755, 1)
    assert (member.uname, member.gname, member.pax_headers) == ("", "", {})


def test_a_timestamp_replaces_all_times_and_a_clamp_the_later_ones(tree):
    for name, time in (("old", 100), ("new", 300)):
        (tree / name).write_text("")
        os.utime(tree / name, (time, time))
    (tree / "link").symlink_to("old")
    assert [member.mtime for member in members(written(tree, timestamp=7))] == [7, 7, 7]
    assert [member.mtime for member in members(written(tree, clamp=200))] == [200, 200, 100]


def test_the_root_is_written_only_when_it_is_not_a_plain_one(tree):
    assert names(written(tree)) == []
    tree.chmod(0o711)
    assert names(written(tree)) == ["./"]
    tree.chmod(0o755)
    os.chown(tree, 1, 0)
    assert names(written(tree)) == ["./"]
    os.chown(tree, 0, 0)
    os.setxattr(tree, "user.x", b"1")
    (member,) = members(written(tree))
    assert member.pax_headers["SCHILY.xattr.user.x"] == "1"


def test_further_names_of_a_file_are_links_to_the_first(tree):
    (tree / "d").mkdir()
    (tree / "d/first").write_text("content")
    for name in ("e", "z"):
        os.link(tree / "d/first", tree / name)
    found = members(written(tree))
    assert [(member.name, member.linkname) for member in found if member.islnk()] == [
        ("e", "d/first"),
        ("z", "d/first"),
    ]


def test_links_to_symbolic_links_and_fifos_are_kept_too(tree):
    (tree / "a").symlink_to("nowhere")
    os.mkfifo(tree / "b")
    os.link(tree / "a", tree / "c", follow_symlinks=False)
    os.link(tree / "b", tree / "d")
    assert [(member.name, member.type) for member in members(written(tree))] == [
        ("a", tarfile.SYMTYPE), ("b", tarfile.FIFOTYPE), ("c", tarfile.LNKTYPE), ("d", tarfile.LNKTYPE),
    ]  # fmt: skip


def test_a_file_with_a_name_outside_the_tree_is_written_as_a_file(tree, tmp_path):
    (tree / "f").write_text("content")
    os.link(tree / "f", tmp_path / "elsewhere")
    (member,) = members(written(tree))
    assert member.isreg()


@pytest.mark.root
def test_devices_fifos_and_links_are_written_and_sockets_left_out(tree):
    os.mknod(tree / "char", stat.S_IFCHR | 0o600, os.makedev(5, 1))
    os.mknod(tree / "disk", stat.S_IFBLK | 0o600, os.makedev(8, 3))
    os.mkfifo(tree / "fifo")
    (tree / "link").symlink_to("/absolute/ä")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tree / "sock"))
    os.link(tree / "sock", tree / "sock2")
    out = io.BytesIO()
    stats = write_layer(str(tree), out)
    found = {member.name: member for member in members(out.getvalue())}
    assert (found["char"].type, found["char"].devmajor, found["char"].devminor) == (tarfile.CHRTYPE, 5, 1)
    assert (found["disk"].type, found["disk"].devmajor, found["disk"].devminor) == (tarfile.BLKTYPE, 8, 3)
    assert found["fifo"].isfifo()
    assert found["link"].linkname == "/absolute/ä"
    assert stats.skipped == ("sock", "sock2")
    assert stats.entries == 4
    assert stats.size == len(out.getvalue())


@pytest.mark.root
def test_only_attributes_that_are_content_travel(tree):
    path = tree / "f"
    path.write_text("")
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(path, "security.capability", capability)
    os.setxattr(path, "user.note", b"\xff\0")
    os.setxattr(path, "trusted.overlay.origin", b"x")
    os.setxattr(path, "user.overlay.origin", b"x")
    os.setxattr(path, "trusted.other", b"x")
    (member,) = members(written(tree))
    assert sorted(member.pax_headers) == ["SCHILY.xattr.security.capability", "SCHILY.xattr.user.note"]


@pytest.mark.root
def test_attributes_of_links_are_their_own(tree):
    (tree / "target").write_text("")
    os.setxattr(tree / "target", "user.x", b"target")
    (tree / "link").symlink_to("target")
    os.setxattr(tree / "link", "trusted.overlay.opaque", b"y", follow_symlinks=False)
    link, target = members(written(tree))
    assert link.pax_headers == {}
    assert target.pax_headers == {"SCHILY.xattr.user.x": "target"}


def test_holes_are_written_as_zeros(tree):
    size = 3 * SIZE + 4321
    with (tree / "sparse").open("wb") as file:
        file.write(b"start")
        file.seek(SIZE + 1000)
        file.write(b"middle")
        file.truncate(size)
    with (tree / "hole").open("wb") as file:
        file.truncate(5000)
    archive = written(tree)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.extractfile("hole").read() == bytes(5000)
        data = tar.extractfile("sparse").read()
    assert data == (tree / "sparse").read_bytes()
    assert len(data) == size


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, SIZE - 1024, SIZE - 512, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE + 7])
def test_files_of_any_size_cross_the_blocks_intact(tree, size):
    data = os.urandom(size)
    (tree / "a").write_bytes(data)
    (tree / "b").write_bytes(b"next")
    with tarfile.open(fileobj=io.BytesIO(written(tree))) as tar:
        assert tar.extractfile("a").read() == data
        assert tar.extractfile("b").read() == b"next"


@pytest.mark.root
def test_overlay_marks_become_whiteouts_before_their_siblings(tree):
    (tree / "dir").mkdir()
    os.setxattr(tree / "dir", "trusted.overlay.opaque", b"y")
    (tree / "dir/a").write_text("")
    whiteout(tree / "dir/z")
    whiteout(tree / "gone")
    (tree / "before").write_text("")
    assert names(written(tree)) == [".wh.gone", "before", "dir/", "dir/.wh..wh..opq", "dir/.wh.z", "dir/a"]


@pytest.mark.root
def test_whiteouts_that_share_an_inode_are_no_hard_links(tree):
    whiteout(tree / "a")
    os.link(tree / "a", tree / "b")
    assert [(member.name, member.isreg()) for member in members(written(tree))] == [(".wh.a", True), (".wh.b", True)]


def test_marks_of_the_user_namespace_form_count_too(tree):
    (tree / "dir").mkdir()
    os.setxattr(tree / "dir", "user.overlay.opaque", b"y")
    assert names(written(tree)) == ["dir/", "dir/.wh..wh..opq"]


def test_whiteouts_by_attribute_count_in_a_directory_that_says_so(tree):
    for folder in ("yes", "no"):
        (tree / folder).mkdir()
        (tree / folder / "gone").write_text("")
        os.setxattr(tree / folder / "gone", "user.overlay.whiteout", b"")
        (tree / folder / "empty").write_text("")
    os.setxattr(tree / "yes", "user.overlay.opaque", b"x")
    assert names(written(tree)) == ["no/", "no/empty", "no/gone", "yes/", "yes/.wh.gone", "yes/empty"]


@pytest.mark.root
def test_in_a_plain_tree_marks_mean_nothing(tree):
    (tree / "dir").mkdir()
    os.setxattr(tree / "dir", "trusted.overlay.opaque", b"y")
    whiteout(tree / "zero")
    found = members(written(tree, overlay=False))
    assert [(member.name, member.type) for member in found] == [("dir", tarfile.DIRTYPE), ("zero", tarfile.CHRTYPE)]


@pytest.mark.parametrize("name", [".wh.file", ".wh..wh..opq", ".wh."])
def test_a_name_that_would_delete_something_is_an_error(tree, name):
    (tree / "dir").mkdir()
    (tree / "dir" / name).write_text("")
    with pytest.raises(LayerError, match="means a deletion") as caught:
        written(tree)
    assert caught.value.entry == f"dir/{name}"


@pytest.mark.root
@pytest.mark.parametrize("mark", ["trusted.overlay.redirect", "trusted.overlay.metacopy"])
def test_a_file_that_points_into_a_lower_layer_is_an_error(tree, mark):
    (tree / "dir").mkdir()
    os.setxattr(tree / "dir", mark, b"/elsewhere")
    with pytest.raises(LayerError, match="points into a lower layer"):
        written(tree)


def test_an_attribute_that_no_archive_can_hold_is_an_error(tree):
    (tree / "f").write_text("")
    os.setxattr(tree / "f", "user.a=b", b"1")
    with pytest.raises(LayerError, match="'f' has an extended attribute with '='"):
        written(tree)


def test_a_path_that_nobody_could_unpack_is_an_error(tree):
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=fd)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    with pytest.raises(LayerError, match="has a path of"):
        written(tree)


def test_directories_may_be_nested_deeper_than_descriptors_and_recursion_go(tree):
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("z", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    found = names(written(tree))
    assert found[:2] == ["d/", "d/d/"]
    assert found[-1] == "z"
    assert len(found) == 3000
    assert len(os.listdir("/proc/self/fd")) <= before
    remove_tree(str(tree))  # pytest can't


def test_a_missing_tree_is_an_error_that_names_it(tree):
    with pytest.raises(StoreError, match="missing"):
        written(tree / "missing")


def test_an_output_that_fails_is_told_as_such(tree):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    (tree / "f").write_bytes(bytes(3 * SIZE))
    with pytest.raises(StoreError, match="writing a layer"):
        write_layer(str(tree), Full())
