"""Digests and chain ids."""

import hashlib

import pytest

from buildlib.errors import FormatError
from buildlib.oci import Digest, chain_id

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_a_string_with_parts():
    digest = Digest.of(b"")
    assert digest == EMPTY
    assert (digest.algorithm, digest.hex) == ("sha256", EMPTY[7:])
    assert Digest.of(b"", "sha512").hex == hashlib.sha512().hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "", "sha256", "sha256:", EMPTY[:-1], EMPTY + "0", EMPTY.upper(), "md5:" + "a" * 32,
        EMPTY + "\n", "sha256:" + "é" * 64,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(FormatError):
        Digest(text)


def test_a_chain_id_covers_all_layers_below():
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert chain_id([]) == ()
    assert chain_id([one, two]) == (one, Digest.of(f"{one} {two}".encode()))
