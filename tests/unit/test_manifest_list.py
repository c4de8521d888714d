"""Indexes in the store: images of several platforms under one name, kept with the name, pushed and pulled whole."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import pytest

from buildlib.errors import NameInUse, NotFound, StoreBusy, UsageError
from buildlib.image import Image
from buildlib.manifest_list import ManifestList
from buildlib.oci import Index, Platform, mediatype
from buildlib.registry.access import Access
from buildlib.store import Store
from buildlib.testing import serve_registry

sys.path.insert(0, str(Path(__file__).parent))
from transports.images import Memory
from transports.test_multi_arch import AMD, ARM, RISCV, with_attestation

from buildlib import transports
from buildlib.transports.copy import copy

ACCESS = Access(tls_verify=False, retries=0)


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


def platform(name):
    return Platform.parse(name)


def provide(memory, where, **options):
    """Put the index of ``memory`` where a transport finds it."""
    with transports.writing(transports.destination(where, access=ACCESS)) as destination:
        copy(memory, destination, multi_arch="all", **options)
    return where


@pytest.fixture
def layout(tmp_path):
    """An OCI layout with an index for three platforms and an attestation."""
    memory = Memory()
    memory.index(AMD, ARM, RISCV)
    with_attestation(memory)
    return provide(memory, f"oci:{tmp_path}/site:v1")


@pytest.fixture
def pulled(store, layout):
    return store.pull_all(layout)


def blobs(store):
    return set(store.blobs.walk())


# --- pulling ----------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_all_platforms_are_pulled_under_one_name(store, layout, pulled):
    assert isinstance(pulled, ManifestList)
    assert pulled.names == ("localhost/site:v1",)
    assert [str(image.platform) for image in pulled.images] == [AMD, ARM, RISCV]
    assert all(image.names == () and image.lists == pulled.names for image in pulled.images)
    with transports.source(layout).open(transports.source(layout).resolve()) as raw:
        assert raw.read() == pulled.index.raw
    assert store.check(diff_ids=True) == []
    assert store.db.rows("SELECT * FROM leases") == []


@pytest.mark.root
def test_a_name_of_an_index_means_its_image_for_a_platform(store, pulled):
    assert store.image("site:v1").platform == Platform.host()
    assert store.image("site:v1", platform(RISCV)).platform == platform(RISCV)
    with pytest.raises(NotFound, match="no image for linux/s390x"):
        store.image("site:v1", platform("linux/s390x"))
    assert store.find("site:v1") == pulled
    assert store.find(pulled.id[:12]) == pulled
    assert store.find(f"localhost/site@{pulled.digest}") == pulled
    arm = store.image("site:v1", platform(ARM))
    assert store.find(f"localhost/site@{arm.digest}") == arm
    assert store.find(arm.digest) == arm
    with store.from_image("site:v1", platform=platform(ARM)) as container:
        assert container.image_id == arm.id


@pytest.mark.root
def test_what_an_index_refers_to_is_kept_and_goes_with_it(store, pulled):
    before = blobs(store)
    assert store.gc()[:2] == ((), ())
    assert blobs(store) == before
    removed = pulled.remove("site:v1")
    assert removed == (("localhost/site:v1",), pulled.id)
    assert store.images() == []
    assert blobs(store) == set()
    assert store.check() == []


@pytest.mark.root
def test_an_index_shares_its_images_with_other_names_and_indexes(store, pulled):
    amd, arm, _ = pulled.images
    amd.tag("own")
    other = store.create_manifest_list("other", [arm])
    pulled.remove()
    assert {image.id for image in store.images()} == {amd.id, arm.id}
    assert amd.remove("own").deleted == amd.id
    other.remove()
    assert store.images() == []


@pytest.mark.root
def test_the_image_of_an_index_is_not_removed_but_by_force(store, pulled):
    arm = store.image("site:v1", platform(ARM))
    with pytest.raises(StoreBusy, match="belongs to localhost/site:v1"):
        arm.remove()
    arm.tag("own")
    assert arm.remove("own").deleted is None
    arm.remove(force=True)
    with pytest.raises(NotFound, match="has an image for linux/arm64, but not here"):
        store.image("site:v1", platform(ARM))
    assert store.check() == []


@pytest.mark.root
def test_pulling_some_platforms_makes_an_index_of_those(store, layout):
    some = store.pull_all(layout, platforms=[platform(ARM)], names=["some"])
    assert [str(entry.platform) for entry in some.index.manifests] == [ARM]
    assert len(store.images()) == 1


@pytest.mark.root
def test_an_image_that_is_no_index_is_pulled_as_it_is(store, tmp_path):
    memory = Memory()
    memory.image("a")
    assert isinstance(store.pull_all(provide(memory, f"oci:{tmp_path}/x:v1")), Image)


@pytest.mark.root
def test_an_index_without_a_name_is_refused(store, tmp_path):
    memory = Memory()
    memory.index(AMD, ARM)
    with pytest.raises(UsageError, match="needs a name"):
        store.pull_all(provide(memory, f"dir:{tmp_path}/x"))
    assert store.images() == []


@pytest.mark.root
def test_nothing_is_kept_of_an_index_that_did_not_come_whole(store, layout):
    folder = Path(layout.split(":")[1])
    victim = max((folder / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    with pytest.raises(Exception, match="sha256"):
        store.pull_all(layout)
    store.gc()
    assert store.images() == []
    assert store.db.rows("SELECT * FROM names") == []
    assert blobs(store) == set()
    assert list((Path(store.root) / "tmp").iterdir()) == []


# --- pushing ----------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_an_index_is_pushed_with_all_its_images_to_the_same_digests(store, pulled, registry):
    descriptor = store.push("site:v1", f"docker://{registry.host}/team/site:v2", access=ACCESS)
    assert descriptor.digest == pulled.digest
    there = registry.repository("team/site")
    assert there.tags == {"v2": pulled.digest}
    assert set(there.manifests) == {pulled.digest, *(entry.digest for entry in pulled.index.manifests)}
    again = store.pull_all(f"docker://{registry.host}/team/site:v2", access=ACCESS)
    assert again.digest == pulled.digest


@pytest.mark.root
def test_the_image_of_one_platform_is_pushed_alone(store, pulled, tmp_path):
    descriptor = pulled.push(f"oci:{tmp_path}/out:x", multi_arch="system", platform=platform(ARM))
    assert descriptor.digest == store.image("site:v1", platform(ARM)).digest
    with pytest.raises(Exception, match="can't hold an image for several platforms"):
        pulled.push(f"docker-archive:{tmp_path}/out.tar")


@pytest.mark.root
def test_images_that_were_built_here_are_compressed_on_their_way(store, by_hand, registry, tmp_path):
    from buildlib.testing import tiny_image

    one, two = tiny_image(store, "one", {"a": b"1"}), tiny_image(store, "two", {"a": b"2"})
    made = store.create_manifest_list("both", [one])
    made.add(two, architecture="arm64", variant="v8", annotations={"k": "v"})
    pushed = made.push(f"docker://{registry.host}/both:1", access=ACCESS)
    index = Index.parse(registry.repository("both").manifests[pushed.digest][1])
    assert pushed.digest != made.digest
    assert [str(entry.platform) for entry in index.manifests] == [str(Platform.host()), "linux/arm64/v8"]
    assert index.manifests[1].annotations == {"k": "v"}
    with Store.open(str(tmp_path / "other")) as other:
        assert [i.id for i in other.pull_all(f"{registry.host}/both:1", access=ACCESS).images] == [one.id, two.id]


# --- making and changing ----------------------------------------------------------------------------------------------


def test_an_index_is_made_of_images_that_are_here(store, by_hand):
    one, two = by_hand.image("a", names=["one"]), by_hand.image("b")
    made = store.create_manifest_list("list", ["one"])
    assert made.names == ("localhost/list:latest",)
    assert made.add(two, os_version="10", os_features=["x"], features=["sse4"]) == (two.digest,)
    first, second = made.index.manifests
    assert (first.digest, first.platform) == (one.digest, platform(AMD))
    expected = {"architecture": "amd64", "os": "linux", "os.version": "10", "os.features": ["x"], "features": ["sse4"]}
    assert second.platform.to_dict() == expected
    assert store.manifest_list("list").digest == made.digest
    store.gc()
    assert store.find("one") == one
    assert made.images == (one, two)


def test_adding_again_replaces(store, by_hand):
    one = by_hand.image("a")
    made = store.create_manifest_list("list", [one, one])
    made.add(one, architecture="arm64")
    assert [entry.platform.architecture for entry in made.index.manifests] == ["arm64"]


def test_entries_are_annotated_and_removed(store, by_hand):
    one, two = by_hand.image("a", names=["one"]), by_hand.image("b")
    made = store.create_manifest_list("list", [one, two])
    assert made.annotate("one", architecture="arm", variant="v7", annotations={"a": "1"}) == one.digest
    made.annotate(one.digest, annotations={"b": "2"})
    entry = made.index.manifests[0]
    assert (str(entry.platform), entry.annotations) == ("linux/arm/v7", {"a": "1", "b": "2"})
    made.annotate_index({"k": "v"}, subject=one.manifest.descriptor)
    assert made.index.annotations == {"k": "v"}
    assert made.index.subject.digest == one.digest
    assert made.remove_image(two) == two.digest
    assert [entry.digest for entry in made.index.manifests] == [one.digest]
    assert two.lists == ()
    with pytest.raises(NotFound, match="does not list") as caught:
        made.remove_image(two)
    assert one.digest in caught.value.hint
    store.gc()
    assert store.blobs.has(made.digest)


def test_an_empty_index_may_be(store):
    made = store.create_manifest_list("list")
    assert made.index.manifests == ()
    assert store.manifest_list("list").images == ()


def test_a_name_is_not_taken_twice_unless_replaced(store, by_hand):
    by_hand.image("a", names=["one"])
    with pytest.raises(NameInUse, match="localhost/one:latest"):
        store.create_manifest_list("one")
    made = store.create_manifest_list("one", replace=True)
    assert store.find("one") == made
    with pytest.raises(UsageError, match="is an image, not an index"):
        by_hand.image("b", names=["two"])
        store.manifest_list("two")


def test_other_names_stay_with_what_they_meant(store, by_hand):
    made = store.create_manifest_list("list", [by_hand.image("a")])
    made.tag("before")
    digest = made.digest
    made.add(by_hand.image("b"))
    assert store.manifest_list("before").digest == digest
    assert store.manifest_list("list").digest == made.digest != digest
    store.gc()
    assert store.blobs.has(digest)


def test_names_of_an_index_go_one_by_one(store, by_hand):
    made = store.create_manifest_list("list", [by_hand.image("a")])
    made.tag("other")
    with pytest.raises(StoreBusy, match="has several names"):
        made.remove()
    assert made.remove("other") == (("localhost/other:latest",), None)
    assert made.remove("list").deleted == made.id


def test_two_who_change_an_index_at_once_do_not_lose_anything(store, by_hand):
    one, two = by_hand.image("a"), by_hand.image("b")
    store.create_manifest_list("list")
    first, second = store.manifest_list("list"), store.manifest_list("list")
    first.add(one)
    with pytest.raises(StoreBusy, match="changed by another process"):
        second.add(two)


def test_an_index_is_added_with_its_image_for_this_machine_or_with_all(store, by_hand):
    one, two = by_hand.image("a"), by_hand.image("b")
    inner = store.create_manifest_list("inner", [one])
    inner.add(two, architecture="arm64")
    some, every = store.create_manifest_list("some", ["inner"]), store.create_manifest_list("all", [inner], all=True)
    assert [entry.digest for entry in some.index.manifests] == [one.digest]
    assert every.index.manifests == inner.index.manifests
    inner.remove("inner")
    assert {image.id for image in every.images} == {one.id, two.id}


# --- what stays in a registry ---------------------------------------------------------------------------------------


@pytest.fixture
def remote(registry):
    memory = Memory()
    memory.index(AMD, ARM)
    with_attestation(memory)
    provide(memory, f"docker://{registry.host}/team/a:v1")
    memory.image("single", platform=RISCV)
    provide(memory, f"docker://{registry.host}/team/b:v1")
    registry.log.clear()
    return registry


def test_of_an_image_in_a_registry_only_documents_are_fetched(store, remote):
    made = store.create_manifest_list("list", [f"{remote.host}/team/b:v1"], access=ACCESS)
    made.add(f"docker://{remote.host}/team/a:v1", all=True, access=ACCESS)
    assert [str(e.platform) for e in made.index.manifests] == [RISCV, AMD, ARM, "unknown/unknown"]
    configs = len(made.index.manifests) - 1
    assert len(remote.requests("GET /v2/team/./blobs")) == configs
    store.gc()
    assert store.images() == []
    with pytest.raises(NotFound, match="but not here"):
        store.image("list")
    assert store.check() == []


def test_pushing_to_the_same_registry_mounts_everything(store, remote):
    made = store.create_manifest_list("list", [f"{remote.host}/team/b:v1"], access=ACCESS)
    made.add(f"docker://{remote.host}/team/a:v1", all=True, access=ACCESS)
    remote.log.clear()
    assert made.push(f"docker://{remote.host}/both:v1", access=ACCESS).digest == made.digest
    assert remote.requests("GET /v2/team/./blobs") == remote.requests("PATCH") == []
    there = remote.repository("both")
    assert there.tags == {"v1": made.digest}
    assert len(there.manifests) == 5


def test_pushing_to_another_registry_streams_the_blobs_through(store, remote):
    made = store.create_manifest_list("list", [f"{remote.host}/team/a:v1"], all=True, access=ACCESS)
    with serve_registry() as other:
        made.push(f"docker://{other.host}/x:v1", access=ACCESS)
        origin, copied = remote.repository("team/a"), other.repository("x")
        assert {d: copied.blobs[d] for d in copied.blobs} == {d: origin.blobs[d] for d in copied.blobs}
        assert {entry.digest for entry in made.index.manifests} <= set(copied.manifests)


def test_removing_an_entry_lets_its_documents_go(store, remote):
    made = store.create_manifest_list("list", [f"{remote.host}/team/a:v1"], all=True, access=ACCESS)
    for entry in made.index.manifests:
        made.remove_image(entry.digest)
    store.gc()
    assert blobs(store) == {made.digest}


def test_an_entry_may_be_a_docker_manifest(store, registry):
    memory = Memory()
    memory.image("a", docker=True)
    provide(memory, f"docker://{registry.host}/d:1")
    made = store.create_manifest_list("list", [f"{registry.host}/d:1"], access=ACCESS)
    assert made.index.manifests[0].media_type == mediatype.DOCKER_MANIFEST
    pushed = made.push(f"docker://{registry.host}/d:list", format="docker", access=ACCESS)
    assert registry.repository("d").manifests[pushed.digest][0] == mediatype.DOCKER_LIST
    assert attrs.evolve(pushed, size=0).media_type == mediatype.DOCKER_LIST
