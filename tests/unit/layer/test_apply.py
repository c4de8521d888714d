"""Layer archives as folders in the overlay's form."""

# Names that are bytes, descriptors and folders given as str are what is tested here.
# ruff: noqa: PTH208

import gzip
import io
import os
import stat
import tarfile

import pytest

from buildlib.errors import LayerError
from tests.trees import ZEROS, describe, directory, entry, header, pax

pytestmark = pytest.mark.root


def is_whiteout(path):
    info = path.lstat()
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(path, mark="trusted.overlay.opaque"):
    return mark in os.listxattr(path) and os.getxattr(path, mark) == b"y"


@pytest.fixture
def fs(tmp_path):
    return tmp_path / "fs"


def test_every_kind_of_entry_has_exactly_the_metadata_of_the_archive(applied, fs):
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    records = [(b"SCHILY.xattr.security.capability", capability), (b"SCHILY.xattr.user.x", b"1"), (b"mtime", b"5.25")]
    archive = (
        directory(b"d/", mode=0o2770, uid=5, gid=6, mtime=7)
        + pax(records)
        + entry(b"d/file", b"data", mode=0o6755, uid=1, gid=2)
        + header(b"d/hard", b"1", link=b"d/file")
        + header(b"d/link", b"2", link=b"/nowhere", mode=0o777, uid=3, gid=4, mtime=8)
        + header(b"d/fifo", b"6", mode=0o4622, mtime=9)
        + header(b"d/char", b"3", major=1, minor=3, mode=0o666, uid=9)
        + header(b"d/block", b"4", major=8, minor=1, mode=0o660)
    )
    result = applied(archive + ZEROS)
    found = describe(fs)
    assert {name: facts["mode"] for name, facts in found.items() if name.startswith("d/")} == {
        "d/file": "0o6755", "d/hard": "0o6755", "d/link": "0o777", "d/fifo": "0o4622", "d/char": "0o666",
        "d/block": "0o660",
    }  # fmt: skip
    assert (found["d"]["mode"], found["d"]["owner"], found["d"]["mtime"]) == ("0o2770", (5, 6), 7)
    assert found["d/file"]["xattrs"] == {"security.capability": capability, "user.x": b"1"}
    assert found["d/file"]["owner"] == (1, 2)
    assert found["d/file"]["file"] == found["d/hard"]["file"] == "d/file"
    assert (found["d/link"]["target"], found["d/link"]["owner"], found["d/link"]["mtime"]) == (b"/nowhere", (3, 4), 8)
    assert (found["d/char"]["device"], found["d/block"]["device"]) == ((1, 3), (8, 1))
    assert (fs / "d/file").stat().st_mtime_ns == 5_250_000_000
    assert (result.missing_parents, result.pending_links, result.entries) == ([], [], 7)


def test_a_new_folder_has_a_plain_root_and_an_entry_for_it_changes_that(applied, fs):
    applied(ZEROS)
    assert stat.S_IMODE(fs.stat().st_mode) == 0o755
    for name in (b"./", b".", b"/", b"././"):
        applied(directory(name, mode=0o1777, uid=1, gid=2, mtime=3) + ZEROS)
        info = fs.stat()
        assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime) == (0o1777, 1, 2, 3)


def test_names_may_begin_with_a_dot_or_a_slash_or_have_doubled_ones(applied, fs):
    applied(directory(b"./a/") + entry(b"/a//b", b"1") + entry(b"./a/./c", b"2") + ZEROS)
    assert {path.name for path in (fs / "a").iterdir()} == {"b", "c"}


def test_names_that_are_not_utf_8_come_back_as_they_are(applied, fs):
    applied(entry(b"\xff\xfe", b"") + entry("ä".encode(), b"") + ZEROS)
    assert sorted(os.listdir(os.fsencode(fs))) == ["ä".encode(), b"\xff\xfe"]


def test_an_old_gnu_sparse_file_has_holes_again(applied, fs):
    tail = (b"%011o\0%011o\0" % (1 << 20, 4)).ljust(97, b"\0") + b"%011o\0" % (1 << 24)
    applied(
        header(b"f", b"S", size=4, magic=b"ustar  \0", tail=tail.ljust(126, b"\0")) + b"data".ljust(512, b"\0") + ZEROS
    )
    data = (fs / "f").read_bytes()
    assert (len(data), data[1 << 20 : (1 << 20) + 4], data.strip(b"\0")) == (1 << 24, b"data", b"data")
    assert (fs / "f").stat().st_blocks < 100


# --- whiteouts --------------------------------------------------------------------------------------------------------


def test_whiteouts_become_marks_of_the_overlay(applied, fs):
    applied(directory(b"d/") + entry(b"d/.wh..wh..opq") + entry(b"d/.wh.gone") + entry(b".wh.also", mtime=5) + ZEROS)
    assert is_opaque(fs / "d")
    assert is_whiteout(fs / "d/gone")
    assert is_whiteout(fs / "also")


