"""Archives that want to reach what lies outside of the folder, or to be taken for something else.

Every attack is run against a layer and against ADD, with a canary outside and, where it is named, on the machine.
"""

# Names that are bytes, descriptors and folders given as str are what is tested here.
# ruff: noqa: PTH208

import contextlib
import os
import stat
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildlib.errors import BuildlibError, LayerError
from buildlib.layer.apply import apply
from buildlib.layer.archive import extract_archive
from tests.trees import ZEROS, describe, directory, entry, header, pax

pytestmark = pytest.mark.root


@pytest.fixture(params=["layer", "add"])
def attack(request, tmp_path, stream):
    """Unpack an archive into ``fs``, and find everything beside it untouched, whether it was an error or not."""
    canary = tmp_path / "outside"
    (canary / "dir").mkdir(parents=True)
    (canary / "file").write_text("canary")
    (canary / "file").chmod(0o640)
    (tmp_path / "fs").mkdir()
    before = describe(canary)

    def run(archive, dest="/"):
        fd = stream(archive)
        try:
            if request.param == "layer":
                return apply(fd, str(tmp_path / "fs"))
            root = os.open(tmp_path / "fs", os.O_RDONLY | os.O_DIRECTORY)
            try:
                return extract_archive(fd, root, dest)
            finally:
                os.close(root)
        finally:
            assert describe(canary) == before
            assert sorted(os.listdir(tmp_path)) == ["fs", "outside", "stream"]

    return run


def refused(attack, archive, match=None, name=None):
    with pytest.raises(LayerError, match=match) as caught:
        attack(archive + ZEROS)
    if name is not None:
        assert caught.value.entry == name


@pytest.mark.parametrize(
    "name",
    ["../outside/file", "a/../../outside/file", "/../outside/file", "..", "../", "a/..", "./../x", "a/b/../../../x"],
)
@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"3", b"5", b"6"])
def test_dots_in_names_are_refused(attack, name, kind):
    refused(attack, header(name.encode(), kind, link=b"x", major=1, minor=3), r"'\.\.' in its path", name)


def test_absolute_names_mean_the_root_of_the_tree(attack, tmp_path):
    name = os.fsencode(tmp_path / "outside/file")
    attack(entry(name, b"evil") + ZEROS)
    assert (tmp_path / "fs" / os.fsdecode(name).lstrip("/")).read_bytes() == b"evil"


@pytest.mark.parametrize("form", ["relative", "absolute", "chain", "deep"])
@pytest.mark.parametrize("what", ["file", "directory", "link", "device", "hard link", "whiteout", "opaque"])
def test_links_on_the_way_lead_nowhere_outside(attack, tmp_path, form, what):
    outside = os.fsencode(tmp_path / "outside")
    before = {
        "relative": header(b"l", b"2", link=b"../outside"),
        "absolute": header(b"l", b"2", link=outside),
        "chain": header(b"m", b"2", link=b"..") + header(b"l", b"2", link=b"m/outside"),
        "deep": directory(b"d/")
        + header(b"d/l", b"2", link=b"../../../../../.." + outside)
        + header(b"l", b"2", link=b"d/l"),
    }[form]
    last = {
        "file": entry(b"l/file", b"evil"),
        "directory": directory(b"l/dir/", mode=0o777),
        "link": header(b"l/file", b"2", link=b"evil"),
        "device": header(b"l/file", b"3", major=1, minor=3),
        "hard link": entry(b"f", b"evil") + header(b"l/file", b"1", link=b"f"),
        "whiteout": entry(b"l/.wh.file"),
        "opaque": entry(b"l/dir/.wh..wh..opq"),
    }[what]
    refused(attack, before + last)


def test_a_link_to_a_place_of_the_machine_leads_to_that_of_the_tree(attack, tmp_path):
    attack(directory(b"etc/") + header(b"l", b"2", link=b"/etc") + entry(b"l/buildlib-canary", b"inside") + ZEROS)
    assert (tmp_path / "fs/etc/buildlib-canary").read_bytes() == b"inside"
    assert not os.path.lexists("/etc/buildlib-canary")


