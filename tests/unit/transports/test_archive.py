"""Reading members of a tar in place: what real tars have, and what hostile ones try."""

import bz2
import gzip
import io
import os
import tarfile
import threading

import pytest

from buildlib.errors import FormatError, NotFound, TransportError
from buildlib.oci import Digest
from buildlib.transports.archive import Archive
from buildlib.transports.archive_writer import ArchiveWriter


def tar(*members, format=tarfile.PAX_FORMAT):
    """A tar of (name, data) and (name, type, link)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as file:
        for name, *what in members:
            info = tarfile.TarInfo(name)
            if len(what) == 2:
                info.type, info.linkname = what
                file.addfile(info)
            else:
                info.size = len(what[0])
                file.addfile(info, io.BytesIO(what[0]))
    return out.getvalue()


@pytest.fixture
def make(tmp_path):
    opened = []

    def make(data):
        path = tmp_path / "a.tar"
        path.write_bytes(data)
        opened.append(Archive(str(path), str(tmp_path)))
        return opened[-1]

    yield make
    for archive in opened:
        archive.close()


LONG = "d" * 120 + "/" + "f" * 120


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_found_in_every_dialect(make, format):
    long = LONG if format != tarfile.USTAR_FORMAT else "d" * 90 + "/" + "f" * 90
    archive = make(tar(("./a", b"A" * 1000), ("dir", tarfile.DIRTYPE, ""), (long, b"B"), ("e", b""), format=format))
    assert archive.read("a") == b"A" * 1000
    assert archive.read(long) == b"B"
    assert archive.read("./e") == b""
    assert "dir" not in archive
    assert "a" in archive


def test_compressed_archives_and_pipes_are_read_too(make, tmp_path):
    data = tar(("a", b"A"))
    for form in (gzip.compress(data), bz2.compress(data)):
        assert make(form).read("a") == b"A"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    thread = threading.Thread(target=lambda: fifo.write_bytes(gzip.compress(data)))
    thread.start()
    archive = Archive(str(fifo), str(tmp_path))
    thread.join()
    assert archive.read("a") == b"A"
    archive.close()
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("a.tar", "fifo")] == []


def test_a_plain_tar_that_begins_like_bzip2_is_a_plain_tar(make):
    assert make(tar(("BZh9 is a name", b"x"))).read("BZh9 is a name") == b"x"


def test_links_are_followed_inside(make):
    archive = make(
        tar(
            ("blobs/x.tar", b"X"),
            ("id/layer.tar", tarfile.SYMTYPE, "../blobs/x.tar"),
            ("hard", tarfile.LNKTYPE, "blobs/x.tar"),
            ("deep/hard", tarfile.LNKTYPE, "id/layer.tar"),
        )
    )
    for name in ("id/layer.tar", "hard", "deep/hard"):
        assert archive.read(name) == b"X"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("x", tarfile.SYMTYPE, "../../etc/passwd")], "outside of the archive"),
        ([("d/x", tarfile.SYMTYPE, "../../etc/passwd")], "outside of the archive"),
        ([("x", tarfile.SYMTYPE, "x")], "too many links"),
        ([("x", b"1"), ("./x", b"2")], "occurs 2 times"),
        ([("x", b"1"), ("x", tarfile.SYMTYPE, "y")], "occurs 2 times"),
    ],
)
def test_a_member_that_means_harm_is_refused(make, members, message):
    with pytest.raises(FormatError, match=rf"a\.tar.*{message}"):
        make(tar(*members)).read(members[0][0])


def test_an_absolute_link_stays_inside(make):
    with pytest.raises(NotFound):
        make(tar(("x", tarfile.SYMTYPE, "/etc/passwd"))).read("x")


def test_a_name_that_leads_out_names_the_archive_and_the_member(make):
    with pytest.raises(FormatError, match=r"a\.tar.*'\.\./x'"):
        make(tar(("../x", b"")))


def test_a_document_has_a_limit(make):
    archive = make(tar(("x", b"12345")))
    with pytest.raises(FormatError, match="5 bytes, more than the 4"):
        archive.read("x", 4)


def damaged(how):
    data = bytearray(tar(("x", b"y" * 2000)))
    if how == "cut":
        return bytes(data[:1500])
    if how == "checksum":
        data[0] ^= 1
    elif how == "size":
        data[124:136] = b"777777777777"
    elif how == "no number":
        data[124:136] = b"zzzzzzzzzzz\0"
    return bytes(data)


@pytest.mark.parametrize("how", ["cut", "checksum", "size", "no number"])
def test_damage_is_a_format_error(make, how):
    with pytest.raises(FormatError, match=r"a\.tar"):
        make(damaged(how))


@pytest.mark.parametrize("data", [b"", b"not a tar", bytes(1024), os.urandom(5000), b"{}" * 600])
def test_other_files_are_no_archives(make, data):
    with pytest.raises(FormatError, match="not a tar"):
        make(data)


def header(kind, size):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "data",
    [
        header(tarfile.XHDTYPE, 1 << 40) + bytes(2048),
        header(tarfile.GNUTYPE_LONGNAME, 1 << 30) + bytes(2048),
        header(tarfile.XHDTYPE, 6) + b"9 a=b\n".ljust(512, b"\0") + header(tarfile.REGTYPE, 0) + bytes(1024),
        header(tarfile.XHDTYPE, 5) + b"0 a=\n".ljust(512, b"\0") + header(tarfile.REGTYPE, 0) + bytes(1024),
        header(tarfile.XHDTYPE, 9) + b"999999999".ljust(512, b"\0") + header(tarfile.REGTYPE, 0) + bytes(1024),
        header(tarfile.XHDTYPE, 22) + b"22 GNU.sparse.major=1\n".ljust(512, b"\0") + header(tarfile.REGTYPE, 0),
    ],
)
def test_hostile_headers_are_refused(make, data):
    with pytest.raises(FormatError):
        make(data)


def test_a_pax_size_that_leads_out_of_the_file_is_refused(make):
    extension = b"28 size=9999999999999999999\n"
    assert len(extension) == 28
    data = header(tarfile.XHDTYPE, 28) + extension.ljust(512, b"\0") + header(tarfile.REGTYPE, 4) + bytes(2048)
    make(data)  # 19 digits are no size: the field counts
    extension = b"27 size=999999999999999999\n"
    data = header(tarfile.XHDTYPE, 27) + extension.ljust(512, b"\0") + header(tarfile.REGTYPE, 4) + bytes(2048)
    with pytest.raises(FormatError, match="ends within x"):
        make(data)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(NotFound, match="no archive"):
        Archive(str(tmp_path / "none"))
    with pytest.raises(TransportError, match="is a folder"):
        Archive(str(tmp_path))


# --- the writer -------------------------------------------------------------------------------------------------------


def test_a_written_archive_is_a_tar_for_everybody(tmp_path):
    path = tmp_path / "out.tar"
    writer = ArchiveWriter(str(path))
    writer.add_folder("d/")
    writer.add("d/a", b"A" * 600)
    writer.add("d/a", b"not again")
    writer.add_stream(io.BytesIO(b"S" * 700), lambda: "late")
    writer.add_stream(io.BytesIO(b"T" * 3000), lambda: "late")
    writer.add("last", b"z")
    assert not path.exists()
    writer.finish()
    with tarfile.open(path) as file:
        assert file.getnames() == ["d", "d/a", "late", "last"]
        assert file.extractfile("late").read() == b"S" * 700
        assert file.extractfile("last").read() == b"z"
        assert {m.mtime for m in file} == {0}
    archive = Archive(str(path))
    assert archive.read("d/a") == b"A" * 600
    archive.close()
    assert [p.name for p in tmp_path.iterdir()] == ["out.tar"]


def test_the_same_members_give_the_same_bytes_whatever_was_dropped(tmp_path):
    digests = set()
    for dropped in (0, 9000):
        writer = ArchiveWriter(str(tmp_path / f"{dropped}"))
        writer.add("a", b"1")
        if dropped:
            writer.add_stream(io.BytesIO(b"x" * dropped), lambda: "a")
        writer.add("b", b"2")
        writer.finish()
        digests.add(Digest.of((tmp_path / f"{dropped}").read_bytes()))
    assert len(digests) == 1


def test_an_archive_that_is_not_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "out.tar"
    path.write_bytes(b"old")
    writer = ArchiveWriter(str(path))
    writer.add("a", b"A")
    writer.close()
    writer.close()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tar"]


def test_sizes_beyond_eight_gibibytes_fit_the_header():
    from buildlib.transports.archive_writer import member_header

    for size in (0, 1, (1 << 33) - 1, 1 << 33, 1 << 45):
        assert tarfile.TarInfo.frombuf(member_header("x", size), "utf-8", "strict").size == size


def test_a_pipe_gets_the_whole_archive(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = []
    thread = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    thread.start()
    writer = ArchiveWriter(str(fifo), str(tmp_path))
    writer.add("a", b"A")
    writer.finish()
    thread.join()
    with tarfile.open(fileobj=io.BytesIO(got[0])) as file:
        assert file.getnames() == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["fifo"]
