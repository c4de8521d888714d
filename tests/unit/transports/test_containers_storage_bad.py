"""Stores of containers-storage that are damaged, images that are bad or hostile, writers that are killed."""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from buildlib import transports
from buildlib.errors import DigestMismatch, FormatError, LayerError, StoreFull, TransportError
from buildlib.oci import Digest, ImageConfig, Manifest
from buildlib.transports import writing
from buildlib.transports.containers_storage.staging import PREFIX
from buildlib.transports.copy import copy

from .images import Memory, Sink, layer_tar, manifest_of, read, tars_of
from .storage import (
    FOLDER,
    LINK,
    SYMLINK,
    check,
    get,
    images_of,
    layers_of,
    leftovers,
    name,
    put,
    stack,
    tar,
    tree,
)

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


# --- what is lost or can't be handled ---------------------------------------------------------------------------------


def test_a_layer_that_lost_its_tar_split_is_made_anew_and_the_image_says_so(root):
    odd = tar(("b", b"b"), ("a", b"a", {"uname": "somebody"}))  # neither the order nor the names of our own writer
    put(stack(odd, layer_tar("c")), root)
    (root / f"overlay-layers/{layers_of(root)[0]['id']}.tar-split.gz").unlink()
    with get(root) as source:
        assert source.remade == (layers_of(root)[0]["id"],)
        manifest = manifest_of(source)
        config = ImageConfig.parse(read(source, manifest.config))
        tars = tars_of(source)
        assert [layer.digest for layer in manifest.layers] == list(config.diff_ids) == list(map(Digest.of, tars))
        assert tars[1] == layer_tar("c")
        with tarfile.open(fileobj=io.BytesIO(tars[0])) as file:
            assert {member.name for member in file} == {".", "a", "b"}
        sink = Sink()
        copy(source, sink)  # every digest is verified there
    assert sink.finished.config.digest != images_of(root)[0]["id"]


def test_a_layer_that_comes_out_the_same_is_not_made_anew(root):
    put(stack(layer_tar("a")), root)
    (layer,) = layers_of(root)
    (root / f"overlay-layers/{layer['id']}.tar-split.gz").unlink()
    with get(root) as source:
        ours = tars_of(source)
    shutil.rmtree(root)
    put(stack(*ours), root)
    (root / f"overlay-layers/{layers_of(root)[0]['id']}.tar-split.gz").unlink()
    with get(root) as source:
        assert source.remade == ()
        assert tars_of(source) == ours


def change(root, path, edit):
    records = json.loads((root / path).read_bytes())
    edit(records)
    (root / path).write_text(json.dumps(records))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda folder: (folder / "composefs-data").mkdir(), "composefs"),
        (lambda folder: (folder / "additionallayer").write_text("/x"), "additional layer"),
        (lambda folder: shutil.rmtree(folder / "diff"), "is gone"),
    ],
)
def test_layers_that_are_not_simply_folders_are_refused(root, damage, text):
    put(stack(layer_tar("a")), root)
    damage(root / "overlay" / layers_of(root)[0]["id"])
    with get(root) as source, pytest.raises(TransportError, match=text):
        tars_of(source)


def test_a_damaged_list_is_a_clear_error(root):
    put(stack(layer_tar("a"), layer_tar("b")), root)
    change(root, "overlay-layers/layers.json", lambda records: records.pop(0))
    with pytest.raises(FormatError, match="is not in the store"):
        transports.source(name(root))
    change(root, "overlay-layers/layers.json", lambda records: records[0].update(parent=records[0]["id"]))
    with pytest.raises(FormatError, match="is below itself"):
        transports.source(name(root))
    (root / f"overlay-images/{images_of(root)[0]['id']}/manifest").unlink()
    with pytest.raises(FormatError, match="manifest is not in the store"):
        transports.source(name(root))


def test_files_that_were_changed_in_the_store_are_noticed(root):
    put(stack(layer_tar("a", b"before")), root)
    (root / f"overlay/{layers_of(root)[0]['id']}/diff/a").write_bytes(b"after!")
    with get(root) as source, pytest.raises(DigestMismatch):
        copy(source, Sink())


@pytest.mark.parametrize("place", ["vfs@{}", "overlay@{}:force_mask=700"])
def test_stores_that_can_t_be_written_say_so(root, place):
    with pytest.raises(TransportError, match="only read"):
        transports.destination(f"containers-storage:[{place.format(root)}]app")
    assert not root.exists()


def test_two_images_can_t_have_one_id(root):
    image = "12" * 32
    put(stack(layer_tar("a")), root, f"@{image}")
    with pytest.raises(TransportError, match="other layers"):
        put(stack(layer_tar("b")), root, f"@{image}")
    assert len(layers_of(root)) == 1
    check(root)


# --- bad images -------------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_layer_that_is_not_what_was_promised(root):
    memory = stack(layer_tar("good"), layer_tar("bad"))
    manifest = manifest_of(memory)
    memory.content[manifest.layers[1].digest] = gzip.compress(layer_tar("other"))
    with pytest.raises((DigestMismatch, TransportError)):
        put(memory, root)
    assert not leftovers(root)
    assert not (root / "overlay-images/images.json").exists()
    assert not list((root / "overlay").glob("?" * 64))