def test_in_a_user_namespace_the_mark_has_another_name(applied, fs):
    applied(directory(b"d/") + entry(b"d/.wh..wh..opq") + ZEROS, userxattr=True)
    assert is_opaque(fs / "d", "user.overlay.opaque")
    assert "trusted.overlay.opaque" not in os.listxattr(fs / "d")


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_stays_although_its_own_layer_has_a_whiteout_for_it(applied, fs, order):
    applied(b"".join([entry(b".wh.f"), entry(b"f", b"new")][::order]) + ZEROS)
    assert (fs / "f").read_bytes() == b"new"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("explicit", [True, False])
def test_a_directory_with_a_whiteout_of_its_own_name_is_opaque(applied, fs, order, explicit):
    made = (directory(b"d/") if explicit else b"") + entry(b"d/f", b"new")
    applied(b"".join([entry(b".wh.d"), made][::order]) + ZEROS)
    assert is_opaque(fs / "d")
    assert (fs / "d/f").read_bytes() == b"new"


def test_whiteouts_may_come_twice_and_in_any_guise(applied, fs):
    applied(entry(b".wh.f") + entry(b".wh.f") + header(b".wh.g", b"5") + header(b".wh.h", b"2", link=b"x") + ZEROS)
    assert [is_whiteout(fs / name) for name in "fgh"] == [True] * 3


def test_an_opaque_directory_that_the_archive_does_not_carry_is_made(applied, fs):
    result = applied(entry(b"a/b/.wh..wh..opq") + ZEROS)
    assert is_opaque(fs / "a/b")
    assert result.missing_parents == ["a", "a/b"]


def test_an_opaque_root_is_told_to_be_completed(applied, fs):
    result = applied(entry(b".wh..wh..opq") + ZEROS)
    assert result.missing_parents == ["."]
    assert is_opaque(fs)


def test_files_of_aufs_are_ignored(applied, fs):
    archive = b"".join([
        entry(b".wh..wh.aufs"), directory(b".wh..wh.orph/"), directory(b".wh..wh.plnk/"),
        entry(b".wh..wh.plnk/1.2", b"x"),
        entry(b"d/.wh..wh.foo", b"x"), entry(b".wh..wh.plnk/.wh..wh..opq"), entry(b"f", b"real"),
    ])  # fmt: skip
    applied(archive + ZEROS)
    assert os.listdir(fs) == ["f"]


# --- what the archive leaves out --------------------------------------------------------------------------------------


def test_directories_without_an_entry_are_made_alike_each_time_and_told(applied, fs):
    result = applied(entry(b"a/b/f", b"1") + directory(b"x/y/") + directory(b"a/", mode=0o700, mtime=5) + ZEROS)
    assert result.missing_parents == ["a/b", "x"]
    info = (fs / "a/b").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime) == (0o755, 0, 0, 0)
    assert (stat.S_IMODE((fs / "a").stat().st_mode), (fs / "a").stat().st_mtime) == (0o700, 5)


def test_a_hard_link_may_come_before_its_target_or_go_to_a_lower_layer(applied, fs):
    archive = b"".join([
        header(b"early", b"1", link=b"chain"), header(b"chain", b"1", link=b"late"), entry(b"late", b"data"),
        header(b"below", b"1", link=b"usr/bin/tool"),
    ])  # fmt: skip
    result = applied(archive + ZEROS)
    assert (fs / "early").read_bytes() == b"data"
    assert (fs / "late").stat().st_nlink == 3
    assert result.pending_links == [["below", "usr/bin/tool"]]
    assert not (fs / "below").exists()


def test_a_link_that_is_replaced_later_is_not_pending(applied, fs):
    result = applied(header(b"f", b"1", link=b"missing") + entry(b"f", b"file") + ZEROS)
    assert result.pending_links == []
    assert (fs / "f").read_bytes() == b"file"


# --- entries that come again ------------------------------------------------------------------------------------------

KINDS = {
    "file": entry(b"x", b"content"),
    "directory": directory(b"x/", mode=0o711, mtime=4) + entry(b"x/inside", b"1"),
    "link": header(b"x", b"2", link=b"elsewhere"),
    "fifo": header(b"x", b"6"),
    "hard link": header(b"x", b"1", link=b"other"),
}


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("last", KINDS)
def test_of_entries_with_one_name_the_last_wins(applied, fs, first, last):
    other = directory(b"elsewhere/") + entry(b"other", b"other")
    applied(other + KINDS[first] + KINDS[last] + ZEROS)
    found = describe(fs)
    assert found["x"]["kind"] == {
        "file": stat.S_IFREG, "directory": stat.S_IFDIR, "link": stat.S_IFLNK, "fifo": stat.S_IFIFO,
        "hard link": stat.S_IFREG,
    }[last]  # fmt: skip
    assert ("x/inside" in found) == (last == "directory")
    assert (fs / "other").read_bytes() == b"other"
    assert os.listdir(fs / "elsewhere") == []
    if last == "file":
        assert (fs / "x").read_bytes() == b"content"
    if last == "directory":
        assert (found["x"]["mode"], found["x"]["mtime"]) == ("0o711", 4)


