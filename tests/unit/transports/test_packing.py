"""Compression and decompression on the way."""

import bz2
import gzip
import io
import lzma
import os
import random

import pytest
import zstandard

from buildlib.content import VerifiedReader
from buildlib.errors import DigestMismatch, LayerError
from buildlib.oci import Digest
from buildlib.transports.packing import compression_of, packed, unpacked

DATA = random.Random(1).randbytes(400_000) + b"the same again" * 200_000  # more than a block, more than a piece
FORMS = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


class Dripping(io.BytesIO):
    """A stream that gives a few bytes at a time, as a socket may."""

    def __init__(self, data, most):
        super().__init__(data)
        self.most = most

    def read(self, size=-1):
        return super().read(min(size, self.most) if size >= 0 else self.most)


def everything(stream):
    return b"".join(iter(lambda: stream.read(70_000), b""))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_recognised_and_undone(form):
    stored = FORMS[form](DATA)
    assert compression_of(stored[:10]) == form
    assert everything(unpacked(io.BytesIO(stored))) == DATA
    assert everything(unpacked(Dripping(stored, 3001))) == DATA


@pytest.mark.parametrize("form", FORMS)
def test_nothing_stays_nothing(form):
    assert unpacked(io.BytesIO(FORMS[form](b""))).read() == b""


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zstd"])
def test_members_one_after_the_other_are_one_stream(form):
    stored = FORMS[form](DATA[:1000]) + FORMS[form](b"") + FORMS[form](DATA[1000:])
    assert everything(unpacked(io.BytesIO(stored))) == DATA


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz"])
def test_zeros_at_the_end_are_padding(form):
    assert everything(unpacked(io.BytesIO(FORMS[form](DATA) + bytes(100_000)))) == DATA


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "cut at the last byte", "flipped", "garbage behind"])
def test_damage_is_a_clear_error(form, damage):
    stored = bytearray(FORMS[form](os.urandom(100_000)))
    if form == "zstd":
        stored = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(os.urandom(100_000)))
    if damage == "cut":
        del stored[len(stored) // 2 :]
    elif damage == "cut at the last byte":
        del stored[-1]
    elif damage == "flipped":
        stored[len(stored) // 2] ^= 255
    else:
        stored += b"garbage that is no member"
    with pytest.raises(LayerError, match=f"the {form} stream"):
        everything(unpacked(io.BytesIO(bytes(stored))))


def test_a_small_file_of_zeros_is_never_in_memory_as_a_whole():
    bomb = gzip.compress(bytes(1 << 26))
    stream = unpacked(io.BytesIO(bomb))
    while piece := stream.read(1 << 20):
        assert len(piece) <= 1 << 20


def test_a_zstd_window_of_a_gigabyte_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stored = packer.compress(b"x") + packer.flush()
    with pytest.raises(LayerError):
        unpacked(io.BytesIO(stored)).read()


def test_a_verifying_stream_below_is_read_to_its_end():
    stored = gzip.compress(DATA)
    with pytest.raises(DigestMismatch):
        everything(unpacked(VerifiedReader(io.BytesIO(stored), Digest.of(b"other"), len(stored))))


@pytest.mark.parametrize("form", ["gzip", "zstd"])
@pytest.mark.parametrize("level", [None, 1, 6])
def test_what_is_packed_here_others_unpack(form, level):
    stored = everything(packed(io.BytesIO(DATA), form, level))
    opener = {"gzip": gzip.decompress, "zstd": lambda d: zstandard.ZstdDecompressor().decompressobj().decompress(d)}
    assert opener[form](stored) == DATA
    assert len(stored) < len(DATA)


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_the_bytes_do_not_depend_on_how_they_arrive(form):
    whole = everything(packed(io.BytesIO(DATA), form))
    assert everything(packed(Dripping(DATA, 70_001), form)) == whole


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_layer_packed_here_has_the_bytes_of_one_exported_from_its_folder(tmp_path, form):
    from buildlib.layer.measure import export

    tree, plain, compressed = tmp_path / "tree", tmp_path / "plain", tmp_path / "compressed"
    (tree / "sub").mkdir(parents=True)
    (tree / "big").write_bytes(DATA)
    (tree / "sub" / "small").write_bytes(b"small")
    for path, how in ((plain, "none"), (compressed, form)):
        with path.open("wb") as file:
            export(str(tree), file.fileno(), compression=how)
    assert everything(packed(io.BytesIO(plain.read_bytes()), form)) == compressed.read_bytes()