def test_an_archive_that_the_config_does_not_promise_is_refused(root):
    memory = stack(layer_tar("a"), layer_tar("b"))
    manifest = manifest_of(memory)
    swapped = attrs.evolve(manifest, layers=manifest.layers[::-1])
    memory.root = memory.keep(swapped.raw, swapped.media_type)
    with pytest.raises(DigestMismatch, match="expected"):
        put(memory, root)
    assert not leftovers(root)
    assert not (root / "overlay-layers/layers.json").exists()


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"x")],
        [("d", SYMLINK, {"linkname": "/tmp"}), ("d/../../evil", b"x")],
        [("a", LINK, {"linkname": "../../../../etc/passwd"})],
        [("c", b"3", {"devmajor": 0, "devminor": 0})],
    ],
)
def test_hostile_layers_are_refused(root, members):
    with pytest.raises(LayerError):
        put(stack(tar(*members)), root)
    assert not leftovers(root)
    assert not (root.parent / "evil").exists()


def test_links_of_a_layer_stay_within_it(root, tmp_path):
    inside = str(tmp_path).strip("/")
    members = [(inside, FOLDER), ("out", SYMLINK, {"linkname": f"/{inside}"}), ("out/evil", b"x")]
    put(stack(tar(*members)), root)
    assert not (tmp_path / "evil").exists()
    assert (root / f"overlay/{layers_of(root)[0]['id']}/diff/{inside}/evil").read_bytes() == b"x"
    (tmp_path / "evil").write_bytes(b"y")
    with get(root) as source:
        assert tars_of(source) == [tar(*members)]


def test_an_index_and_an_artifact_are_refused(root):
    memory = Memory()
    memory.index("linux/amd64", "linux/arm64")
    with pytest.raises(TransportError, match="several platforms"):
        put(memory, root, multi_arch="all")
    put(memory, root)  # the image for this machine
    memory = Memory()
    thing = Manifest.build(memory.keep(b"{}", "application/vnd.oci.empty.v1+json"), [])
    memory.root = memory.keep(thing.raw, thing.media_type)
    with pytest.raises(FormatError, match="not an image that can run"):
        put(memory, root, "localhost/thing:1")


def test_a_full_disk_leaves_the_store_as_it_was(tiny_disk):
    root = Path(tiny_disk) / "root"
    put(stack(layer_tar("a")), root)
    before = tree(root / "overlay")
    big = stack(layer_tar("big", os.urandom(8 << 20)))
    with pytest.raises(StoreFull):
        put(big, root, "localhost/big:1")
    assert tree(root / "overlay") == before
    assert not leftovers(root)
    check(root)


# --- several at once, and kills ---------------------------------------------------------------------------------------


def test_many_write_to_one_store_at_once(root):
    base = layer_tar("base")
    images = [stack(base, layer_tar(f"{n % 4}"), layer_tar(f"top {n}")) for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: put(images[n], root, f"localhost/image:{n}"), range(12)))
    check(root)
    assert len(images_of(root)) == 12
    assert len(layers_of(root)) == 1 + 4 + 12
    for number, image in enumerate(images):
        with get(root, f"localhost/image:{number}") as source:
            assert tars_of(source) == tars_of(image)


def test_what_is_under_way_is_not_swept(root):
    first = transports.destination(name(root))
    try:
        (staging,) = (root / "overlay/l").glob(f"{PREFIX}*")
        put(stack(layer_tar("a")), root)
        assert staging.exists()
    finally:
        first.abort()
    assert not staging.exists()


KILLED = """
import os, signal, sys
from buildlib import transports
from buildlib.transports import writing
from buildlib.transports.copy import copy

place, wanted, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = 0

def watch(event, arguments):
    global count
    if event in ("open", "fcntl.fcntl") or event.startswith("os."):
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

with writing(transports.destination(place)) as destination:
    source = transports.source(wanted)
    sys.addaudithook(watch)
    copy(source, destination)
print(count)
"""
"""Copies an image and is killed at a certain one of its steps (the system calls that Python audits)."""


def killed_at(step, root, layout):
    argv = [sys.executable, "-c", KILLED, name(root, "localhost/new:1"), f"oci:{layout}", str(step)]
    return subprocess.run(argv, capture_output=True, text=True)


def test_a_kill_at_any_step_leaves_a_store_that_is_whole(root, tmp_path):
    layout = tmp_path / "layout"
    new = stack(layer_tar("a"), layer_tar("b"), tar(("d/e", b"x"), ("d/.wh.f", b"")))
    with writing(transports.destination(f"oci:{layout}")) as destination:
        copy(new, destination)
    put(stack(layer_tar("a"), layer_tar("old")), tmp_path / "model")
    shutil.copytree(tmp_path / "model", root, symlinks=True)
    done = killed_at(0, root, layout)
    steps = int(done.stdout)
    assert steps > 60
    for step in range(1, steps + 1, steps // 25):
        shutil.rmtree(root)
        shutil.copytree(tmp_path / "model", root, symlinks=True)
        assert killed_at(step, root, layout).returncode == -signal.SIGKILL
        check(root)
        with get(root) as source:
            assert len(tars_of(source)) == 2
        put(new, root, "localhost/new:1")
        check(root)
        assert not [record for record in layers_of(root) if record.get("flags")]
        assert len(layers_of(root)) == 4
        assert not leftovers(root)
        with get(root, "localhost/new:1") as source:
            assert tars_of(source) == tars_of(new)
