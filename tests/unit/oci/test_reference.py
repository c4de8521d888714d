"""The grammar of image names, after the test tables of distribution/reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.errors import InvalidReference
from buildlib.oci import Reference

HEX = "f" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:bookworm-slim", "docker.io/library/debian:bookworm-slim", "debian:bookworm-slim"),
        ("library/debian", "docker.io/library/debian", "debian"),
        ("grafana/loki", "docker.io/grafana/loki", "grafana/loki"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/a/b:c", "docker.io/a/b:c", "a/b:c"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a", "127.0.0.1:5000/a"),
        ("[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000/a:b"),
        ("[2001:db8::1]/repo/x", "[2001:db8::1]/repo/x", "[2001:db8::1]/repo/x"),
        ("quay.io/a/b/c/d:v1", "quay.io/a/b/c/d:v1", "quay.io/a/b/c/d:v1"),
        ("UPPER/app", "UPPER/app", "UPPER/app"),
        (f"app@sha256:{HEX}", f"docker.io/library/app@sha256:{HEX}", f"app@sha256:{HEX}"),
        (f"r.io/app:1@sha256:{HEX}", f"r.io/app:1@sha256:{HEX}", f"r.io/app:1@sha256:{HEX}"),
        ("a__b/c--d", "docker.io/a__b/c--d", "a__b/c--d"),
        ("app:" + "t" * 128, "docker.io/library/app:" + "t" * 128, "app:" + "t" * 128),
    ],
)
def test_names_are_normalised_and_shortened_again(text, full, familiar):
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar() == familiar
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", " ", " a", "a ", "a\n", "a:", ":a", "/a", "a/", "a//b", "a b", "a_", "-a", "a..b", "a___b", "é", "a:é",
        "a:-x", "a:" + "t" * 129, "a@", "a@sha256:", f"a@md5:{HEX}", "a@b@c", "https://r.io/a", "r.io:port/a",
        "a" * 256, "-r.io/a", "[::1/a", "../a", "a/../b", "r.io/a:b:c", f"a@sha256:{HEX}\n", "a:tag\n",
    ],
)  # fmt: skip
def test_what_is_not_a_name_is_refused(text):
    with pytest.raises(InvalidReference):
        Reference.parse(text)


def test_upper_case_is_refused_with_the_name_that_was_meant():
    with pytest.raises(InvalidReference, match="lower case") as caught:
        Reference.parse("MyApp")
    assert "myapp" in (caught.value.hint or "")


@pytest.mark.parametrize("text", [HEX, f"sha256:{HEX}", "sha256:abc123"])
def test_an_image_id_is_not_a_name(text):
    with pytest.raises(InvalidReference, match="image id"):
        Reference.parse(text)


def test_the_default_tag_fills_only_a_gap():
    assert Reference.parse("a", "latest").tag == "latest"
    assert Reference.parse("a:1", "latest").tag == "1"
    assert Reference.parse(f"a@sha256:{HEX}", "latest").tag is None
    assert Reference.parse("a").tag is None


def test_tag_and_digest_replace_each_other():
    reference = Reference.parse("a:1")
    assert str(reference.with_digest(f"sha256:{HEX}")) == f"docker.io/library/a@sha256:{HEX}"
    assert str(reference.with_tag("2")) == "docker.io/library/a:2"
    with pytest.raises(InvalidReference):
        reference.with_tag("no tag")


@given(st.text(alphabet="aA0.:/@_-[] \n%", max_size=24))
def test_whatever_parses_round_trips(text):
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar()) == reference
