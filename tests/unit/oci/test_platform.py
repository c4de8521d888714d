"""Platforms: parsing, matching, choosing."""

import pytest

from buildlib.errors import FormatError, NotFound, UsageError
from buildlib.oci import Descriptor, Digest, Index, Platform


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("aarch64", Platform("linux", "arm64")),
        ("linux/arm/v6", Platform("linux", "arm", "v6")),
        ("armhf", Platform("linux", "arm", "v7")),
        ("Linux/ARM64/v8", Platform("linux", "arm64", "v8")),
    ],
)
def test_names_of_kernels_and_distributions_become_those_of_go(text, platform):
    assert Platform.parse(text) == platform


@pytest.mark.parametrize("text", ["", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux//v8"])
def test_nonsense_is_refused(text):
    with pytest.raises(UsageError):
        Platform.parse(text)


def test_a_platform_prints_as_it_is_written():
    assert str(Platform.parse("linux/arm/v7")) == "linux/arm/v7"
    assert Platform.host().os == "linux"


def test_the_default_variant_may_be_left_out():
    assert Platform.parse("linux/arm64").matches(Platform.parse("linux/arm64/v8"))
    assert Platform.parse("linux/arm").matches(Platform.parse("linux/arm/v7"))
    assert not Platform.parse("linux/arm").matches(Platform.parse("linux/arm/v6"))


def index(*platforms):
    return Index.build(
        Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(p.encode()), 1, platform=Platform.parse(p))
        for p in platforms
    )


@pytest.mark.parametrize(
    ("machine", "images", "chosen"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm64"], "linux/arm/v6"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], "linux/arm64/v8"),
    ],
)
def test_an_index_gives_the_image_that_the_machine_runs_best(machine, images, chosen):
    assert index(*images).select(Platform.parse(machine)).digest == Digest.of(chosen.encode())


def test_no_image_for_the_machine_is_an_error_that_lists_what_there_is():
    with pytest.raises(NotFound, match="linux/s390x") as caught:
        index("linux/amd64", "linux/arm/v6").select(Platform.parse("linux/s390x"))
    assert "linux/arm/v6" in (caught.value.hint or "")
    with pytest.raises(NotFound):
        index("linux/amd64/v2").select(Platform.parse("linux/amd64"))


def test_windows_versions_match_by_prefix():
    server = Platform("windows", "amd64", os_version="10.0.17763")
    assert server.matches(Platform("windows", "amd64", os_version="10.0.17763.1234"))
    assert not server.matches(Platform("windows", "amd64", os_version="10.0.177631"))


def test_a_platform_needs_os_and_architecture():
    with pytest.raises(FormatError, match=r"platform\.os is missing"):
        Platform.from_dict({"architecture": "amd64"})
