"""Images come into the store and leave it: whole and verified or not at all, under their names, to the same bytes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from buildlib import transports
from buildlib.errors import DigestMismatch, FormatError, NotFound, StoreFull, UsageError
from buildlib.exchange import StoreSource
from buildlib.oci import Descriptor, Digest, ImageConfig, Manifest, Platform, mediatype
from buildlib.store import Store
from buildlib.transports.copy import copy

from .images import Memory, layer_tar, manifest_of, tars_of

pytestmark = pytest.mark.root


def write(memory, where):
    """Put the image of ``memory`` where a transport finds it."""
    with transports.writing(transports.destination(where)) as destination:
        copy(memory, destination, multi_arch="all")
    return where


def read_back(where):
    return transports.source(where)


def leftovers(store):
    root = Path(store.root)
    return {
        str(path.relative_to(root)) for kind in ("layers", "tmp", "blobs/sha256") for path in (root / kind).iterdir()
    }


# --- in -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transport", ["oci:{}/layout:app", "oci-archive:{}/a.tar:app", "docker-archive:{}/a.tar:app:v1", "dir:{}/d"]
)
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_an_image_is_pulled_from_every_transport(store, tmp_path, transport, compression):
    memory = Memory()
    manifest = memory.image("a", "b", "c", compression=compression)
    where = write(memory, transport.format(tmp_path))
    image = store.pull(where)
    assert image.config_blob == memory.content[manifest.config.digest]
    assert [sorted(p.name for p in Path(store.layers.path(layer)).iterdir()) for layer in image.layers] == [
        ["a"],
        ["b"],
        ["c"],
    ]
    assert image.manifest == manifest_of(read_back(where))
    assert store.check() == []
    assert store.gc()[:2] == ((), ())
    assert store.leases.dead() == store.db.rows("SELECT * FROM leases") == []


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("oci:{}/site:v1", ["localhost/site:v1"]),
        ("oci:{}/site:docker.io/library/x:1", ["docker.io/library/x:1"]),
        ("oci:{}/site", []),
        ("oci-archive:{}/site.tar:latest", ["localhost/site:latest"]),
        ("docker-archive:{}/x.tar:reg.example.com/team/app:v2", ["reg.example.com/team/app:v2"]),
        ("docker-archive:{}/x.tar", []),
        ("dir:{}/site", []),
    ],
)
def test_an_image_is_called_as_its_source_calls_it(store, tmp_path, where, names):
    memory = Memory()
    memory.image("a")
    image = store.pull(write(memory, where.format(tmp_path)))
    assert list(image.names) == names
    assert store.pull(where.format(tmp_path), names=["mine"]).name == "localhost/mine:latest"


def test_the_only_image_of_an_archive_brings_all_its_names(store, tmp_path):
    memory = Memory()
    memory.image("a")
    with transports.writing(transports.destination(f"docker-archive:{tmp_path}/a.tar")) as destination:
        copy(memory, destination, names=["one:1", "reg.example.com/two:2"])
    image = store.pull(f"docker-archive:{tmp_path}/a.tar")
    assert image.names == ("docker.io/library/one:1", "reg.example.com/two:2")


def test_of_several_platforms_the_wanted_one_is_pulled(store, tmp_path):
    memory = Memory()
    memory.index("linux/amd64", "linux/arm64")
    where = write(memory, f"oci:{tmp_path}/layout:app")
    assert str(store.pull(where, platform=Platform.parse("linux/arm64")).platform) == "linux/arm64"
    with pytest.raises(NotFound, match="linux/s390x"):
        store.pull(where, platform=Platform.parse("linux/s390x"))


def test_pulling_again_moves_nothing(store, tmp_path):
    memory = Memory()
    memory.image("a", "b")
    where = write(memory, f"oci:{tmp_path}/layout:app")
    first = store.pull(where)
    before = leftovers(store)
    assert store.pull(where) == first
    assert leftovers(store) == before


def test_a_layer_whose_folder_was_lost_is_unpacked_from_its_blob(store, tmp_path):
    memory = Memory()
    manifest = memory.image("a", "b")
    where = write(memory, f"oci:{tmp_path}/layout:app")
    with store.lease(*(f"blob:{layer.digest}" for layer in manifest.layers)):
        store.pull(where).remove()
        assert not any((Path(store.root) / "layers").iterdir())
        image = store.pull(where)
    assert len(image.layers) == 2
    assert store.check() == []


def test_one_layer_twice_is_one_layer(store, tmp_path):
    memory = Memory()
    memory.image("a", "b", "a")
    image = store.pull(write(memory, f"oci:{tmp_path}/layout:app"))
    assert image.layers[0] == image.layers[2] != image.layers[1]
    assert store.check() == []


def test_a_tarball_becomes_an_image_without_a_copy_of_its_tar(store, tmp_path):
    (tmp_path / "root.tar").write_bytes(layer_tar("hello", b"world"))
    image = store.pull(f"tarball:{tmp_path}/root.tar", names=["root"])
    (layer,) = image.layers
    assert (Path(store.layers.path(layer)) / "hello").read_text() == "world"
    assert image.names == ("localhost/root:latest",)
    assert set(store.blobs.walk()) == {f"sha256:{image.id}", image.digest}
    assert store.pull(f"tarball:{tmp_path}/root.tar") == image
    assert store.check(diff_ids=True) == []


# --- damage and bad input -------------------------------------------------------------------------------------------


def corrupt(layout, digest):
    path = Path(layout) / "blobs/sha256" / digest.partition(":")[2]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_corrupt_blob_names_both_digests_and_leaves_nothing(store, tmp_path, compression):
    memory = Memory()
    manifest = memory.image("a", "b", compression=compression)
    where = write(memory, f"dir:{tmp_path}/d")
    victim = manifest.layers[1].digest
    path = tmp_path / "d" / victim.hex
    data = bytearray(path.read_bytes())
    data[-700 if compression == "none" else 5] ^= 0x55  # where the archive is still an archive
    path.write_bytes(data)
    with pytest.raises(DigestMismatch) as caught:
        store.pull(where)
    assert caught.value.expected == victim
    assert caught.value.actual == Digest.of(bytes(data))
    assert victim in str(caught.value)
    assert caught.value.actual in str(caught.value)
    assert store.images() == []
    assert store.check() == []
    store.gc()
    assert leftovers(store) == set()


def test_layers_that_are_not_those_of_the_config_are_refused(store, tmp_path):
    memory = Memory()
    manifest = memory.image("a")
    other = ImageConfig("amd64", "linux", diff_ids=(Digest.of(b"something else"),))
    config = memory.keep(other.encode(), mediatype.OCI_CONFIG)
    swapped = Manifest.build(config, manifest.layers)
    memory.root = memory.keep(swapped.raw, swapped.media_type)
    where = write(memory, f"oci:{tmp_path}/layout:app")
    with pytest.raises(DigestMismatch) as caught:
        store.pull(where)
    assert caught.value.expected == other.diff_ids[0]
    assert caught.value.actual == Digest.of(layer_tar("a", b"a-" * 1000))
    store.gc()
    assert leftovers(store) == set()


def test_what_is_no_image_is_refused(store, tmp_path):
    memory = Memory()
    blob = memory.keep(b"a chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    config = memory.keep(b"{}", "application/vnd.cncf.helm.config.v1+json")
    artifact = Manifest.build(config, [blob])
    memory.root = memory.keep(artifact.raw, artifact.media_type)
    with pytest.raises(FormatError, match="not an image"):
        store.pull(write(memory, f"oci:{tmp_path}/layout:app"))
    assert store.images() == []


@pytest.mark.parametrize(
    "name", ["oci:{}/nothing", "docker-archive:{}/nothing.tar", "tarball:{}/nothing.tar", "dir:{}/nothing"]
)
def test_a_source_that_is_not_there_is_not_found(store, tmp_path, name):
    with pytest.raises(NotFound, match="nothing"):
        store.pull(name.format(tmp_path))


def test_a_full_disk_is_named_and_nothing_half_made_stays(tiny_disk, tmp_path):
    memory = Memory()
    memory.image("small")
    small = write(memory, f"oci:{tmp_path}/small:app")
    memory.image("a", "b", "c", "d", size=1000, compression="none")
    large = write(memory, f"dir:{tmp_path}/large")
    with Store.open(f"{tiny_disk}/store") as store:
        image = store.pull(small)
        before = leftovers(store)
        for name in (large, f"tarball:{tmp_path}/big.tar"):
            (tmp_path / "big.tar").write_bytes(layer_tar("big", bytes(8 << 20)))
            with pytest.raises(StoreFull) as caught:
                store.pull(name)
            assert caught.value.hint
            store.gc()
            assert leftovers(store) == before
            assert store.images() == [image]
            assert store.check(diff_ids=True) == []


# --- out ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_what_was_pulled_is_pushed_to_the_same_bytes(store, tmp_path, compression):
    memory = Memory()
    manifest = memory.image("a", "b", compression=compression, pretty=True)
    image = store.pull(write(memory, f"dir:{tmp_path}/in"))
    image.push(f"dir:{tmp_path}/out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "in").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()
    }
    assert image.digest == manifest.digest


@pytest.mark.parametrize(
    "transport", ["oci:{}/layout:app", "oci-archive:{}/a.tar:app", "docker-archive:{}/a.tar:app:v1", "dir:{}/d"]
)
@pytest.mark.parametrize("compression", [None, "none", "gzip", "zstd"])
def test_an_image_made_here_is_pushed_to_every_transport_and_comes_back(store, tmp_path, transport, compression):
    (tmp_path / "root.tar").write_bytes(layer_tar("hello", b"world" * 1000))
    image = store.pull(f"tarball:{tmp_path}/root.tar")
    where = transport.format(tmp_path)
    pushed = image.push(where, compression=compression)
    source = read_back(where)
    assert [Digest.of(tar) for tar in tars_of(source)] == list(image.diff_ids)
    if "archive" not in where:
        assert source.resolve().digest == pushed.digest
    with Store.open(str(tmp_path / "other")) as other:
        assert other.pull(where).id == image.id
        assert other.check() == []


def test_what_was_packed_once_is_packed_to_the_same_bytes_and_skipped_where_it_is_there(store, tmp_path):
    (tmp_path / "root.tar").write_bytes(layer_tar("hello", b"world" * 1000))
    image = store.pull(f"tarball:{tmp_path}/root.tar")
    first = image.push(f"oci:{tmp_path}/one:app")
    assert image.push(f"oci:{tmp_path}/two:app") == first
    source = StoreSource(image)
    known = source.packed(image.manifest.layers[0], "gzip")
    assert known == manifest_of(read_back(f"oci:{tmp_path}/one:app")).layers[0]
    with source.open(known) as stream:
        assert Digest.of(stream.read()) == known.digest


def test_a_plain_layer_from_elsewhere_is_packed_from_its_own_bytes(store, tmp_path):
    """Python's tar is not ours: packed from the folder it would have another DiffID."""
    memory = Memory()
    memory.image("a", compression="none", docker=True)
    image = store.pull(write(memory, f"docker-archive:{tmp_path}/a.tar:app:v1"))
    image.push(f"oci:{tmp_path}/out:app", compression="gzip")
    assert [Digest.of(tar) for tar in tars_of(read_back(f"oci:{tmp_path}/out:app"))] == list(image.diff_ids)
    memory = Memory()
    memory.image("b")
    image = store.pull(write(memory, f"oci:{tmp_path}/in:app"))
    image.push(f"docker-archive:{tmp_path}/b.tar:app:v1")
    assert [Digest.of(tar) for tar in tars_of(read_back(f"docker-archive:{tmp_path}/b.tar"))] == list(image.diff_ids)


