"""Any archive into a directory of a root file system, as ADD and tarball bases want it."""

# Names that are bytes, descriptors and folders given as str are what is tested here.
# ruff: noqa: PTH208

import bz2
import gzip
import lzma
import os
import stat

import pytest
import zstandard

from buildlib.errors import LayerError
from buildlib.layer.archive import extract_archive, is_archive
from tests.trees import ZEROS, describe, directory, entry, header, pax

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path):
    """A root file system with something in it."""
    path = tmp_path / "root"
    for folder in ("app", "usr/lib", "etc"):
        (path / folder).mkdir(parents=True)
    (path / "app/old").write_text("old")
    (path / "lib").symlink_to("usr/lib")
    return path


@pytest.fixture
def extract(root, stream):
    def run(archive, dest="/app", **options):
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return extract_archive(stream(archive), fd, dest, **options)
        finally:
            os.close(fd)

    return run


def test_it_lands_in_the_directory_with_the_metadata_of_the_archive(extract, root):
    result = extract(
        directory(b"d/", mode=0o2750, uid=1, gid=2, mtime=3) + entry(b"d/f", b"x", mode=0o4711, uid=5) + ZEROS
    )
    found = describe(root / "app")
    assert (found["d"]["mode"], found["d"]["owner"], found["d"]["mtime"]) == ("0o2750", (1, 2), 3)
    assert (found["d/f"]["mode"], found["d/f"]["owner"]) == ("0o4711", (5, 0))
    assert (root / "app/old").read_text() == "old"
    assert (result.entries, result.size) == (2, len(directory(b"") + entry(b"", b"x") + ZEROS))


def test_a_given_owner_replaces_all_others_also_of_what_is_made_on_the_way(extract, root):
    archive = (
        entry(b"d/f", b"", uid=5, mode=0o4755) + header(b"l", b"2", link=b"x", uid=5) + directory(b"e/", uid=5) + ZEROS
    )
    extract(archive, "/srv/new", chown=(33, 44))
    owners = {name: facts["owner"] for name, facts in describe(root / "srv").items() if name != "."}
    assert owners == dict.fromkeys(["new", "new/d", "new/d/f", "new/l", "new/e"], (33, 44))
    assert stat.S_IMODE((root / "srv/new/d/f").stat().st_mode) == 0o4755


def test_the_destination_may_be_reached_by_links_within_the_root(extract, root):
    (root / "etc/target").symlink_to("/lib")
    extract(entry(b"f", b"1") + ZEROS, "/etc/target")
    assert (root / "usr/lib/f").read_bytes() == b"1"


def test_links_that_were_there_are_followed_within_the_root(extract, root, tmp_path):
    (root / "app/link").symlink_to("/usr/lib")
    (root / "app/out").symlink_to(tmp_path)
    extract(entry(b"link/f", b"1") + ZEROS)
    assert (root / "usr/lib/f").read_bytes() == b"1"
    with pytest.raises(LayerError):
        extract(entry(b"out/f", b"1") + ZEROS)
    assert not (tmp_path / "f").exists()


def test_what_is_in_the_way_is_replaced_and_directories_merge(extract, root):
    (root / "app/d").mkdir()
    (root / "app/d/kept").write_text("")
    (root / "app/tree/deep").mkdir(parents=True)
    (root / "app/tree/deep/f").write_text("")
    (root / "app/link").symlink_to("/etc")
    extract(directory(b"d/") + entry(b"tree", b"file") + directory(b"link/") + entry(b"old", b"new") + ZEROS)
    assert sorted(os.listdir(root / "app/d")) == ["kept"]
    assert (root / "app/tree").read_bytes() == b"file"
    assert (root / "app/link").is_dir()
    assert not (root / "app/link").is_symlink()
    assert (root / "app/old").read_bytes() == b"new"


def test_a_top_entry_leaves_the_destination_as_it_is_unless_it_is_wanted(extract, root):
    (root / "app").chmod(0o755)
    extract(directory(b"./", mode=0o700) + ZEROS)
    assert stat.S_IMODE((root / "app").stat().st_mode) == 0o755
    extract(directory(b"./", mode=0o700, mtime=9) + ZEROS, keep_root=True)
    assert (stat.S_IMODE((root / "app").stat().st_mode), (root / "app").stat().st_mtime) == (0o700, 9)


def test_hard_links_stay_below_the_destination(extract, root):
    extract(entry(b"f", b"1") + header(b"g", b"1", link=b"f") + header(b"h", b"1", link=b"/f") + ZEROS)
    assert (root / "app/f").stat().st_nlink == 3
    with pytest.raises(LayerError, match="which is not there") as caught:
        extract(header(b"x", b"1", link=b"etc/passwd") + ZEROS)
    assert caught.value.entry == "x"


def test_names_of_whiteouts_are_refused_because_no_image_can_hold_them(extract):
    for name in (b".wh.f", b".wh..wh..opq", b"d/.wh.f", b".wh.d/f"):
        with pytest.raises(LayerError, match=r"\.wh\."):
            extract(directory(b"d/") + entry(name, b"") + ZEROS)


COMPRESSIONS = [
    bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress,
]  # fmt: skip


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_what_add_unpacks_is_known_by_its_content(tmp_path, compress):
    path = tmp_path / "file"
    for content, expected in [
        (entry(b"f", os.urandom(5000)) + ZEROS, True),
        (pax([(b"path", b"f")]) + entry(b"f", b"") + ZEROS, True),
        (header(b"f", magic=bytes(8)), True),
        (b"just text", False),
        (b"more text than one header is long " * 100, False),
        (b"", False),
        (bytes(10240), False),
        (entry(b"f", b"")[:511], False),
    ]:
        path.write_bytes(compress(content))
        with path.open("rb") as file:
            assert is_archive(file.fileno()) == expected
            assert file.tell() == 0


def test_a_broken_compressed_file_is_no_archive(tmp_path):
    path = tmp_path / "file"
    for content in (
        b"\x1f\x8b\x08garbage",
        b"BZh9garbage",
        b"\xfd7zXZ\0garbage",
        b"\x28\xb5\x2f\xfdgarbage",
        b"\x1f\x8b\x08",
    ):
        path.write_bytes(content)
        with path.open("rb") as file:
            assert not is_archive(file.fileno())