def test_a_file_in_place_of_a_link_does_not_write_through_it(attack, tmp_path):
    outside = os.fsencode(tmp_path / "outside/file")
    attack(header(b"l", b"2", link=outside) + entry(b"l", b"evil", mode=0o777, uid=1) + ZEROS)
    assert (tmp_path / "fs/l").read_bytes() == b"evil"


def test_metadata_are_not_set_through_a_link(attack, tmp_path):
    outside = os.fsencode(tmp_path / "outside/file")
    records = pax([(b"SCHILY.xattr.user.evil", b"1")])
    with pytest.raises(LayerError, match=r"user\.evil can't be set"):  # links have no user attributes
        attack(records + header(b"l", b"2", link=outside, mode=0o4777, uid=9, mtime=9) + ZEROS)


def test_a_directory_that_becomes_a_link_gets_no_metadata_outside(attack, tmp_path):
    outside = os.fsencode(tmp_path / "outside/dir")
    archive = directory(b"d/", mode=0o777, uid=7, mtime=7) + header(b"d", b"2", link=outside)
    attack(archive + ZEROS)
    assert (tmp_path / "fs/d").is_symlink()
    attack(directory(b"a/") + directory(b"a/d/", mode=0o777, uid=7) + header(b"a", b"2", link=b"../outside") + ZEROS)


@pytest.mark.parametrize("target", ["../outside/file", "../../outside/file", "a/../../outside/file", ".."])
def test_hard_links_out_of_the_tree_are_refused(attack, target):
    refused(
        attack,
        directory(b"a/") + header(b"evil", b"1", link=target.encode()),
        r"hard link to .* '\.\.' in its path",
        "evil",
    )


def test_hard_links_through_links_stay_inside(attack, tmp_path):
    outside = os.fsencode(tmp_path / "outside")
    archive = header(b"l", b"2", link=outside) + header(b"evil", b"1", link=b"l/file") + ZEROS
    try:
        result = attack(archive)
    except LayerError:
        pass  # as ADD has it: the target is not there
    else:
        assert result.pending_links == [["evil", "l/file"]]
    assert not os.path.lexists(tmp_path / "fs/evil")
    absolute = header(b"evil", b"1", link=outside + b"/file") + ZEROS
    with contextlib.suppress(LayerError):
        attack(absolute)
    assert not os.path.lexists(tmp_path / "fs/evil")


def test_a_hard_link_to_a_link_is_a_link_and_not_what_it_points_to(attack, tmp_path):
    outside = os.fsencode(tmp_path / "outside/file")
    attack(header(b"l", b"2", link=outside) + header(b"evil", b"1", link=b"l") + ZEROS)
    assert (tmp_path / "fs/evil").is_symlink()
    refused(attack, header(b"l", b"2", link=outside) + header(b"evil", b"1", link=b"l") + entry(b"evil/x", b""))


@pytest.mark.parametrize("target", [b".", b"/", b"", b"d", b"d/"])
def test_hard_links_to_directories_are_refused(attack, target):
    refused(attack, directory(b"d/") + header(b"evil", b"1", link=target), "hard link", "evil")


@pytest.mark.parametrize("target", [b".wh.f", b".wh..wh..opq", b".wh..wh.plnk/1.2", b"d/.wh.f"])
def test_hard_links_to_whiteouts_are_refused(attack, target):
    refused(attack, directory(b"d/") + header(b"evil", b"1", link=target), "hard link", "evil")


def test_a_hard_link_to_what_a_whiteout_left_is_refused(tmp_path, stream):
    with pytest.raises(LayerError, match="hard link to something deleted"):
        apply(stream(entry(b".wh.f") + header(b"evil", b"1", link=b"f") + ZEROS), str(tmp_path / "fs"))


def test_the_device_that_would_be_a_whiteout_is_refused(attack):
    refused(attack, header(b"x", b"3", major=0, minor=0), "0:0", "x")