def test_a_file_with_two_names_that_is_written_again_leaves_the_other_name_alone(applied, fs):
    applied(entry(b"a", b"old") + header(b"b", b"1", link=b"a") + entry(b"a", b"new") + ZEROS)
    assert ((fs / "a").read_bytes(), (fs / "b").read_bytes()) == (b"new", b"old")


def test_a_link_to_itself_changes_nothing(applied, fs):
    applied(entry(b"a", b"data") + header(b"a", b"1", link=b"a") + header(b"./a", b"1", link=b"/a") + ZEROS)
    assert (fs / "a").read_bytes() == b"data"


def test_files_below_a_replaced_directory_do_not_come_back(applied, fs):
    archive = (
        directory(b"d/") + directory(b"d/e/") + entry(b"d/e/f", b"1") + entry(b"d", b"file") + entry(b"g", b"") + ZEROS
    )
    result = applied(archive)
    assert (fs / "d").read_bytes() == b"file"
    assert result.missing_parents == []


# --- symbolic links on the way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [b"usr/lib", b"/usr/lib", b"../../../usr/lib"])
def test_a_link_on_the_way_is_followed_as_the_container_would_see_it(applied, fs, target):
    archive = directory(b"usr/") + directory(b"usr/lib/") + header(b"lib", b"2", link=target)
    applied(archive + entry(b"lib/f", b"1") + directory(b"lib/d/", mode=0o700) + entry(b"lib/.wh.gone") + ZEROS)
    assert (fs / "usr/lib/f").read_bytes() == b"1"
    assert stat.S_IMODE((fs / "usr/lib/d").stat().st_mode) == 0o700
    assert is_whiteout(fs / "usr/lib/gone")


def test_a_link_that_took_the_place_of_a_directory_is_followed_from_then_on(applied, fs):
    archive = (
        directory(b"a/") + entry(b"a/1", b"") + directory(b"b/") + header(b"a", b"2", link=b"b") + entry(b"a/2", b"")
    )
    applied(archive + ZEROS)
    assert os.listdir(fs / "b") == ["2"]
    assert (fs / "a").is_symlink()


def test_a_directory_replaces_a_link(applied, fs):
    archive = directory(b"b/") + header(b"a", b"2", link=b"b") + directory(b"a/") + entry(b"a/f", b"")
    applied(archive + ZEROS)
    assert os.listdir(fs / "b") == []
    assert os.listdir(fs / "a") == ["f"]


def test_a_directory_whose_name_went_by_way_of_a_link_may_be_replaced(applied, fs):
    archive = directory(b"r/") + header(b"l", b"2", link=b"r") + directory(b"l/d/") + entry(b"r/d", b"file")
    applied(archive + ZEROS)
    assert (fs / "r/d").read_bytes() == b"file"


# --- dialects ---------------------------------------------------------------------------------------------------------


def test_attributes_that_do_not_travel_are_dropped(applied, fs):
    records = [
        (b"SCHILY.xattr.trusted.overlay.opaque", b"y"), (b"SCHILY.xattr.user.overlay.redirect", b"/etc"),
        (b"SCHILY.xattr.trusted.foo", b"1"), (b"SCHILY.xattr.security.selinux", b"label"),
        (b"SCHILY.xattr.user.ok", b"1"),
    ]  # fmt: skip
    applied(pax(records) + directory(b"d/") + ZEROS)
    assert os.listxattr(fs / "d") == ["user.ok"]


@pytest.mark.parametrize("packing", ["plain", "gzip"])
def test_digests_and_sizes_are_told(applied, packing):
    import hashlib

    archive = entry(b"f", b"data") + ZEROS
    blob = gzip.compress(archive) if packing == "gzip" else archive
    result = applied(blob)
    assert result.diff_id == "sha256:" + hashlib.sha256(archive).hexdigest()
    assert result.blob_digest == "sha256:" + hashlib.sha256(blob).hexdigest()
    assert (result.tar_size, result.blob_size) == (len(archive), len(blob))


def test_an_archive_by_pythons_writer_is_unpacked(applied, fs):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo("some/" + "long" * 40 + "/name")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    applied(out.getvalue())
    assert (fs / "some" / ("long" * 40) / "name").read_bytes() == b"hello"


def test_a_full_disk_is_told_as_such(tmp_path, stream):
    from buildlib.errors import StoreFull
    from buildlib.layer.apply import apply
    from buildlib.linux import mount

    small = tmp_path / "small"
    small.mkdir()
    mount.mount("tmpfs", str(small), "tmpfs", 0, "size=64k")
    try:
        with pytest.raises(StoreFull, match="no space left while unpacking big"):
            apply(stream(entry(b"big", bytes(1 << 20)) + ZEROS), str(small / "fs"))
    finally:
        mount.umount(str(small))


def test_an_error_names_the_entry_and_the_stream_that_broke(applied):
    with pytest.raises(LayerError, match="the gzip stream ends early behind entry 'f'") as caught:
        applied(gzip.compress(entry(b"f", os.urandom(1 << 20)) + ZEROS)[:600_000])
    assert caught.value.entry == "f"
