"""tar-split and its sum: archives of every kind that are unpacked come back to the byte."""

import base64
import gzip
import io
import json
import os
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildlib.errors import FormatError, LayerError, TransportError
from buildlib.transports.containers_storage import crc64, tarsplit
from buildlib.transports.containers_storage.recording import unpack_recording

pytestmark = pytest.mark.root  # owners of files

BLOCK = 512
END = bytes(2 * BLOCK)


# --- the sum ----------------------------------------------------------------------------------------------------------


def plain_sum(data, register=0):
    """The definition, bit by bit."""
    register ^= (1 << 64) - 1
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xD800000000000000 if register & 1 else 0)
    return register ^ (1 << 64) - 1


def test_the_sum_is_that_of_the_standard():
    assert crc64.update(b"123456789") == 0xB90956C775A41001  # the check value of CRC-64/GO-ISO
    assert crc64.update(b"") == 0


@given(st.binary(max_size=700), st.integers(0, 700))
@settings(max_examples=60, deadline=None)
def test_the_sum_is_the_same_in_pieces(data, cut):
    assert crc64.update(data) == plain_sum(data)
    assert crc64.update(data[cut:], crc64.update(data[:cut])) == plain_sum(data)


@pytest.mark.parametrize("size", [1 << 16, (1 << 18) - 1, 1 << 18, (1 << 18) + 3])
def test_the_sum_of_much_is_right_too(size):
    data = random.Random(size).randbytes(size)
    cut = size // 3
    small = crc64.update(data[:cut])
    for start in range(cut, size, 24):  # too short to be folded
        small = crc64.update(data[start : start + 24], small)
    assert crc64.update(memoryview(data)) == small


# --- there and back ---------------------------------------------------------------------------------------------------


class Archive(io.BytesIO):
    """A tar, member by member."""

    def member(self, name, data=b"", *, kind=tarfile.REGTYPE, mode=0o644, format=tarfile.PAX_FORMAT, **more):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mode = kind, len(data), mode
        for key, value in more.items():
            setattr(info, key, value)
        padding = -len(data) % BLOCK
        self.write(info.tobuf(format, "utf-8", "surrogateescape") + data + bytes(padding))
        return self


def record(tar, folder):
    out = io.BytesIO()
    recorded = unpack_recording(io.BytesIO(tar), str(folder), tarsplit.Recorder(out.write))
    return out.getvalue(), recorded


def back(split, *folders):
    fds = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY) for folder in folders]
    try:
        return b"".join(tarsplit.archive([split], fds, "test"))
    finally:
        for fd in fds:
            os.close(fd)


def entries(split):
    return [json.loads(line) for line in gzip.decompress(split).splitlines()]


def comes_back(tar, folder):
    split, recorded = record(tar, folder)
    assert back(split, folder) == tar
    assert [entry["position"] for entry in entries(split)] == list(range(len(entries(split))))
    names = [entry["name"] for entry in entries(split) if entry["type"] == 1 and "name" in entry]
    assert len(set(map(os.path.normpath, names))) == len(names)
    return split, recorded


def test_an_archive_comes_back(tmp_path):
    tar = (
        Archive()
        .member("./", kind=tarfile.DIRTYPE, mode=0o755)
        .member("etc/", kind=tarfile.DIRTYPE)
        .member("etc/a", b"x" * 1000, uid=7, gid=8)
        .member("etc/empty")
        .member("etc/link", kind=tarfile.LNKTYPE, linkname="etc/a")
        .member("etc/soft", kind=tarfile.SYMTYPE, linkname="a", uid=9)
        .member("fifo", kind=tarfile.FIFOTYPE)
        .member("etc/.wh.gone", uid=99)
        .member("long/" + "n" * 200, b"y" * 512)
        .member("umlaut-ä", b"z", pax_headers={"SCHILY.xattr.user.a": "1"})
        .getvalue()
        + END
    )
    split, recorded = comes_back(tar, tmp_path / "d")
    assert recorded.has_root
    assert (recorded.uids, recorded.gids) == ((0, 7, 9), (0, 8))
    found = entries(split)
    assert found[0]["type"] == 2
    assert found[1] == {"type": 1, "name": "./", "payload": None, "position": 1}
    assert base64.b64decode(found[2]["payload"]) == tar[512:1024]
    file = next(entry for entry in found if entry.get("name") == "etc/a")
    assert file["size"] == 1000
    assert base64.b64decode(file["payload"]) == crc64.update(b"x" * 1000).to_bytes(8, "big")


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("end", [b"", END, bytes(20 * BLOCK), END + b"rubbish"], ids=["none", "short", "long", "more"])
def test_every_format_and_end_comes_back(tmp_path, format, end):
    tar = Archive()
    tar.member("a", b"1" * 513, format=format).member("d/" + "b" * 90, b"2", format=format)
    if format != tarfile.USTAR_FORMAT:
        tar.member("c" * 150, b"3" * 512, format=format)
    comes_back(tar.getvalue() + end, tmp_path / "d")


def test_a_layer_without_anything_comes_back(tmp_path):
    _, recorded = comes_back(END, tmp_path / "d")
    assert not recorded.has_root
    assert recorded.uids == ()


def test_names_that_are_not_utf_8_come_back(tmp_path):
    tar = Archive().member("caf\udce9", b"x" * 20).member('quo"te\\ <&>\u2028', b"y").getvalue() + END
    split, _ = comes_back(tar, tmp_path / "d")
    raw = [entry for entry in entries(split) if "name_raw" in entry]
    assert [base64.b64decode(entry["name_raw"]) for entry in raw] == [b"caf\xe9"]