def test_device_numbers_that_would_wrap_around_to_it_are_refused(attack):
    for major, minor in ((4096, 0), (0, 1 << 20), (1 << 32, 0), (0, 1 << 32)):
        numbers = {"major": b"\x80" + major.to_bytes(7, "big"), "minor": b"\x80" + minor.to_bytes(7, "big")}
        refused(attack, header(b"x", b"3", **numbers), "device number", "x")


def test_without_root_a_device_is_a_plain_error(tmp_path):
    (tmp_path / "stream").write_bytes(header(b"null", b"3", major=1, minor=3) + ZEROS)
    tmp_path.chmod(0o777)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(tmp_path)
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            root = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                extract_archive(os.open("stream", os.O_RDONLY), root, ".")
            except LayerError as error:
                code = 0 if "by root only" in str(error) and error.entry == "null" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"d/.wh.", b"d/.wh...", b".wh.x/y"])
def test_whiteouts_of_nothing_or_of_the_parent_are_refused(attack, name):
    refused(attack, directory(b"d/") + entry(name), name=os.fsdecode(name))


@pytest.mark.parametrize("name", [b"f", b"f/", b"./f"])
def test_what_stands_for_the_root_must_be_a_directory(attack, name):
    for bad in (
        header(b"./", b"2", link=b"/etc"),
        header(b".", b"0"),
        header(b"/", b"1", link=b"x"),
        header(b"", b"0"),
    ):
        refused(attack, entry(b"g", b"") + bad)


def test_a_file_on_the_way_is_refused(attack):
    refused(attack, entry(b"f", b"") + entry(b"f/g", b""), "no directory", "f/g")


def test_a_link_to_nothing_on_the_way_is_refused(attack):
    refused(attack, header(b"l", b"2", link=b"nowhere") + entry(b"l/f", b""), "a symbolic link to nothing", "l/f")


def test_a_circle_of_links_is_refused(attack):
    refused(attack, header(b"a", b"2", link=b"b") + header(b"b", b"2", link=b"a") + entry(b"a/f", b""), name="a/f")


def test_names_that_no_system_call_takes_are_refused(attack):
    for name in (b"x" * 300, b"a/" * 2100 + b"f", b"a" * 200 + b"/" + b"b" * 5000):
        refused(attack, pax([(b"path", name)]) + entry(b"short", b""))
    refused(attack, pax([(b"linkpath", b"t" * 5000)]) + header(b"l", b"2"), name="l")
    refused(attack, header(b"l", b"2"), name="l")  # a link to ""


def test_a_name_with_a_zero_byte_ends_there_or_is_refused(attack, tmp_path):
    attack(entry(b"LongLink", b"name\0/../../outside/file\0", b"L") + entry(b"x", b"data") + ZEROS)
    assert os.listdir(tmp_path / "fs") == ["name"]
    refused(attack, pax([(b"path", b"a\0b")]) + entry(b"x", b""), "zero byte")


def test_a_huge_size_is_the_end_of_the_archive_and_no_allocation(attack, tmp_path):
    refused(attack, entry(b"f", b"data", size=b"\x80" + (1 << 62).to_bytes(11, "big")), "ends in it", "f")
    assert (tmp_path / "fs/f").stat().st_blocks < 100


def test_a_sparse_file_larger_than_any_is_refused(attack):
    records = [(b"GNU.sparse.size", b"%d" % (1 << 62)), (b"GNU.sparse.map", b"0,4")]
    try:
        attack(pax(records) + entry(b"f", b"data") + ZEROS)
    except LayerError as error:
        assert error.entry == "f"  # most file systems end before that


def test_overlay_attributes_can_not_be_forged(attack, tmp_path):
    records = [(b"SCHILY.xattr.%s.overlay.%s" % (space, mark), b"y") for space in (b"trusted", b"user")
               for mark in (b"opaque", b"redirect", b"metacopy", b"whiteout", b"overlay.opaque")]  # fmt: skip
    attack(pax(records) + directory(b"d/") + pax(records) + entry(b"d/f", b"") + ZEROS)
    assert os.listxattr(tmp_path / "fs/d") == os.listxattr(tmp_path / "fs/d/f") == []


