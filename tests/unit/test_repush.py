"""A push that changes nothing is found out by a few requests without a body, or not relied on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from buildlib.oci import Digest
from buildlib.registry.access import Access
from buildlib.registry.presence import has_all
from buildlib.repush import There
from buildlib.testing import serve_registry, tiny_image
from buildlib.testing.faults import drop, on, redirect, status

pytestmark = pytest.mark.root

ACCESS = Access(tls_verify=False)


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """A registries.conf that says nothing, and no proxy."""
    path = tmp_path / "registries.conf"
    path.write_text('# [[registry]]\nunqualified-search-registries = ["docker.io"]\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def pushed(store, registry):
    """The image localhost/one, pushed to …/x:1; the digest that it has there."""
    image = tiny_image(store, "one", {"a": b"1"})
    descriptor = store.push(image, f"docker://{registry.host}/x:1", access=ACCESS)
    registry.log.clear()
    return descriptor.digest


def test_what_was_pushed_is_known_to_be_there(store, registry, pushed):
    there = store.already_pushed("one", f"docker://{registry.host}/x:1")
    blobs = registry.repository("x").blobs
    assert there == There(pushed, there.blobs)
    assert set(there.blobs) == set(blobs)
    assert sorted(registry.log) == sorted(
        ["HEAD /v2/x/manifests/1", *(f"HEAD /v2/x/blobs/{digest}" for digest in blobs)]
    )
    assert len(registry.connections) == 2, "the push's, and one of our own"


def test_the_name_of_the_image_is_where_it_is_pushed_to(store, registry, pushed):
    store.image("one").tag(f"{registry.host}/x:1")
    assert store.already_pushed("one").digest == pushed
    assert store.already_pushed("one", f"{registry.host}/x:1").digest == pushed


def test_other_options_or_another_place_are_another_push(store, registry, pushed):
    place = f"docker://{registry.host}/x:1"
    assert store.already_pushed("one", place, compression="zstd") is None
    assert store.already_pushed("one", place, format="docker") is None
    assert store.already_pushed("one", f"docker://{registry.host}/x:2") is None
    assert store.already_pushed("one", f"docker://{registry.host}/y:1") is None
    for other in (
        "oci:x",
        "docker://debian",
        f"docker://{registry.host}/x@{pushed}",
        "docker://127.0.0.1:1/x:1",
        "B@d",
    ):
        assert store.already_pushed("one", other) is None
    store.push("one", place, compression="zstd", access=ACCESS)
    assert store.already_pushed("one", place, compression="zstd") is not None
    assert store.already_pushed("one", place) is None


def test_what_the_registry_has_lost_is_not_there(store, registry, pushed):
    place, blobs = f"docker://{registry.host}/x:1", registry.repository("x").blobs
    for digest, data in list(blobs.items()):
        del blobs[digest]
        assert store.already_pushed("one", place) is None
        blobs[digest] = data[:-1]
        assert store.already_pushed("one", place) is None
        blobs[digest] = data
    registry.repository("x").tags["1"] = str(Digest.of(b"other"))
    assert store.already_pushed("one", place) is None
    store.push("one", place, access=ACCESS)
    assert store.already_pushed("one", place) is not None


@pytest.mark.parametrize("fault", [status(401), status(404), status(503), redirect("http://127.0.0.1:1"), drop()])
def test_an_answer_that_is_not_plain_is_no_answer(store, registry, pushed, fault):
    registry.faults = [on("HEAD .*/blobs/", fault, times=None)]
    assert store.already_pushed("one", f"docker://{registry.host}/x:1") is None


@pytest.mark.parametrize("line", ["[[registry]]", '  [[registry]]\nlocation="x"', "[[registry.mirror]]"])
def test_where_registries_are_configured_the_client_is_asked(store, registry, pushed, settings, line):
    settings.write_text(line)
    assert store.already_pushed("one", f"docker://{registry.host}/x:1") is None


def test_where_there_is_a_proxy_the_client_is_asked(store, registry, pushed, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy")
    assert store.already_pushed("one", f"docker://{registry.host}/x:1") is None
    assert registry.log == []


def test_indexes_are_known_too(store, registry):
    made = store.create_manifest_list("list", [tiny_image(store, "one", {"a": b"1"})])
    digest = made.push(f"docker://{registry.host}/x:1", access=ACCESS).digest
    assert store.already_pushed("list", f"docker://{registry.host}/x:1").digest == digest
    made.add(tiny_image(store, "two", {"a": b"2"}))
    assert store.already_pushed("list", f"docker://{registry.host}/x:1") is None


def test_hosts_are_reached_by_any_of_their_addresses(registry, pushed):
    blobs = [(digest, len(data)) for digest, data in registry.repository("x").blobs.items()]
    port = registry.host.partition(":")[2]
    assert has_all(f"localhost:{port}", "x", "1", pushed, blobs)
    for nobody in ("[::1]:1", "registry.invalid", "127.0.0.1:nonsense", "127.0.0.1", "ünicode"):
        assert not has_all(nobody, "x", "1", pushed, blobs)


def test_the_verb_imports_no_client(store, registry, pushed, tmp_path):
    code = "import sys; from buildlib.cli import main; code = main(sys.argv[1:]); print(*sys.modules); sys.exit(code)"
    argv = [sys.executable, "-c", code, "--root", store.root, "push", "--tls-verify=false", "--digestfile"]
    argv += [str(tmp_path / "digest"), "one", f"docker://{registry.host}/x:1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    site = set(subprocess.check_output([sys.executable, "-c", "import sys; print(*sys.modules)"], text=True).split())
    assert not {"urllib3", "attrs", "attr", "ssl", "http.client", "json", "socket"} & (set(done.stdout.split()) - site)
    assert (tmp_path / "digest").read_text() == pushed
    assert done.stderr.count("(there already)") == 2
    assert not any(line.startswith(("GET", "PUT", "POST")) for line in registry.log)