def test_sparse_files_come_back_from_their_archive_alone(tmp_path):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.write(b"begin")
        file.seek(5 << 20)
        file.write(b"end" * 300_000)
    for version in ("--format=gnu", "--format=posix", "--sparse-version=0.1"):
        tar = tmp_path / "x.tar"
        more = ["--format=posix"] if "version" in version else []
        os.spawnlp(os.P_WAIT, "tar", "tar", "-C", str(tmp_path), *more, version, "-Scf", str(tar), "sparse")
        folder = tmp_path / f"d{version}"
        split, _ = comes_back(tar.read_bytes(), folder)
        assert (folder / "sparse").read_bytes() == sparse.read_bytes()
        assert not [entry for entry in entries(split) if entry["type"] == 1 and entry.get("size")]
        assert max(len(line) for line in gzip.decompress(split).splitlines()) < 1 << 20


def test_content_that_is_not_unpacked_comes_back(tmp_path):
    tar = Archive().member("d/", kind=tarfile.DIRTYPE).member("d/.wh.x", b"content")
    tar.member(".wh..wh.plnk/1", b"aufs" * 500).member("y", b"y")
    comes_back(tar.getvalue() + END, tmp_path / "d")
    assert not (tmp_path / "d" / ".wh..wh.plnk").exists()


def test_an_entry_that_is_there_twice_comes_back_twice(tmp_path):
    tar = Archive().member("d/", kind=tarfile.DIRTYPE).member("d/a", b"same" * 100).member("d/", kind=tarfile.DIRTYPE)
    tar.member("./d/a", b"same" * 100, mtime=5).member("d/b").member("d/b", b"now").member("d/.wh.z").member("d/.wh.z")
    comes_back(tar.getvalue() + END, tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "later"),
    [
        ("a", lambda tar: tar.member("a", b"other")),
        ("a", lambda tar: tar.member("/a", b"more" * 100)),
        ("a", lambda tar: tar.member("a", kind=tarfile.SYMTYPE, linkname="b")),
        ("a", lambda tar: tar.member("a")),
        ("d/a", lambda tar: tar.member("d", kind=tarfile.SYMTYPE, linkname="e")),
        ("d/e/a", lambda tar: tar.member("d", b"file")),
    ],
)
def test_what_a_later_entry_takes_away_can_t_come_back_and_is_refused(tmp_path, name, later):
    tar = Archive().member("d/e/", kind=tarfile.DIRTYPE).member(name, b"first")
    with pytest.raises(LayerError, match="replaced by a later entry") as caught:
        record(later(tar).getvalue() + END, tmp_path / "d")
    assert caught.value.entry == name
    assert caught.value.hint


MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "d/", "d/a", "d/b", "./d/c", "/e", "d/.wh.x", "ü"]),
        st.sampled_from([b"", b"x", b"y" * 511, b"z" * 1024]),
        st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    ),
    max_size=8,
)


@given(MEMBERS, st.sampled_from([b"", END, END + bytes(100)]))
@settings(max_examples=60, deadline=None)
def test_any_archive_comes_back_or_is_refused(tmp_path_factory, members, end):
    tar = Archive()
    for name, data, format in members:
        kind = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
        tar.member(name, b"" if name.endswith("/") else data, kind=kind, format=format)
    folder = tmp_path_factory.mktemp("any") / "d"
    try:
        comes_back(tar.getvalue() + end, folder)
    except LayerError as error:
        assert "replaced" in error.message


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def there(tmp_path):
    """A folder with the file ``a``, and a tar-split that wants it."""
    tar = Archive().member("a", b"content").getvalue() + END
    split, _ = record(tar, tmp_path / "d")
    return tmp_path / "d", split


def test_a_file_may_lie_in_a_layer_below(there, tmp_path):
    folder, split = there
    (tmp_path / "above").mkdir()
    assert b"content" in back(split, tmp_path / "above", folder)


@pytest.mark.parametrize("change", ["gone", "longer", "a link", "a folder", "a fifo"])
def test_a_file_that_changed_is_an_error(there, tmp_path, change):
    folder, split = there
    (folder / "a").unlink()
    (tmp_path / "secret").write_bytes(b"secret!")
    if change == "longer":
        (folder / "a").write_bytes(b"more content")
    elif change == "a link":
        (folder / "a").symlink_to(tmp_path / "secret")
    elif change == "a folder":
        (folder / "a").mkdir()
    elif change == "a fifo":
        os.mkfifo(folder / "a")
    with pytest.raises(TransportError, match=r"test: .*'a'"):
        back(split, folder)


@pytest.mark.parametrize("name", ["../secret", "/../secret", "up/secret", "abs"])
def test_no_name_leads_out_of_the_layer(tmp_path, name):
    (tmp_path / "secret").write_bytes(b"secret!")
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "up").symlink_to("..")
    (folder / "abs").symlink_to(tmp_path / "secret")
    line = {"type": 1, "name": name, "size": 7, "payload": "", "position": 0}
    split = gzip.compress(json.dumps(line).encode() + b"\n")
    with pytest.raises(TransportError):
        back(split, folder)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"type": 3}',
        b'{"type": 1}',
        b'{"type": 1, "name": 5}',
        b'{"type": 1, "name": "a", "size": "7"}',
        b'{"type": 2, "payload": "x"}',
        b'{"type": 2, "payload": 7}',
    ],
)
def test_a_damaged_tar_split_is_an_error(there, line):
    with pytest.raises(FormatError, match="tar-split is damaged"):
        back(gzip.compress(line + b"\n"), there[0])


def test_a_tar_split_that_ends_early_is_an_error(there):
    folder, split = there
    with pytest.raises(LayerError, match="ends early"):
        back(split[:-10], folder)