def test_an_attribute_with_an_impossible_name_or_value_is_an_error_of_the_entry(attack):
    for key, value in ((b"user." + b"n" * 300, b"x"), (b"user.", b"x"), (b"user.big", b"x" * 70_000)):
        refused(attack, pax([(b"SCHILY.xattr." + key, value)]) + entry(b"f", b""), "can't be set", "f")


def test_a_deep_tree_that_the_archive_does_not_carry_needs_no_recursion(attack, tmp_path):
    attack(pax([(b"path", b"a/" * 2000 + b"f")]) + entry(b"short", b"deep") + ZEROS)
    fd = os.open(tmp_path / "fs" / ("a/" * 2000)[:-1], os.O_RDONLY)
    assert os.listdir(fd) == ["f"]
    os.close(fd)
    attack(entry(b"a", b"file in place of all that") + ZEROS)
    assert (tmp_path / "fs/a").is_file()


def test_members_of_an_archive_that_python_calls_dangerous_stay_inside(attack, tmp_path):
    """The case of CVE-2007-4559 and its kin, with Python's own writer."""
    path = tmp_path / "fs.tar"
    with tarfile.open(path, "w") as tar:
        for name, link in (("escape", "../outside"), ("escape/pwned", None)):
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    archive = path.read_bytes()
    path.unlink()
    with pytest.raises(LayerError):
        attack(archive)


# --- whatever comes ---------------------------------------------------------------------------------------------------

part = st.sampled_from([b"a", b"b", b"..", b".", b"", b".wh.a", b".wh..wh..opq", b"l", b"\xff"])
path = st.lists(part, min_size=1, max_size=4).map(b"/".join)
one = st.builds(
    lambda name, kind, link, mode, data: entry(
        name, data if kind == b"0" else b"", kind, link=link, mode=mode, major=1, minor=3
    ),
    path, st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6"]), path, st.integers(0, 0o7777), st.binary(max_size=10),
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(entries=st.lists(one, max_size=12))
def test_no_archive_touches_anything_outside(tmp_path_factory, entries):
    base = tmp_path_factory.mktemp("hostile", numbered=True)
    (base / "outside").mkdir()
    (base / "outside/a").write_text("canary")
    before = describe(base / "outside")
    (base / "stream").write_bytes(b"".join(entries) + ZEROS)
    fd = os.open(base / "stream", os.O_RDONLY)
    open_before = len(os.listdir("/proc/self/fd"))
    with contextlib.suppress(BuildlibError):
        apply(fd, str(base / "fs"))
    assert len(os.listdir("/proc/self/fd")) <= open_before
    os.close(fd)
    assert describe(base / "outside") == before
    assert sorted(os.listdir(base)) == ["fs", "outside", "stream"]


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=600), flips=st.lists(st.tuples(st.integers(0, 2047), st.integers(1, 255)), max_size=8))
def test_no_bytes_make_it_fail_in_another_way(tmp_path_factory, data, flips):
    base = tmp_path_factory.mktemp("noise", numbered=True)
    archive = bytearray(pax([(b"path", b"name")]) + entry(b"f", b"x" * 100) + ZEROS)
    for position, change in flips:
        archive[position % len(archive)] ^= change
    for stuff in (bytes(archive), data):
        (base / "stream").write_bytes(stuff)
        fd = os.open(base / "stream", os.O_RDONLY)
        try:
            apply(fd, str(base / "fs"))
        except LayerError as error:
            assert error.entry is not None
        os.close(fd)


def test_setuid_files_are_not_owned_by_whoever_unpacks_in_between(attack, tmp_path):
    attack(entry(b"su", b"x", mode=0o4755, uid=1000) + ZEROS)
    info = (tmp_path / "fs/su").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid) == (0o4755, 1000)