def test_an_archive_is_saved_under_the_name_of_the_image(store, by_hand, tmp_path):
    (tmp_path / "root.tar").write_bytes(layer_tar("hello"))
    image = store.pull(f"tarball:{tmp_path}/root.tar", names=["site:v1"])
    image.save(f"{tmp_path}/saved.tar")
    assert store.pull(f"docker-archive:{tmp_path}/saved.tar").names == ("localhost/site:v1",)


def test_an_image_without_a_name_has_nowhere_to_be_pushed(store, by_hand):
    with pytest.raises(UsageError, match="no name"):
        by_hand.image("a").push()


def test_damage_is_noticed_when_a_layer_leaves(store, tmp_path):
    (tmp_path / "root.tar").write_bytes(layer_tar("hello", b"world"))
    image = store.pull(f"tarball:{tmp_path}/root.tar")
    (Path(store.layers.path(image.layers[0])) / "hello").write_text("evil!")
    with pytest.raises(DigestMismatch):
        image.push(f"oci:{tmp_path}/out:app")
    with pytest.raises(NotFound):
        read_back(f"oci:{tmp_path}/out:app")


def test_files_of_a_pulled_layer_that_changed_are_found(store, tmp_path):
    memory = Memory()
    memory.image("a", "b")
    image = store.pull(write(memory, f"oci:{tmp_path}/layout:app"))
    assert store.check(diff_ids=True) == []
    (Path(store.layers.path(image.layers[1])) / "b").write_bytes(b"")  # as after a power loss
    assert [(found.kind, found.name) for found in store.check(diff_ids=True)] == [("layer", image.layers[1])]
    assert store.check() == []


