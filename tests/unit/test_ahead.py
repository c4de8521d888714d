"""Layers are packed ahead of a push only where that is certain to be needed; nothing is left of what nobody took."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from buildlib.ahead import Ahead, ahead_of_push
from buildlib.errors import DigestMismatch, TransportError
from buildlib.registry.access import Access
from buildlib.store import Store
from buildlib.testing import serve_registry, tiny_image
from buildlib.testing.faults import on, status

pytestmark = pytest.mark.root

ACCESS = Access(tls_verify=False, retries=0)


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


@pytest.fixture
def image(store):
    return tiny_image(store, "one", {"a": os.urandom(2_000_000)})


def begun(store, image, destination=None, **options):
    """What is begun; a small layer may be packed to its end before it is given up, and then its form is known."""
    with ahead_of_push(store, image, destination, options) as ahead:
        found = sorted(ahead._streams)
    with store.db.transaction() as conn:
        conn.execute("DELETE FROM layer_blobs WHERE recipe NOT NULL")
    return found


def test_a_layer_that_was_never_packed_is_begun(store, image):
    layer = str(image.diff_ids[0])
    for destination in (None, "reg.example.com/x", "docker://reg.example.com/x:1"):
        assert begun(store, image, destination) == [(layer, "gzip", None)]
    assert begun(store, image, None, compression="zstd", level=7) == [(layer, "zstd", 7)]
    assert begun(store, image, None, format="docker") == [(layer, "gzip", None)]


def test_nothing_is_begun_that_may_not_be_needed(store, image, tmp_path):
    for destination in (f"oci:{tmp_path}/x", f"dir:{tmp_path}/x", f"docker-archive:{tmp_path}/x"):
        assert begun(store, image, destination) == []
    for options in ({"compression": "none"}, {"compression": "keep"}, {"compression": "zstd", "format": "docker"}):
        assert begun(store, image, None, **options) == []
    assert begun(store, store.create_manifest_list("list", [image])) == []
    image.push(f"oci:{tmp_path}/x:1")
    with ahead_of_push(store, image, None, {}) as ahead:
        assert not ahead._streams, "its packed form is known now"
    with ahead_of_push(store, image, None, {"compression": "zstd"}) as ahead:
        assert ahead._streams


def test_layers_that_came_from_elsewhere_are_packed_from_their_blobs(store, image, tmp_path):
    image.push(f"oci:{tmp_path}/x:1")
    with Store.open(str(tmp_path / "other")) as other:
        pulled = other.pull(f"oci:{tmp_path}/x:1")
        assert begun(other, pulled) == begun(other, pulled, None, compression="zstd") == []


def test_what_was_begun_is_pushed_and_the_same_as_ever(store, image, registry, tmp_path):
    pushed = store.push(image, f"docker://{registry.host}/x:1", access=ACCESS)
    assert store.push(image, f"oci:{tmp_path}/x:1").digest == pushed.digest
    assert store.check() == []


def test_nothing_is_left_when_the_push_fails(store, image, registry):
    before = pipes()
    registry.faults = [on("", status(403), times=None)]
    with pytest.raises(TransportError):
        store.push(image, f"docker://{registry.host}/x:1", access=ACCESS)
    ACCESS._clients.clear()
    assert pipes() <= before


def pipes():
    """The pipes that this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return {name for name in found if name.startswith("pipe:")}


def test_a_stream_is_taken_once(store, image):
    with Ahead() as ahead:
        ahead.begin(store, image.id, "gzip", None)
        key = (str(image.diff_ids[0]), "gzip", None)
        with ahead.take(*key) as stream:
            assert len(stream.read()) == stream.stored()[1]
        assert ahead.take(*key) is None
        assert ahead.take(key[0], "zstd", None) is None


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_layer_that_changed_since_it_was_measured_is_not_pushed(store, image, registry, compression):
    with (Path(store.layers.path(image.layers[0])) / "a").open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    with pytest.raises(DigestMismatch, match="are not those of") as caught:
        store.push(image, f"docker://{registry.host}/x:1", access=ACCESS, compression=compression)
    assert caught.value.expected == image.diff_ids[0]
    assert registry.repository("x").manifests == {}
    assert registry.uploads == {}
