"""Archives of every dialect, and those that are damaged."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading

import pytest
import zstandard

from buildlib.errors import LayerError, StoreError
from buildlib.layer.feed import Feed
from buildlib.layer.reader import DIRECTORY, FILE, Reader
from tests.trees import ZEROS, entry, header, pax


@pytest.fixture
def read(stream):
    """The entries of an archive, each with its data."""

    def all_of(archive):
        found = []
        with Feed(stream(archive)) as feed:
            reader = Reader(feed)
            while (one := reader.next()) is not None:
                data = io.BytesIO()
                if one.pieces is None:
                    reader.take(one.size, data.write)
                else:
                    for offset, length in one.pieces:
                        data.seek(offset)
                        reader.take(length, data.write)
                found.append((one, data.getvalue().ljust(one.size, b"\0")))
            feed.drain()
        return found

    return all_of


def one(found):
    ((entry, data),) = found
    return entry, data


def test_a_prefix_is_joined_in_ustar_and_only_there(read):
    assert one(read(header(b"name", prefix=b"some/dir") + ZEROS))[0].name == b"some/dir/name"
    assert one(read(header(b"name", prefix=b"some/dir", magic=bytes(8)) + ZEROS))[0].name == b"name"
    gnu_times = b"00000000001\0" + b"00000000002\0"
    assert one(read(header(b"name", prefix=gnu_times, magic=b"ustar  \0") + ZEROS))[0].name == b"name"
    star = b"dir".ljust(131, b"\0") + gnu_times
    assert one(read(header(b"name", prefix=star, tail=b"tar\0") + ZEROS))[0].name == b"dir/name"


def test_old_docker_took_the_times_of_gnu_for_a_prefix(read):
    assert one(read(header(b"name", prefix=b"usr/share", magic=b"ustar  \0") + ZEROS))[0].name == b"usr/share/name"


def test_v7_has_no_types_and_marks_directories_with_a_slash(read):
    entries = header(b"dir/", b"\0", magic=bytes(8)) + entry(b"file", b"data", b"\0", magic=bytes(8))
    (folder, _), (file, data) = read(entries + ZEROS)
    assert (folder.kind, file.kind, data) == (DIRECTORY, FILE, b"data")


def test_names_of_100_bytes_need_no_zero_behind_them(read):
    found, _ = one(read(header(b"n" * 100, b"2", link=b"l" * 100) + ZEROS))
    assert (found.name, found.link) == (b"n" * 100, b"l" * 100)


def test_gnu_long_names_replace_those_of_the_next_header(read):
    archive = entry(b"././@LongLink", b"n" * 300 + b"\0", b"L") + entry(b"././@LongLink", b"l" * 200 + b"\0", b"K")
    (first, _), (second, _) = read(archive + header(b"short", b"2", link=b"x") + header(b"next") + ZEROS)
    assert (first.name, first.link, second.name) == (b"n" * 300, b"l" * 200, b"next")


def test_pax_records_replace_fields_for_one_entry(read):
    records = [
        (b"path", b"\xff" * 300), (b"linkpath", b"target"), (b"uid", b"3000000"), (b"gid", b"4294967294"),
        (b"mtime", b"-1.25"), (b"atime", b"1"), (b"SCHILY.xattr.user.x", b"a\0=\nb"), (b"hdrcharset", b"BINARY"),
    ]  # fmt: skip
    (first, _), (second, _) = read(
        pax(records) + header(b"f", b"2", uid=1, mtime=7) + header(b"g", uid=1, mtime=7) + ZEROS
    )
    assert (first.name, first.link, first.uid, first.gid) == (b"\xff" * 300, b"target", 3_000_000, 4_294_967_294)
    assert (first.mtime, first.xattrs) == (-1_250_000_000, {b"user.x": b"a\0=\nb"})
    assert (second.name, second.uid, second.mtime, second.xattrs) == (b"g", 1, 7_000_000_000, None)


def test_a_size_beyond_octal_comes_from_pax_or_base_256(read):
    data = b"x" * 700
    assert one(read(pax([(b"size", b"700")]) + entry(b"f", data, size=0) + ZEROS))[1] == data
    assert one(read(entry(b"f", data, size=b"\x80" + (700).to_bytes(11, "big")) + ZEROS))[1] == data


def test_an_empty_pax_value_means_that_of_the_header(read):
    assert one(read(pax([(b"path", b""), (b"mtime", b"")]) + header(b"f", mtime=3) + ZEROS))[0].name == b"f"


def test_global_records_count_for_all_that_follow_but_never_name_a_file(read):
    shared = pax([(b"mtime", b"5"), (b"uid", b"42"), (b"path", b"evil"), (b"size", b"10"), (b"comment", b"x")], b"g")
    (first, _), (second, _) = read(shared + header(b"a") + pax([(b"uid", b"7")]) + header(b"b") + ZEROS)
    assert (first.name, first.uid, first.mtime, first.size) == (b"a", 42, 5_000_000_000, 0)
    assert (second.name, second.uid, second.mtime) == (b"b", 7, 5_000_000_000)


def test_sizes_of_what_has_no_data_are_ignored(read):
    kinds = [
        header(b"d", b"5", size=99),
        header(b"l", b"1", size=99, link=b"x"),
        header(b"s", b"2", size=99, link=b"x"),
    ]
    assert [found.size for found, _ in read(b"".join(kinds) + ZEROS)] == [0, 0, 0]


def test_times_that_no_file_system_has_are_brought_back(read):
    assert one(read(header(b"f", mtime=b"\x80" + b"\xff" * 11) + ZEROS))[0].mtime == 2**40 * 10**9


# --- sparse files -----------------------------------------------------------------------------------------------------


def test_the_old_gnu_format_of_sparse_files(read):
    def pair(offset, length):
        return b"%011o\0%011o\0" % (offset, length)

    pairs = [(number * 1000, 10) for number in range(30)]
    pieces = b"".join(pair(*one) for one in pairs)
    tail = (pieces[:96] + b"\1" + b"%011o\0" % 40000).ljust(126, b"\0")
    more = pieces[96 : 96 + 504] + b"\1" + bytes(7) + pieces[600:].ljust(512, b"\0")
    block = header(b"f", b"S", size=300, magic=b"ustar  \0", tail=tail)
    found, data = one(read(block + more + b"0123456789" * 30 + bytes(212) + ZEROS))
    assert found.pieces == pairs
    assert len(data) == 40000
    assert data[29000:29012] == b"0123456789\0\0"


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_the_pax_formats_of_sparse_files(read, version):
    if version == "0.0":
        records = [
            (b"GNU.sparse.size", b"5000"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.offset", b"0"),
            (b"GNU.sparse.numbytes", b"3"), (b"GNU.sparse.offset", b"4000"), (b"GNU.sparse.numbytes", b"4"),
        ]  # fmt: skip
        archive = pax(records) + entry(b"f", b"abcdefg")
    elif version == "0.1":
        records = [
            (b"GNU.sparse.size", b"5000"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.name", b"f"),
            (b"GNU.sparse.map", b"0,3,4000,4"),
        ]  # fmt: skip
        archive = pax(records) + entry(b"GNUSparseFile.0/f", b"abcdefg")
    else:
        records = [
            (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"f"),
            (b"GNU.sparse.realsize", b"5000"),
        ]  # fmt: skip
        archive = pax(records) + entry(b"GNUSparseFile.0/f", b"2\n0\n3\n4000\n4\n".ljust(512, b"\0") + b"abcdefg")
    (found, data), (following, _) = read(archive + header(b"next") + ZEROS)
    assert (found.name, found.size, following.name) == (b"f", 5000, b"next")
    assert data == b"abc" + bytes(3997) + b"defg" + bytes(996)


@pytest.mark.parametrize(
    "records",
    [
        [(b"GNU.sparse.size", b"10"), (b"GNU.sparse.map", b"0,3,2,4")],
        [(b"GNU.sparse.size", b"5"), (b"GNU.sparse.map", b"0,7")],
        [(b"GNU.sparse.size", b"50"), (b"GNU.sparse.map", b"0,3")],
        [(b"GNU.sparse.size", b"50"), (b"GNU.sparse.map", b"0,-3,0,10")],
        [(b"GNU.sparse.size", b"50"), (b"GNU.sparse.map", b"0,7,9")],
        [(b"GNU.sparse.size", b"-50"), (b"GNU.sparse.map", b"0,7")],
        [(b"GNU.sparse.size", b"99999999999999999999"), (b"GNU.sparse.map", b"0,7")],
        [(b"GNU.sparse.map", b"0,7")],
        [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"7")],
        [(b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"7")],
    ],
)
def test_sparse_maps_that_lie_are_refused(read, records):
    with pytest.raises(LayerError, match=r"sparse|number|size") as caught:
        read(pax(records) + entry(b"f", b"abcdefg") + ZEROS)
    assert caught.value.entry == "f"


def test_a_sparse_map_without_end_is_refused(read):
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"7")]
    for text in (b"9999999999\n", b"1" * 512, b"2\n1\n1\n"):
        with pytest.raises(LayerError):
            read(pax(records) + entry(b"f", text.ljust(512, b"\0")) + ZEROS)


# --- ends and damage --------------------------------------------------------------------------------------------------


def test_the_end_may_be_two_zero_blocks_or_just_the_end(read):
    for end in (ZEROS, b"", bytes(512), bytes(10240), ZEROS + b"anything behind the end" * 100):
        assert one(read(header(b"f") + end))[0].name == b"f"
    assert read(b"") == []
    assert read(ZEROS) == []


@pytest.mark.parametrize("cut", [100, 511, 513, 700, 1100, 2000])
def test_a_truncated_archive_names_the_last_entry(read, cut):
    archive = entry(b"first", b"x" * 600) + entry(b"second", b"y" * 600)
    with pytest.raises(LayerError) as caught:
        read(archive[:cut])
    assert caught.value.reason == "truncated"
    assert caught.value.entry in ("", "first") if cut < 1536 + 512 else "second"


def test_an_archive_that_ends_behind_a_pax_header_is_truncated(read):
    with pytest.raises(LayerError, match="describes another entry"):
        read(header(b"first") + pax([(b"path", b"x")]) + ZEROS)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"not a header at all".ljust(512), "no tar header"),
        (bytes(512) + header(b"x"), "lone zero block"),
        (header(b"x", checksum=b"000000\0 "), "no tar header"),
        (header(b"x", b"Q"), "unknown"),
        (header(b"x", b"D"), "unknown"),
        (header(b"x", size=b"\xff" * 12), "impossible size -1"),
        (header(b"x", size=b"\x80" + b"\xff" * 11), "impossible size"),
        (header(b"x", size=b"0x12"), "no number"),
        (header(b"x", uid=b"\xff" * 8), "impossible owner -1"),
        (header(b"x", b"3", major=b"\x80\0\0\0\0\0\x10\0"), "impossible device number 4096"),
        (pax([(b"uid", b"4294967295")]) + header(b"x"), "impossible owner"),
        (pax([(b"size", b"-1")]) + header(b"x"), "impossible size"),
        (pax([(b"size", b"1_0")]) + header(b"x"), "no number"),
        (pax([(b"mtime", b"soon")]) + header(b"x"), "no number"),
        (pax([(b"path", b"a\0b")]) + header(b"x"), "zero byte"),
        (entry(b"pax", b"rubbish", b"x") + header(b"x"), "record"),
        (header(b"pax", b"x", size=b"\xff" * 12) + header(b"x"), "extended header"),
    ],
)  # fmt: skip
def test_damage_is_an_error_that_names_the_place(read, bad, message):
    with pytest.raises(LayerError, match=message) as caught:
        read(header(b"good") + bad + ZEROS)
    assert caught.value.entry in ("good", "x")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_an_endless_extended_header_is_refused_before_it_is_read(read, kind):
    with pytest.raises(LayerError, match="extended header behind it has 1073741824 bytes"):
        read(header(b"good") + header(b"bomb", kind, size=1 << 30) + ZEROS)


def test_global_headers_do_not_add_up_without_end(read):
    shared = [pax([(b"comment.%d" % number, b"x" * 500_000)], b"g") for number in range(4)]
    with pytest.raises(LayerError, match="global pax headers"):
        read(b"".join(shared) + ZEROS)


# --- compressed and slow streams --------------------------------------------------------------------------------------

COMPRESSIONS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_members_one_after_the_other_and_zeros_behind_are_one_stream(read, compression):
    archive = entry(b"f", os.urandom(300_000)) + header(b"g") + ZEROS
    packed = [COMPRESSIONS[compression](part) for part in (archive[:1000], archive[1000:90_000], archive[90_000:])]
    for end in (b"", bytes(3000)):
        assert [found.name for found, _ in read(b"".join(packed) + end)] == [b"f", b"g"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("damage", ["cut", "garbage", "flipped"])
def test_a_damaged_compressed_stream_is_an_error(read, compression, damage):
    packed = COMPRESSIONS[compression](entry(b"f", b"text " * 100_000) + ZEROS)
    if damage == "cut":
        packed = packed[: len(packed) // 2]
    elif damage == "garbage":
        packed += b"garbage behind it"
    else:
        middle = len(packed) // 2
        packed = packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]
    with pytest.raises(LayerError, match=f"the {compression} stream|no tar"):
        read(packed)


def test_gzip_works_without_isal(read, monkeypatch):
    from buildlib.layer import decompress

    monkeypatch.setattr(decompress, "_decoders", lambda kind: (decompress._Zlib, (__import__("zlib").error,)))
    archive = entry(b"f", b"text " * 300_000) + ZEROS
    packed = gzip.compress(archive[:5000]) + gzip.compress(archive[5000:])
    assert one(read(packed + bytes(100)))[1] == b"text " * 300_000
    with pytest.raises(LayerError, match="ends early"):
        read(packed[:-20])


def test_a_bomb_is_read_in_little_memory(stream):
    zeros = zstandard.ZstdCompressor().compressobj()
    bomb = zeros.compress(header(b"f", size=1 << 28)) + b"".join(zeros.compress(bytes(1 << 20)) for _ in range(256))
    bomb += zeros.compress(ZEROS) + zeros.flush()
    assert len(bomb) < 100_000
    largest = 0
    with Feed(stream(bomb)) as feed:
        reader = Reader(feed)
        found = reader.next()

        def use(view):
            nonlocal largest
            largest = max(largest, len(view.obj))

        reader.take(found.size, use)
    assert largest < 40 << 20


def test_digests_and_sizes_are_those_of_the_whole_stream(stream):
    import hashlib

    archive = entry(b"f", os.urandom(5000)) + ZEROS + b"behind the end"
    packed = gzip.compress(archive)
    for data in (archive, packed):
        with Feed(stream(data)) as feed:
            reader = Reader(feed)
            while reader.next():
                pass
            feed.drain()
        assert feed.blob_digest == "sha256:" + hashlib.sha256(data).hexdigest()
        assert feed.tar_digest == "sha256:" + hashlib.sha256(archive).hexdigest()
        assert (feed.blob_size, feed.tar_size) == (len(data), len(archive))


def test_a_pipe_that_trickles_is_read_to_its_end():
    reader_fd, writer_fd = os.pipe()
    archive = gzip.compress(entry(b"f", b"x" * 1000) + ZEROS)

    def trickle():
        for byte in archive:
            os.write(writer_fd, bytes([byte]))
        os.close(writer_fd)

    thread = threading.Thread(target=trickle)
    thread.start()
    with Feed(reader_fd) as feed:
        found = Reader(feed).next()
        assert found.name == b"f"
        feed.drain()
    thread.join()
    os.close(reader_fd)


def test_giving_up_does_not_wait_for_a_stream_that_says_nothing_more():
    reader_fd, writer_fd = os.pipe()
    os.write(writer_fd, b"no tar".ljust(512))
    before = threading.active_count()
    with pytest.raises(LayerError), Feed(reader_fd) as feed:
        Reader(feed).next()
    assert threading.active_count() == before
    os.close(reader_fd)
    os.close(writer_fd)


def test_pythons_own_writer_is_understood_in_all_its_formats(read):
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            for name, size in (("short", 5), ("d" * 50 + "/" + "f" * 90, 700)):
                info = tarfile.TarInfo(name)
                info.size, info.uid, info.mtime = size, 2_000_000, 1_600_000_000
                tar.addfile(info, io.BytesIO(b"z" * size))
        found = read(out.getvalue())
        assert [(one.name.decode(), one.uid, one.mtime // 10**9, len(data)) for one, data in found] == [
            ("short", 2_000_000, 1_600_000_000, 5),
            ("d" * 50 + "/" + "f" * 90, 2_000_000, 1_600_000_000, 700),
        ]


def test_a_descriptor_that_can_not_be_read_is_an_error_of_the_store(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(StoreError, match="reading an archive"), Feed(fd) as feed:
        Reader(feed).next()
    os.close(fd)
