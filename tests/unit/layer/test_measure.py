"""Digests and compressed exports: one stream, however it goes out."""

import gzip
import hashlib
import io
import os
import zlib

import pytest
import zstandard

from buildlib.errors import LayerError, StoreError, UsageError
from buildlib.layer import compress
from buildlib.layer.blocks import SIZE
from buildlib.layer.measure import export, export_squashed, measure

from .conftest import names, written


@pytest.fixture
def filled(tree):
    """Several blocks of data, compressible and not."""
    (tree / "random").write_bytes(os.urandom(SIZE + 1000))
    (tree / "text").write_bytes(b"all work and no play\n" * 100_000)
    (tree / "dir").mkdir()
    for number in range(50):
        (tree / f"dir/{number}").write_text(str(number))
    return tree


def exported(folder, path, **options):
    fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    try:
        return export(str(folder), fd, **options)
    finally:
        os.close(fd)


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_the_diff_id_is_the_digest_of_the_archive(filled):
    measured = measure(str(filled))
    archive = written(filled)
    assert (measured.diff_id, measured.size) == (sha256(archive), len(archive))
    assert measured.entries == 53


def test_the_content_digest_does_not_see_times(filled):
    before = measure(str(filled))
    os.utime(filled / "text", (1, 1))
    os.utime(filled / "dir", (2, 2))
    after = measure(str(filled))
    assert before.diff_id != after.diff_id
    assert before.content_digest == after.content_digest
    assert measure(str(filled), timestamp=5).content_digest == before.content_digest


@pytest.mark.parametrize("change", ["content", "mode", "owner", "name", "xattr", "link"])
def test_the_content_digest_sees_everything_else(filled, change):
    before = measure(str(filled)).content_digest
    path = filled / "dir/7"
    if change == "content":
        path.write_text("8")
    elif change == "mode":
        path.chmod(0o600)
    elif change == "owner":
        os.chown(path, 1, 1)
    elif change == "name":
        path.rename(filled / "dir/x7")
    elif change == "xattr":
        os.setxattr(path, "user.x", b"")
    else:
        path.unlink()
        os.link(filled / "dir/8", path)
    assert measure(str(filled)).content_digest != before


def test_without_content_only_one_digest_is_made(filled):
    measured = measure(str(filled), content=False)
    assert measured.content_digest is None
    assert measured.diff_id == measure(str(filled)).diff_id


def test_every_compression_holds_the_same_archive_and_tells_its_own_digest(filled, tmp_path):
    archive = written(filled)
    unpack = {
        "none": bytes,
        "gzip": gzip.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(),
    }
    for compression, decompress in unpack.items():
        result = exported(filled, tmp_path / "out", compression=compression)
        blob = (tmp_path / "out").read_bytes()
        assert decompress(blob) == archive
        assert (result.diff_id, result.tar_size) == (sha256(archive), len(archive))
        assert (result.digest, result.size) == (sha256(blob), len(blob))


@pytest.mark.parametrize("level", [0, 1, 2, 6])
def test_gzip_is_the_same_every_time_and_for_any_number_of_threads(filled, tmp_path, monkeypatch, level):
    first = exported(filled, tmp_path / "out", compression="gzip", level=level).digest
    for threads in (1, 2, 5):
        monkeypatch.setattr(compress._Gzip, "parallel", threads)
        assert exported(filled, tmp_path / "out", compression="gzip", level=level).digest == first


def test_gzip_is_made_of_blocks_that_stand_alone(filled, tmp_path):
    exported(filled, tmp_path / "out", compression="gzip")
    blob = (tmp_path / "out").read_bytes()
    assert blob[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    archive = written(filled)
    packer = compress.compressor("gzip")
    blocks = [archive[start : start + SIZE] for start in range(0, len(archive), SIZE)]
    body = b"".join(packer.compress(block) for block in reversed(blocks))
    for block in blocks:
        packer.note(block)
    assert sorted(blob) == sorted(packer.header + body + packer.finish())


def test_without_isal_it_still_is_gzip(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(compress, "_isal", lambda: None)
    result = exported(filled, tmp_path / "out", compression="gzip")
    assert sha256(zlib.decompress((tmp_path / "out").read_bytes(), 31)) == result.diff_id


def test_zstd_is_the_same_every_time(filled, tmp_path):
    digests = {exported(filled, tmp_path / "out", compression="zstd", level=3).digest for _ in range(3)}
    assert len(digests) == 1


def test_an_unknown_compression_or_level_is_a_usage_error(filled, tmp_path):
    for options in ({"compression": "lzma"}, {"compression": "gzip", "level": 10}, {"compression": "zstd", "level": 0}):
        with pytest.raises(UsageError):
            exported(filled, tmp_path / "out", **options)


def test_an_output_that_nobody_reads_ends_the_export(filled):
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(StoreError, match="writing a layer"):
        export(str(filled), writer, compression="gzip", level=0)
    os.close(writer)


@pytest.mark.root
def test_a_squashed_export_takes_the_tree_as_it_is(tree, tmp_path):
    (tree / "dir").mkdir()
    os.setxattr(tree / "dir", "trusted.overlay.opaque", b"y")
    with (tmp_path / "out").open("wb") as out:
        export_squashed(str(tree), out.fileno(), compression="none")
    assert names((tmp_path / "out").read_bytes()) == ["dir/"]


def test_an_error_is_not_held_up_by_an_output_that_nobody_reads(tree):
    (tree / "a").write_bytes(os.urandom(3 * SIZE))
    (tree / "z").mkdir()
    (tree / "z/.wh.bad").write_text("")
    reader, writer = os.pipe()
    with pytest.raises(LayerError):
        export(str(tree), writer, compression="none")
    os.close(reader)
    os.close(writer)
