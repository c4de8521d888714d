"""Images in files and folders, exchanged with skopeo, umoci and podman in both directions."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib import transports
from buildlib.oci import Digest, Platform
from buildlib.transports import writing
from buildlib.transports.copy import copy

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from transports.images import Memory, layer_tar, manifest_of, read, tars_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Program

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, so that names stay short."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def memory() -> Memory:
    """Two images' worth of content."""
    return Memory()


def put(source: object, name: str, **options: object) -> Digest:
    """Copy to a transport by name."""
    with writing(transports.destination(name)) as destination:
        return copy(source, destination, **options).digest


def move(origin: str, target: str, **options: object) -> Digest:
    """Copy from a transport to another one by name."""
    with closing(transports.source(origin)) as source:
        return put(source, target, **options)


def content(name: str) -> tuple[Digest, list[bytes]]:
    """The digest of the config and the tars of the layers: what no copy may change."""
    with closing(transports.source(name)) as source:
        return manifest_of(source).config.digest, tars_of(source)


def digest(skopeo: Program, name: str) -> str:
    """The digest of the manifest that skopeo sees."""
    return skopeo("inspect", "--format", "{{.Digest}}", name).strip()


TRANSPORTS = ["oci:x:app", "oci-archive:x:app", "docker-archive:x:app:1", "dir:x"]


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_skopeo_reads_what_we_write(memory: Memory, skopeo: Program, name: str, docker: bool, compression: str) -> None:
    manifest = memory.image("a", "b", docker=docker, compression=compression)
    written = put(memory, name)
    skopeo("copy", name, "dir:copy")
    if not name.startswith("docker-archive"):  # of that skopeo computes a manifest of its own
        assert digest(skopeo, name) == written
    assert content("dir:copy") == (manifest.config.digest, tars_of(memory))


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("format", ["oci", "v2s2"])
def test_we_read_what_skopeo_writes(memory: Memory, skopeo: Program, name: str, format: str) -> None:
    manifest = memory.image("a", "b")
    put(memory, "dir:base")
    forced = ["--format", format] if name.startswith("dir") else []
    skopeo("copy", *forced, "dir:base", name)
    assert content(name) == (manifest.config.digest, tars_of(memory))
    copied = move(name, "dir:out")
    if not name.startswith("docker-archive"):
        assert copied == digest(skopeo, name) == digest(skopeo, "dir:out")


@pytest.mark.parametrize("first", TRANSPORTS)
@pytest.mark.parametrize("second", TRANSPORTS)
def test_an_image_goes_round_through_both(memory: Memory, skopeo: Program, first: str, second: str) -> None:
    memory.image("a", "b", "a")
    put(memory, first)
    second = second.replace(":x", ":y")
    skopeo("copy", first, second)
    move(second, "oci:z")
    skopeo("copy", "oci:z", "dir:end")
    assert content("dir:end") == content(second)
    # Where skopeo changes the format it writes another config, with the same meaning; we never do.
    assert content("dir:end")[1] == content(first)[1]
    assert content("oci:z") == content(second)


def test_skopeo_reads_zstd_that_we_packed(memory: Memory, skopeo: Program) -> None:
    memory.image("a", "b", compression="none", size=500)
    put(memory, "oci:x:app", compression="zstd")
    skopeo("copy", "--dest-decompress", "oci:x:app", "dir:y")
    assert content("dir:y") == content("oci:x")


def test_skopeo_reads_what_we_converted_between_the_formats(memory: Memory, skopeo: Program) -> None:
    memory.image("a", "b", compression="zstd")
    put(memory, "dir:docker", format="docker")
    move("dir:docker", "oci:oci:app")
    for name in ("dir:docker", "oci:oci:app"):
        skopeo("copy", name, "dir:copy")
        assert content("dir:copy") == content("dir:docker") == content("oci:oci")


def test_all_platforms_go_both_ways(memory: Memory, skopeo: Program) -> None:
    index = memory.index("linux/amd64", "linux/arm64/v8", "linux/arm/v7")
    put(memory, "oci:ours:app", multi_arch="all")
    skopeo("copy", "--all", "oci:ours:app", "dir:theirs")
    assert move("dir:theirs", "oci:back:app", multi_arch="all") == index.digest
    skopeo("copy", "--override-arch", "arm64", "--override-variant", "v8", "oci:back:app", "dir:one")
    assert move("oci:ours:app", "dir:mine", platform=Platform.parse("linux/arm64")) == digest(skopeo, "dir:one")


def test_the_names_in_an_archive_of_several_images_are_skopeos_tags(memory: Memory, skopeo: Program) -> None:
    with writing(transports.destination("docker-archive:x")) as destination:
        for name in ("one", "two"):
            memory.image("shared", name)
            copy(memory, destination, names=[f"localhost/{name}:1"])
    found = json.loads(skopeo("list-tags", "docker-archive:x"))
    assert found["Tags"] == ["localhost/one:1", "localhost/two:1"]
    skopeo("copy", "docker-archive:x:localhost/two:1", "oci:y")
    assert content("oci:y")[1][1] == layer_tar("two", b"two-" * 1000)
    skopeo("copy", "docker-archive:x:@0", "oci:z")
    assert content("oci:z")[1][1] == layer_tar("one", b"one-" * 1000)


def test_umoci_works_on_our_layout_and_we_on_its(memory: Memory, umoci: Program, here: Path) -> None:
    memory.image("a", "b")
    put(memory, "oci:x:app")
    assert umoci("ls", "--layout", "x").split() == ["app"]
    umoci("unpack", *([] if os.geteuid() == 0 else ["--rootless"]), "--image", "x:app", "bundle")
    assert (here / "bundle" / "rootfs" / "a").read_bytes() == b"a-" * 1000
    assert (here / "bundle" / "rootfs" / "b").read_bytes() == b"b-" * 1000
    umoci("config", "--image", "x:app", "--tag", "changed", "--config.user", "1000")
    umoci("gc", "--layout", "x")
    with closing(transports.source("oci:x:changed")) as source:
        assert json.loads(read(source, manifest_of(source).config))["config"]["User"] == "1000"
        assert tars_of(source) == tars_of(memory)
    memory.image("c")
    put(memory, "oci:x:third")
    assert sorted(umoci("ls", "--layout", "x").split()) == ["app", "changed", "third"]


@pytest.fixture
def loaded(memory: Memory, podman: Program) -> Iterator[Program]:
    """podman, with two images that it got from an archive of ours."""
    with writing(transports.destination("docker-archive:both")) as destination:
        for name in ("one", "two"):
            memory.image("shared", name)
            copy(memory, destination, names=[f"localhost/{name}:1"])
    podman("load", "--input", "both")
    yield podman
    podman("rmi", "--all", "--force", check=False)


def test_podman_loads_and_saves_several_images(loaded: Program) -> None:
    names = loaded("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert sorted(names) == ["localhost/one:1", "localhost/two:1"]
    loaded("save", "--multi-image-archive", "--output", "saved", *names)
    for name in names:
        assert content(f"docker-archive:saved:{name}") == content(f"docker-archive:both:{name}")
    loaded("save", "--format", "oci-archive", "--output", "saved-oci", names[0])
    assert content("oci-archive:saved-oci")[1] == content(f"docker-archive:both:{names[0]}")[1]
