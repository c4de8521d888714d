"""What every local transport keeps: an image that goes in comes out. And what is particular to each."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from buildlib import transports
from buildlib.errors import DigestMismatch, FormatError, LayerError, NotFound, StoreFull, TransportError, UsageError
from buildlib.oci import Digest, ImageConfig, Index, Platform, mediatype
from buildlib.transports import writing
from buildlib.transports.copy import copy

from .images import Memory, layer_tar, manifest_of, read, tars_of

WRITABLE = ["oci", "oci-archive", "docker-archive", "dir"]
NAMED = ["oci", "oci-archive", "docker-archive"]
ARCHIVES = ["oci-archive", "docker-archive"]


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(memory, name, **options):
    with writing(transports.destination(name)) as destination:
        return copy(memory, destination, **options)


def get(name):
    return closing(transports.source(name))


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", WRITABLE)
@pytest.mark.parametrize(
    ("docker", "compression"),
    [(False, "none"), (False, "gzip"), (False, "zstd"), (True, "none"), (True, "gzip")],
)
def test_an_image_that_goes_in_comes_out(memory, here, transport, docker, compression):
    manifest = memory.image("a", "b", docker=docker, compression=compression)
    written = put(memory, f"{transport}:x")
    with get(f"{transport}:x") as source:
        assert source.resolve().digest == written.digest or transport == "docker-archive"
        found = manifest_of(source)
        assert tars_of(source) == tars_of(memory)
        assert found.config.digest == manifest.config.digest
        assert read(source, found.config) == read(memory, manifest.config)


@pytest.mark.parametrize("transport", WRITABLE)
def test_nothing_half_made_is_left_and_nothing_appears_after_a_failure(memory, here, transport):
    manifest = memory.image("a", "b")
    memory.content[manifest.layers[1].digest] = b"damaged"
    with pytest.raises(TransportError):
        put(memory, f"{transport}:x")
    with pytest.raises((NotFound, TransportError)):
        transports.source(f"{transport}:x")
    assert [p for p in here.rglob("*") if "buildlib" in p.name or ".x." in p.name] == []


@pytest.mark.parametrize("transport", WRITABLE)
def test_a_failure_leaves_the_image_that_was_there(memory, here, transport):
    memory.image("old")
    put(memory, f"{transport}:x")
    with get(f"{transport}:x") as source:
        before = manifest_of(source).digest
    manifest = memory.image("new")
    memory.content[manifest.layers[0].digest] = b"damaged"
    with pytest.raises(TransportError):
        put(memory, f"{transport}:x")
    with get(f"{transport}:x") as source:
        assert manifest_of(source).digest == before
        assert len(tars_of(source)) == 1


@pytest.mark.parametrize("transport", WRITABLE)
def test_writing_the_same_twice_gives_the_same_files(memory, here, transport):
    memory.image("a", "b", "c", compression="none")
    written = []
    for name in ("x", "y"):
        put(memory, f"{transport}:{name}")
        written.append(files(here / name) if (here / name).is_dir() else (here / name).read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("transport", NAMED)
def test_several_images_are_told_apart_by_name_and_number(memory, here, transport):
    with writing(transports.destination(f"{transport}:x")) as destination:
        for name in ("one", "two", "three"):
            memory.image("shared", name)
            copy(memory, destination, names=[f"localhost/{name}:1", f"localhost/{name}:2"])
    with pytest.raises(UsageError, match=r"has [36] images"):
        transports.source(f"{transport}:x")
    with get(f"{transport}:x:localhost/two:2") as source:
        assert layer_tar("two", b"two-" * 1000) in tars_of(source)
        assert sorted({n for image in source.images for n in image.names}) == sorted(
            f"localhost/{name}:{n}" for name in ("one", "two", "three") for n in (1, 2)
        )
    with get(f"{transport}:x:@0") as source:
        assert layer_tar("one", b"one-" * 1000) in tars_of(source)
    with pytest.raises(NotFound, match="localhost/four"):
        transports.source(f"{transport}:x:localhost/four:1")
    with pytest.raises(NotFound, match="@9"):
        transports.source(f"{transport}:x:@9")


@pytest.mark.parametrize("transport", NAMED)
def test_a_number_is_nothing_to_write_to(here, transport):
    with pytest.raises((TransportError, UsageError), match="number to read by"):
        transports.destination(f"{transport}:x:@1")


@pytest.mark.parametrize("transport", ARCHIVES)
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_archives_are_read_compressed_and_from_a_pipe(memory, here, transport, pack):
    memory.image("a")
    put(memory, f"{transport}:x")
    packed = here / "packed"
    packed.write_bytes(pack((here / "x").read_bytes()))
    with get(f"{transport}:packed") as source:
        assert tars_of(source) == tars_of(memory)
    os.mkfifo(here / "fifo")
    thread = threading.Thread(target=lambda: (here / "fifo").write_bytes(packed.read_bytes()))
    thread.start()
    with get(f"{transport}:fifo") as source:
        assert tars_of(source) == tars_of(memory)
    thread.join()


@pytest.mark.parametrize("transport", ARCHIVES)
def test_archives_are_written_into_a_pipe(memory, here, transport):
    memory.image("a")
    os.mkfifo(here / "fifo")
    thread = threading.Thread(target=lambda: (here / "y").write_bytes((here / "fifo").read_bytes()))
    thread.start()
    put(memory, f"{transport}:fifo")
    thread.join()
    with get(f"{transport}:y") as source:
        assert tars_of(source) == tars_of(memory)


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "dir"])
def test_an_index_with_all_its_platforms_goes_in_and_out(memory, here, transport):
    index = memory.index("linux/amd64", "linux/arm64/v8")
    assert put(memory, f"{transport}:x", multi_arch="all").digest == index.digest
    with get(f"{transport}:x") as source:
        root = source.resolve()
        assert Index.parse(read(source, root)) == index
        copy(source, transports.destination("dir:one"), platform=Platform.parse("linux/arm64"))
    with get("dir:one") as source:
        assert ImageConfig.parse(read(source, manifest_of(source).config)).variant == "v8"


def test_a_docker_archive_holds_one_platform(memory, here):
    memory.index("linux/amd64", "linux/arm64/v8")
    with pytest.raises(TransportError, match="several platforms"):
        put(memory, "docker-archive:x", multi_arch="all")
    assert files(here) == {}


@pytest.mark.parametrize("transport", [*WRITABLE, "tarball"])
def test_what_is_not_there_or_something_else_is_said(here, transport):
    with pytest.raises(NotFound):
        transports.source(f"{transport}:nothing")
    with pytest.raises(UsageError, match="nothing behind"):
        transports.source(f"{transport}:")
    (here / "file").write_text("this is no image")
    if transport != "tarball":
        with pytest.raises((TransportError, NotFound, FormatError)):
            transports.source(f"{transport}:file")
    (here / "folder").mkdir()
    with pytest.raises((TransportError, NotFound)):
        transports.source(f"{transport}:folder")


@pytest.mark.parametrize("transport", ["oci", "dir"])
def test_a_folder_with_other_things_is_not_written_to(here, transport):
    (here / "x").mkdir()
    (here / "x" / "thesis.txt").write_text("years of work")
    with pytest.raises(TransportError, match="has files but is not"):
        transports.destination(f"{transport}:x")
    assert files(here) == {"x/thesis.txt": b"years of work"}


@pytest.mark.parametrize("transport", ["oci", "dir"])
def test_what_a_dead_process_left_is_swept(memory, here, transport):
    memory.image("a")
    put(memory, f"{transport}:x")
    code = "from buildlib.content import temporary; print(temporary('x', '.buildlib-'))"
    left = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    Path(left).write_text("half")
    mine = Path("x/.buildlib-notours")
    mine.write_text("?")
    transports.destination(f"{transport}:x")
    assert not Path(left).exists()
    assert mine.exists()


@pytest.mark.root
@pytest.mark.parametrize("transport", WRITABLE)
def test_a_full_disk_is_said_and_leaves_nothing(memory, here, transport):
    (here / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", here / "small"], check=True)
    try:
        memory.image("a", compression="none", size=100)
        with pytest.raises(StoreFull, match="no space left"):
            put(memory, f"{transport}:small/x", compression="none")
        assert {Path(f).name for f in files(here / "small")} <= {"version"}
    finally:
        subprocess.run(["umount", here / "small"], check=True)


def test_names_of_transports():
    assert transports.parse("oci:/a:b") == ("oci", "/a:b")
    assert transports.parse("debian:bookworm") is None
    assert transports.parse("docker:28") is None
    assert transports.parse("docker://debian") == ("docker", "//debian")
    assert transports.parse("localhost:5000/oci:x") is None
    with pytest.raises(UsageError, match="names no transport"):
        transports.source("debian:bookworm")
    with pytest.raises(UsageError, match="can only be read"):
        transports.destination("tarball:x")


# --- oci --------------------------------------------------------------------------------------------------------------


def test_a_layout_keeps_its_other_images_and_what_it_does_not_know(memory, here):
    memory.image("a")
    put(memory, "oci:x:one")
    index = json.loads((here / "x/index.json").read_bytes())
    index["x-unknown"] = [1]
    index["annotations"] = {"k": "v"}
    (here / "x/index.json").write_text(json.dumps(index))
    memory.image("b")
    put(memory, "oci:x:two")
    index = json.loads((here / "x/index.json").read_bytes())
    assert (index["x-unknown"], index["annotations"], len(index["manifests"])) == ([1], {"k": "v"}, 2)
    assert json.loads((here / "x/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_many_may_write_to_one_layout_at_once(here):
    def work(number):
        memory = Memory()
        memory.image("shared", f"own-{number}")
        put(memory, f"oci:x:n{number}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        with get(f"oci:x:n{number}") as source:
            assert len(tars_of(source)) == 2


def test_blobs_may_be_shared_between_layouts(memory, here):
    manifest = memory.image("a")
    for name in ("x", "y"):
        with writing(transports.destination(f"oci:{name}", shared_blobs="blobs")) as destination:
            copy(memory, destination)
    assert {p.name for p in Path("x").iterdir()} == {"index.json", "oci-layout"}
    assert (here / "blobs/sha256" / manifest.digest.hex).exists()
    with closing(transports.source("oci:y", shared_blobs="blobs")) as source:
        assert tars_of(source) == tars_of(memory)
    with get("oci:y") as source, pytest.raises(NotFound):
        manifest_of(source)


def test_a_fifo_or_a_huge_file_for_an_index_is_an_error(memory, here):
    memory.image("a")
    put(memory, "oci:x")
    (here / "x/index.json").unlink()
    os.mkfifo(here / "x/index.json")
    with pytest.raises(FormatError):
        transports.source("oci:x")
    (here / "x/index.json").unlink()
    with (here / "x/index.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FormatError, match="more than the"):
        transports.source("oci:x")


def test_a_damaged_blob_of_a_layout_is_found(memory, here):
    manifest = memory.image("a")
    put(memory, "oci:x")
    blob = here / "x/blobs/sha256" / manifest.layers[0].digest.hex
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with get("oci:x") as source, pytest.raises(DigestMismatch, match=manifest.layers[0].digest):
        put(source, "dir:y")


# --- docker-archive ---------------------------------------------------------------------------------------------------


def saved(path, members, **changes):
    """An archive as `docker save` writes it; ``changes`` replace fields of manifest.json."""
    tars = [layer_tar("a"), layer_tar("b")]
    config = ImageConfig("amd64", "linux", diff_ids=tuple(Digest.of(t) for t in tars)).encode()
    item = {"Config": "config.json", "RepoTags": ["busybox:1"], "Layers": ["one/layer.tar", "two/layer.tar"], **changes}
    found = {"config.json": config, "one/layer.tar": tars[0], "two/layer.tar": tars[1], **members}
    found.setdefault("manifest.json", json.dumps([item]).encode())
    with tarfile.open(path, "w") as file:
        for name, data in found.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                file.addfile(info)
            elif data is not None:
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    return tars


def test_an_archive_of_an_old_version_with_links_between_layers(here):
    tar = layer_tar("a")
    config = ImageConfig("amd64", "linux", diff_ids=(Digest.of(tar),) * 2).encode()
    saved("x", {"config.json": config, "one/layer.tar": tar, "two/layer.tar": "../one/layer.tar"})
    with get("docker-archive:x:busybox:1") as source:
        assert tars_of(source) == [tar, tar]
        assert source.images[0].names == ("busybox:1",)
    with get("docker-archive:x:docker.io/library/busybox:1") as source:
        assert len(manifest_of(source).layers) == 2


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_layers_in_an_archive_may_be_compressed(here, pack):
    tar = layer_tar("a")
    saved("x", {"one/layer.tar": pack(tar)})
    with get("docker-archive:x") as source:
        assert tars_of(source) == [tar, layer_tar("b")]
        put(source, "oci:y")
    with get("oci:y") as source:
        assert tars_of(source) == [tar, layer_tar("b")]


def test_several_tags_and_the_name_of_an_image(memory, here):
    memory.image("a")
    put(memory, "docker-archive:x:app", names=["app:1", "quay.io/me/app"])
    with tarfile.open("x") as file:
        manifest = json.load(file.extractfile("manifest.json"))
    assert manifest[0]["RepoTags"] == ["docker.io/library/app:1", "quay.io/me/app:latest"]
    for wanted in ("app:1", "docker.io/library/app:1", "quay.io/me/app"):
        with get(f"docker-archive:x:{wanted}") as source:
            assert tars_of(source) == tars_of(memory)
    with pytest.raises(UsageError, match="digest"):
        transports.destination(f"docker-archive:x:app@{Digest.of(b'')}")


@pytest.mark.parametrize(
    ("members", "changes", "error"),
    [
        ({"manifest.json": b"[" * 100_000}, {}, FormatError),
        ({"manifest.json": b"{}"}, {}, FormatError),
        ({"manifest.json": b"[]"}, {}, NotFound),
        ({"manifest.json": b'[{"Config":"config.json"},1]'}, {}, FormatError),
        ({"manifest.json": b" " * (5 << 20)}, {}, FormatError),
        ({"manifest.json": b'[],"items":[]'}, {}, NotFound),
        ({"manifest.json": "/etc/passwd"}, {}, (NotFound, TransportError)),
        ({"manifest.json": None}, {}, TransportError),
        ({}, {"Config": "../../etc/passwd"}, FormatError),
        ({}, {"Config": "/etc/passwd"}, NotFound),
        ({}, {"Config": ["config.json"]}, FormatError),
        ({}, {"Layers": ["one/layer.tar"]}, FormatError),
        ({}, {"Layers": ["one/layer.tar", "../two/layer.tar"]}, FormatError),
        ({}, {"Layers": ["one/layer.tar", "nowhere"]}, NotFound),
        ({}, {"Layers": "one/layer.tar"}, FormatError),
        ({"config.json": b"{}"}, {}, FormatError),
        ({"config.json": b"x" * (5 << 20)}, {}, FormatError),
    ],
)
def test_hostile_archives_are_clear_errors(here, members, changes, error):
    saved("x", members, **changes)
    with pytest.raises(error):
        transports.source("docker-archive:x")


def test_a_layer_that_is_not_its_diff_id_is_found(here):
    saved("x", {"two/layer.tar": layer_tar("other")})
    with get("docker-archive:x") as source, pytest.raises(DigestMismatch):
        put(source, "oci:y")
    with pytest.raises((NotFound, TransportError)):
        transports.source("oci:y")


def test_the_wrong_kind_of_archive_is_told_apart(memory, here):
    memory.image("a")
    put(memory, "oci-archive:o")
    put(memory, "docker-archive:d")
    with pytest.raises(TransportError) as caught:
        transports.source("docker-archive:o")
    assert "oci-archive" in (caught.value.hint or "")
    with pytest.raises(TransportError) as caught:
        transports.source("oci-archive:d")
    assert "docker-archive" in (caught.value.hint or "")


# --- dir --------------------------------------------------------------------------------------------------------------


def test_a_folder_holds_the_newer_image_only_and_its_own_files_stay(memory, here):
    memory.image("shared", "old")
    put(memory, "dir:x")
    (here / "x/notes.txt").write_text("mine")
    manifest = memory.image("shared", "new")
    put(memory, "dir:x")
    needed = {d.digest.hex for d in (*manifest.layers, manifest.config)}
    assert set(files("x")) == needed | {"manifest.json", "version", "notes.txt"}
    assert (here / "x/version").read_text() == "Directory Transport Version: 1.1\n"


def test_an_unknown_version_of_the_folder_is_refused(memory, here):
    memory.image("a")
    put(memory, "dir:x")
    (here / "x/version").write_text("Directory Transport Version: 7\n")
    with pytest.raises(FormatError, match="Version: 7"):
        transports.source("dir:x")


# --- tarball ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pack", "kept"),
    [
        (bytes, "none"),
        (gzip.compress, "gzip"),
        (zstandard.compress, "zstd"),
        (bz2.compress, None),
        (lzma.compress, None),
    ],
)
def test_a_root_file_system_becomes_an_image_of_one_layer(here, pack, kept):
    tar = layer_tar("etc/hostname")
    (here / "root.tar").write_bytes(pack(tar))
    with get("tarball:root.tar") as source:
        manifest = manifest_of(source)
        assert tars_of(source) == [tar]
        config = ImageConfig.parse(read(source, manifest.config))
        assert config.diff_ids == (Digest.of(tar),)
        assert config.os == "linux"
        assert mediatype.compression_of(manifest.layers[0].media_type) == (kept or "none")
        first = source.resolve()
    with get("tarball:root.tar") as source:
        assert source.resolve() == first


def test_a_root_file_system_may_come_through_a_pipe(here):
    tar = layer_tar("x", os.urandom(100_000))
    os.mkfifo(here / "fifo")
    thread = threading.Thread(target=lambda: (here / "fifo").write_bytes(gzip.compress(tar)))
    thread.start()
    with get("tarball:fifo") as source:
        put(source, "oci:x")
    thread.join()
    with get("oci:x") as source:
        assert tars_of(source) == [tar]


def test_a_damaged_root_file_system_is_refused(here):
    (here / "root.tar.gz").write_bytes(gzip.compress(layer_tar("x"))[:-9])
    with pytest.raises(LayerError, match="the gzip stream"):
        transports.source("tarball:root.tar.gz")
