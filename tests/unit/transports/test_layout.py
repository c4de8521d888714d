"""Which image of an index.json is meant, and how one is added."""

import pytest

from buildlib.errors import FormatError, NotFound, UsageError
from buildlib.oci import Descriptor, Digest, Index, Manifest, Platform
from buildlib.oci.mediatype import OCI_CONFIG, OCI_MANIFEST
from buildlib.transports.layout import add, check_version, choose, names_of, split

REF, CONTAINERD = "org.opencontainers.image.ref.name", "io.containerd.image.name"


def entry(content, platform=None, **annotations):
    names = {{"ref": REF, "containerd": CONTAINERD}.get(k, k): v for k, v in annotations.items()}
    parsed = Platform.parse(platform) if platform else None
    return Descriptor(OCI_MANIFEST, Digest.of(content.encode()), 1, parsed, names)


A, B = entry("a", ref="one"), entry("b", ref="two")


def test_the_only_image_needs_no_name():
    assert choose(Index.build([A]), None, "x") == A
    assert choose(Index.build([entry("a", ref="one"), entry("a", ref="two")]), None, "x").digest == A.digest


def test_a_name_or_a_number_chooses():
    index = Index.build([A, B])
    assert choose(index, "two", "x") == B
    assert choose(index, "@0", "x") == A
    assert choose(index, "@1", "x") == B


def test_the_names_of_containerd_are_known_in_every_spelling():
    index = Index.build([A, entry("c", ref="1.0", containerd="docker.io/library/app:1.0")])
    for wanted in ("1.0", "docker.io/library/app:1.0", "app:1.0", "library/app:1.0"):
        assert choose(index, wanted, "x").digest == Digest.of(b"c")


def test_several_images_are_ambiguous_and_listed():
    with pytest.raises(UsageError, match="has 2 images") as caught:
        choose(Index.build([A, B, ]), None, "x")  # fmt: skip
    assert "@0 (one), @1 (two)" in (caught.value.hint or "")
    with pytest.raises(UsageError):
        choose(Index.build([A, entry("b", ref="one")]), "one", "x")


def test_entries_that_differ_by_platform_are_one_image():
    index = Index.build([entry("a", "linux/amd64", ref="x"), entry("b", "linux/arm64", ref="x"), B])
    chosen = choose(index, "x", "x")
    assert isinstance(chosen, Index)
    assert chosen.select(Platform.parse("linux/arm64")).digest == Digest.of(b"b")
    assert all(not names_of(e) for e in chosen.manifests)


@pytest.mark.parametrize("wanted", ["three", "@2", None])
def test_what_is_not_there_is_said(wanted):
    index = Index.build([A, B] if wanted else [])
    with pytest.raises(NotFound):
        choose(index, wanted, "x")


@pytest.mark.parametrize("wanted", ["@", "@x", "@-1", "@" + "9" * 5000, "@²"])
def test_a_number_is_a_number(wanted):
    with pytest.raises(UsageError):
        choose(Index.build([A]), wanted, "x")


def manifest(content):
    return Manifest.build(Descriptor(OCI_CONFIG, Digest.of(content.encode()), 1), [])


def test_a_name_goes_over_to_the_new_image():
    index = add(Index.build([B]), manifest("1"), ["app"])
    index = add(index, manifest("2"), ["app", "other"])
    assert [(e.digest, names_of(e)) for e in index.manifests] == [
        (B.digest, ("two",)),
        (manifest("2").digest, ("app",)),
        (manifest("2").digest, ("other",)),
    ]


def test_an_image_without_a_name_is_listed_once_and_gets_its_name_later():
    index = add(add(Index.build([]), manifest("1"), []), manifest("1"), [])
    assert len(index.manifests) == 1
    assert [names_of(e) for e in add(index, manifest("1"), ["app"]).manifests] == [("app",)]
    assert len(add(add(index, manifest("1"), ["app"]), manifest("1"), []).manifests) == 1


def test_the_first_colon_ends_the_path():
    assert split("/a/b:docker.io/x:1") == ("/a/b", "docker.io/x:1")
    assert split("/a/b") == split("/a/b:") == ("/a/b", None)


@pytest.mark.parametrize("raw", [b"{}", b'{"imageLayoutVersion":"2.0.0"}', b'{"imageLayoutVersion":1}', b"x"])
def test_unknown_versions_are_refused(raw):
    with pytest.raises(FormatError):
        check_version(raw, "x")