# --- several at once ------------------------------------------------------------------------------------------------


def test_threads_may_pull_and_collect_at_once(store, tmp_path):
    places = []
    for number in range(4):
        memory = Memory()
        memory.image("shared", f"own{number}")
        places.append(write(memory, f"oci:{tmp_path}/layout{number}:app"))
    errors = []

    def work(place):
        try:
            for _ in range(4):
                image = store.pull(place)
                store.gc()
                assert len(image.layers) == 2
                image.push(f"{place}-again")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.images()) == 4
    assert store.check() == []


def test_processes_may_pull_remove_and_collect_at_once(store, tmp_path):
    memory = Memory()
    memory.image("a", "b")
    where = write(memory, f"oci:{tmp_path}/layout:app")
    code = (
        "import sys; from buildlib import Store; from buildlib.errors import NotFound\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    for number in range(6):\n"
        "        image = store.pull(sys.argv[2], names=[sys.argv[3]])\n"
        "        try: image.config, image.layers, store.image(sys.argv[3]).remove(sys.argv[3])\n"
        "        except NotFound: pass\n"
        "        store.gc()\n"
        "    store.pull(sys.argv[2], names=[sys.argv[3]])\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, store.root, where, f"n{n}"]) for n in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    (image,) = store.images()
    assert image.names == ("localhost/n0:latest", "localhost/n1:latest", "localhost/n2:latest")
    assert store.check() == []
    image.push(f"dir:{tmp_path}/out")


def test_a_forked_process_has_a_worker_of_its_own(store, tmp_path):
    import os

    (tmp_path / "root.tar").write_bytes(layer_tar("hello"))
    image = store.pull(f"tarball:{tmp_path}/root.tar")
    pid = os.fork()
    if pid == 0:
        try:
            same = store.pull(f"tarball:{tmp_path}/root.tar")
            os._exit(0 if same == image else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.pull(f"tarball:{tmp_path}/root.tar") == image


def test_a_source_lists_descriptors_that_it_can_open(store, tmp_path):
    (tmp_path / "root.tar").write_bytes(layer_tar("hello"))
    image = store.pull(f"tarball:{tmp_path}/root.tar")
    source = StoreSource(image)
    assert source.resolve() == Descriptor(mediatype.OCI_MANIFEST, Digest(image.digest), len(image.manifest_blob))
    manifest = manifest_of(source)
    assert tars_of(source)
    with pytest.raises(NotFound, match="no blob"):
        source.open(Descriptor(mediatype.OCI_LAYER, Digest.of(b"x"), 1))
    assert manifest.digest == image.digest
