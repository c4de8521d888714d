"""The content store and the verifying reader."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.content import ContentStore, VerifiedReader, abandoned, temporary
from buildlib.errors import DigestMismatch, FormatError, NotFound, StoreError, StoreFull, TransportError
from buildlib.oci import Digest

DATA = b"some bytes" * 1000
DIGEST = Digest.of(DATA)


@pytest.fixture
def content(tmp_path):
    return ContentStore(str(tmp_path))


def half_made(content):
    folder = Path(content.tmp)
    return list(folder.iterdir()) if folder.is_dir() else []


# --- the reader -------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_what_is_right_passes_whatever_the_pieces(data, sizes):
    reader = VerifiedReader(io.BytesIO(data), Digest.of(data), len(data))
    got = b""
    while piece := reader.read(sizes[len(got) % len(sizes)]):
        got += piece
    assert got == data
    assert reader.complete
    assert reader.finish() == (Digest.of(data), len(data))


def test_a_wrong_byte_fails_with_both_digests():
    damaged = DATA[:-1] + b"X"
    with pytest.raises(DigestMismatch) as caught:
        VerifiedReader(io.BytesIO(damaged), DIGEST, len(DATA)).read()
    assert caught.value.expected == DIGEST
    assert caught.value.actual == Digest.of(damaged)
    assert DIGEST in str(caught.value)
    assert Digest.of(damaged) in str(caught.value)


def test_who_stops_at_the_last_byte_still_hears_of_it():
    reader = VerifiedReader(io.BytesIO(b"x" * len(DATA)), DIGEST, len(DATA))
    reader.read(len(DATA) - 1)
    with pytest.raises(DigestMismatch):
        reader.read(1)


def test_too_short_and_too_long_are_errors():
    with pytest.raises(TransportError, match="ended after 9999 of 10000"):
        VerifiedReader(io.BytesIO(DATA[:-1]), DIGEST, len(DATA)).read()
    with pytest.raises(TransportError, match="more than the 10000"):
        VerifiedReader(io.BytesIO(DATA + b"x"), DIGEST, len(DATA)).read()
    with pytest.raises(TransportError, match="more than the 0"):
        VerifiedReader(io.BytesIO(b"x"), Digest.of(b""), 0).read()


def test_without_a_promise_it_tells_what_came():
    reader = VerifiedReader(io.BytesIO(DATA))
    assert reader.finish() == (DIGEST, len(DATA))


def test_it_is_a_binary_file_like_any_other():
    with io.BufferedReader(VerifiedReader(io.BytesIO(b"a\nb\n"), Digest.of(b"a\nb\n"), 4)) as file:
        assert file.readline() == b"a\n"
        assert file.read() == b"b\n"


# --- the store --------------------------------------------------------------------------------------------------------


def test_a_blob_is_visible_only_after_commit(content):
    with content.writer() as writer:
        writer.write(DATA[:10])
        writer.write(DATA[10:])
        assert not content.has(DIGEST)
        assert writer.commit(DIGEST, len(DATA)) == (DIGEST, len(DATA))
    assert content.size(DIGEST) == len(DATA)
    assert content.open(DIGEST).read() == DATA
    assert content.path(DIGEST).endswith(f"/blobs/sha256/{DIGEST.hex}")
    assert half_made(content) == []


def test_what_is_not_committed_leaves_nothing(content):
    with content.writer() as writer:
        writer.write(DATA)
    with pytest.raises(RuntimeError), content.writer() as writer:
        writer.write(DATA)
        raise RuntimeError
    assert list(content.walk()) == []
    assert half_made(content) == []


@pytest.mark.parametrize(
    ("digest", "size", "error"),
    [(Digest.of(b"other"), None, DigestMismatch), (DIGEST, len(DATA) - 1, TransportError)],
)
def test_what_was_not_expected_is_thrown_away(content, digest, size, error):
    with content.writer() as writer:
        writer.write(DATA)
        with pytest.raises(error):
            writer.commit(digest, size)
    assert list(content.walk()) == []
    assert half_made(content) == []


def test_a_verified_stream_is_stored_without_being_hashed_twice(content):
    assert content.ingest(VerifiedReader(io.BytesIO(DATA), DIGEST, len(DATA))) == (DIGEST, len(DATA))
    assert content.read(DIGEST) == DATA
    with pytest.raises(DigestMismatch):
        content.ingest(VerifiedReader(io.BytesIO(DATA), Digest.of(b"other"), len(DATA)))
    assert list(content.walk()) == [DIGEST]
    assert half_made(content) == []


def test_sha512_is_a_digest_too(content):
    digest = Digest.of(DATA, "sha512")
    with content.writer("sha512") as writer:
        writer.write(DATA)
        writer.commit(digest)
    assert list(content.walk()) == [digest]
    content.verify(digest)


def test_a_damaged_blob_is_found_and_mended(content):
    content.add(DATA)
    with Path(content.path(DIGEST)).open("r+b") as file:
        file.write(b"X")
    with pytest.raises(DigestMismatch):
        content.verify(DIGEST)
    with pytest.raises(DigestMismatch):
        content.read(DIGEST)
    content.add(DATA)
    content.verify(DIGEST)


def test_documents_have_a_limit(content):
    stored = content.add(b"x" * 100)
    with pytest.raises(FormatError, match="100 bytes are more than the 99"):
        content.read(stored.digest, 99)


def test_what_is_missing_is_named(content):
    with pytest.raises(NotFound, match=DIGEST):
        content.open(DIGEST)
    assert content.size(DIGEST) is None
    assert not content.delete(DIGEST)


def test_deleting_and_walking(content):
    digests = {content.add(bytes([n])).digest for n in range(5)}
    Path(f"{content.blobs}/sha256/not-a-digest").touch()
    assert set(content.walk()) == digests
    gone = digests.pop()
    assert content.delete(gone)
    assert set(content.walk()) == digests
    content.sync()


def test_a_name_can_not_lead_out_of_the_folder(content):
    with pytest.raises(FormatError):
        content.open("sha256:../../../../etc/passwd")


def test_a_fifo_in_place_of_a_blob_does_not_hang(content):
    content.add(DATA)
    Path(content.path(DIGEST)).unlink()
    os.mkfifo(content.path(DIGEST))
    with pytest.raises(FormatError, match="not a file"):
        content.open(DIGEST)


def test_many_may_write_the_same_blob(content):
    threads = [threading.Thread(target=content.add, args=(DATA,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(content.walk()) == [DIGEST]
    assert half_made(content) == []


@pytest.mark.root
def test_no_space_left_is_said_and_leaves_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    try:
        content = ContentStore(str(small))
        with pytest.raises(StoreFull, match="no space left"):
            content.add(b"x" * (1 << 20))
        assert half_made(content) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_folder_that_can_not_be_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        ContentStore(str(tmp_path / "file")).add(DATA)


# --- names of what is half-made ---------------------------------------------------------------------------------------


def test_half_made_files_are_abandoned_when_their_process_is_gone(tmp_path):
    mine = Path(temporary(str(tmp_path), ".x-")).name
    assert not abandoned(mine, ".x-")
    assert mine != Path(temporary(str(tmp_path), ".x-")).name
    code = "from buildlib.content import temporary; print(temporary('', '.x-'))"
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()[1:]
    assert abandoned(theirs, ".x-")
    for name in ("index.json", "1.2", ".x-a.b.c", theirs):
        assert not abandoned(name)
