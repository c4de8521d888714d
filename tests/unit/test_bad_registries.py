"""Registries that lie, break off or flood: each time a clear error, no half image in the store, no temporary files."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import attrs
import pytest

from buildlib import transports
from buildlib.errors import BuildlibError, DigestMismatch, FormatError, LayerError, StoreFull, TransportError
from buildlib.oci import Digest, ImageConfig, Manifest, Platform, mediatype
from buildlib.registry.access import Access
from buildlib.registry.auth import Credential
from buildlib.registry.configuration import Configuration
from buildlib.store import Store
from buildlib.testing import serve_registry
from buildlib.testing.faults import cut, damage, expire_tokens, lie, on
from buildlib.transports.copy import copy

sys.path.insert(0, str(Path(__file__).parent))
from transports.images import Memory, layer_tar

pytestmark = pytest.mark.root

ACCESS = Access(tls_verify=False, retries=1, retry_delay=0.001)
USERS = {"ann": "secret"}
ANN = attrs.evolve(ACCESS, credential=Credential("ann", "secret"))


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


@pytest.fixture
def memory():
    memory = Memory()
    memory.image("small", "large", size=300, compression="none")
    return memory


def provide(memory, registry, access=ACCESS):
    name = f"docker://{registry.host}/site:1"
    with transports.writing(transports.destination(name, access=access)) as there:
        copy(memory, there, compression="keep")
    return name


def refused(store, name, kind, match=None, access=ACCESS):
    """The error that a pull ends with; nothing of the image is left, and the store is whole."""
    with pytest.raises(kind, match=match) as caught:
        store.pull(name, access=access)
    assert isinstance(caught.value, BuildlibError)
    assert store.images() == []
    assert list((Path(store.root) / "tmp").iterdir()) == []
    assert store.check(diff_ids=True) == []
    store.gc()
    for kind_of in ("layers", "blobs/sha256"):
        assert list((Path(store.root) / kind_of).iterdir()) == []
    return caught.value


def layers_of(memory):
    return Manifest.parse(memory.content[memory.root.digest]).layers


@pytest.mark.parametrize("which", [0, 1])
def test_a_layer_that_is_another_one(store, registry, memory, which):
    name, layer = provide(memory, registry), layers_of(memory)[which]
    registry.faults = [on(f"GET .*/blobs/{layer.digest}", damage(), times=None)]
    error = refused(store, name, (DigestMismatch, LayerError))
    if isinstance(error, DigestMismatch):
        assert error.expected == layer.digest


@pytest.mark.parametrize(
    ("fault", "match"),
    [(cut(1000), r"only \d+ of \d+ bytes came"), (lie(5_000_000), "has 5000000 bytes of it"), (lie(7), "has 7 bytes")],
)
def test_a_layer_that_breaks_off_for_ever_or_whose_length_is_a_lie(store, registry, memory, fault, match):
    name, layer = provide(memory, registry), layers_of(memory)[1]
    registry.faults = [on(f"GET .*/blobs/{layer.digest}", fault, times=None)]
    refused(store, name, TransportError, match)


def test_a_manifest_with_a_wrong_size(store, registry, memory):
    name = provide(memory, registry)
    manifest = Manifest.parse(memory.content[memory.root.digest])
    wrong = [attrs.evolve(layer, size=layer.size - 512) for layer in manifest.layers]
    put(registry, Manifest.build(manifest.config, wrong).raw)
    refused(store, name, TransportError, "the manifest says")


def put(registry, raw):
    """Let the tag mean another manifest."""
    repository = registry.repository("site")
    repository.manifests[Digest.of(raw)] = (mediatype.OCI_MANIFEST, raw)
    repository.tags["1"] = Digest.of(raw)


def test_a_manifest_that_is_too_large_or_another_one(store, registry, memory):
    name = provide(memory, registry)
    registry.faults = [on("GET .*/manifests/", damage())]
    refused(store, name, DigestMismatch, "the registry sent")
    put(registry, memory.content[memory.root.digest] + b" " * (5 << 20))
    refused(store, name, FormatError, "more than 4194304 bytes")


def test_a_config_that_is_another_one(store, registry, memory):
    name = provide(memory, registry)
    config = Manifest.parse(memory.content[memory.root.digest]).config
    registry.faults = [on(f"GET .*/blobs/{config.digest}", damage(), times=None)]
    refused(store, name, DigestMismatch, str(config.digest))


def test_a_bomb_ends_at_the_end_of_the_disk(tiny_disk, registry):
    memory, host = Memory(), Platform.host()
    tar = layer_tar("zeros", bytes(64 << 20))
    packed = memory.keep(gzip.compress(tar), mediatype.layer("gzip"))
    assert packed.size < 100_000
    config = ImageConfig(host.architecture, host.os, diff_ids=(Digest.of(tar),))
    manifest = Manifest.build(memory.keep(config.encode(), mediatype.OCI_CONFIG), [packed])
    memory.root = memory.keep(manifest.raw, manifest.media_type)
    name = provide(memory, registry)
    with Store.open(f"{tiny_disk}/store") as store:
        refused(store, name, StoreFull)


@pytest.mark.parametrize("always", [False, True])
def test_a_token_that_ends_is_renewed_and_one_that_ends_at_once_is_an_error(store, memory, always):
    with serve_registry(auth="bearer", users=USERS) as registry:
        name = provide(memory, registry, ANN)
        registry.tokens.clear()
        registry.faults = [on("GET .*/blobs/", expire_tokens(), times=None if always else 1)]
        if not always:
            assert store.pull(name, access=ANN).layers
            return
        error = refused(store, name, TransportError, "401|unauthorized|login", ANN)
        assert error.status == 401


def test_a_registry_that_is_blocked(store, registry, memory, tmp_path):
    name = provide(memory, registry)
    path = tmp_path / "registries.conf"
    path.write_text(f'[[registry]]\nlocation = "{registry.host}"\nblocked = true\n')
    registry.log.clear()
    blocked = attrs.evolve(ACCESS, configuration=Configuration.load([str(path)]))
    refused(store, name, TransportError, "is blocked by", blocked)
    assert registry.log == []
