"""The store: opening, finding, leases, what is garbage, and what is damaged."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from buildlib.errors import NotFound, StoreBusy, StoreError, UsageError
from buildlib.leases import alive, owner
from buildlib.oci.mediatype import OCI_LAYER_GZIP
from buildlib.store import Store


def folders(store, kind):
    return {path.name for path in (Path(store.root) / kind).iterdir()}


def blobs(store):
    return set(store.blobs.walk())


# --- opening --------------------------------------------------------------------------------------------------------


def test_opening_makes_a_private_folder(tmp_path):
    with Store.open(str(tmp_path / "deep" / "store")) as store:
        assert stat.S_IMODE(Path(store.root).stat().st_mode) == 0o700
        assert store.images() == store.containers() == store.check() == []


def test_a_store_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"opening the store .*/file/store"):
        Store.open(str(tmp_path / "file" / "store"))


def test_listing_starts_no_worker_and_imports_little(store, by_hand):
    by_hand.image("a", names=["one"])
    code = (
        "import sys; from buildlib.store import Store; store = Store.open(sys.argv[1])\n"
        "assert [image.names for image in store.images()] == [('localhost/one:latest',)]\n"
        "assert store._worker is None\n"
        "print(*{'attr', 'json', 'logging', 'subprocess', 'pathlib', 'tempfile', 'typing'} & sys.modules.keys())"
    )
    ran = subprocess.run([sys.executable, "-S", "-c", code, store.root], stdout=subprocess.PIPE, text=True, check=True,
                         env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert ran.stdout.split() == []


@pytest.mark.root
def test_the_worker_is_there_before_it_is_asked_where_it_will_be(store, tmp_path):
    container = store.from_image("scratch")
    store.container(container.name, soon="commit")
    assert store._worker is None  # nothing was written, so nothing will be measured
    (tmp_path / "file").write_text("x")
    container.copy("file", dest="/", context=str(tmp_path))
    for verb in ("commit", "run"):
        with Store.open(store.root) as other:
            assert other.container(container.name).id == container.id
            assert other._worker is None
            assert other.container(container.name, soon=verb).id == container.id
            assert other._worker is not None
            with pytest.raises(NotFound):
                other.container("nobody", soon=verb)


def test_two_processes_may_have_it_open(store, by_hand):
    code = "import sys; from buildlib import Store; Store.open(sys.argv[1]).image(sys.argv[2]).tag('other')"
    image = by_hand.image("a", names=["one"])
    subprocess.run([sys.executable, "-c", code, store.root, image.id], check=True)
    assert image.names == ("localhost/one:latest", "localhost/other:latest")


# --- names ----------------------------------------------------------------------------------------------------------


def test_an_image_is_found_by_all_that_it_is_called(store, by_hand):
    image = by_hand.image("a", names=["site", "docker.io/debian:12", "reg.example.com:5000/team/app:v1"])
    by_hand.image("b", names=["other"])
    for name in (
        "site", "site:latest", "localhost/site", "localhost/site:latest", "debian:12", "library/debian:12",
        "docker.io/library/debian:12", "reg.example.com:5000/team/app:v1", image.id, f"sha256:{image.id}",
        image.id[:12], image.id[:3], image.digest, f"site@{image.digest}", f"debian@{image.digest}",
    ):  # fmt: skip
        assert store.image(name) == image, name


def test_a_local_name_goes_before_a_public_one(store, by_hand):
    public, local = by_hand.image("a", names=["docker.io/library/app"]), by_hand.image("b", names=["app"])
    assert store.image("app") == local
    assert store.image("docker.io/app") == public


@pytest.mark.parametrize("name", ["sit", "", "UPPER", "site:v2", "ff", "no@sha256:" + "0" * 64, "a b", "../x", "oci:x"])
def test_an_unknown_image_is_not_found(store, by_hand, name):
    by_hand.image("a", names=["site"])
    with pytest.raises(NotFound) as caught:
        store.image(name)
    assert (caught.value.kind, caught.value.name) == ("image", name)


def test_a_near_name_is_hinted_at(store, by_hand):
    assert "no images yet" in hint(store, "x")
    by_hand.image("a", names=["reg.example.com/team/website:v1", "debian:bookworm"])
    assert hint(store, "debain:bookworm") == "did you mean localhost/debian:bookworm?"
    assert "buildlib images" in hint(store, "zzz")


def hint(store, name):
    with pytest.raises(NotFound) as caught:
        store.image(name)
    return caught.value.hint


def test_a_digest_belongs_to_a_repository(store, by_hand):
    image = by_hand.image("a", names=["site"])
    with pytest.raises(NotFound):
        store.image(f"other@{image.digest}")


def test_an_ambiguous_id_is_refused(store, by_hand):
    ids = [by_hand.image(str(number)).id for number in range(40)]
    start = next(id[:1] for id in ids if sum(other.startswith(id[:1]) for other in ids) > 1)
    with pytest.raises(NotFound):  # too short to be an id
        store.image(start)
    with store.db.transaction() as conn:
        conn.execute("INSERT INTO images VALUES (?, 'm', 0, 0, 'linux', 'amd64', NULL)", (ids[0][:12] + "0" * 52,))
    with pytest.raises(UsageError, match="several images"):
        store.image(ids[0][:5])


def test_a_container_is_found_by_name_and_by_id(store, by_hand):
    from buildlib.names import find_container

    key = by_hand.container(name="debian-working-container")
    for name in ("debian-working-container", key, key[:12], key[:3]):
        assert find_container(store.db, name) == key
    with pytest.raises(NotFound, match="no container is called 'debian-working'") as caught:
        find_container(store.db, "debian-working")
    assert caught.value.hint == "did you mean debian-working-container?"


# --- leases ---------------------------------------------------------------------------------------------------------


def test_a_lease_lasts_as_long_as_its_block(store):
    with store.lease("layer:a", "layer:b") as lease:
        lease.take("blob:c")
        assert store.leases.held("layer") == {"a", "b"}
        assert store.leases.held("blob") == {"c"}
    assert store.leases.held("layer") == store.leases.held("blob") == set()


def test_several_may_hold_one_thing_unless_it_is_exclusive(store):
    with store.lease("layer:a"), store.lease("layer:a") as second:
        second.drop()
        assert store.leases.held("layer") == {"a"}
        with pytest.raises(StoreBusy, match=f"process {os.getpid()}"):
            store.lease("layer:a", exclusive=True)
    with store.lease("layer:a", exclusive=True):
        pass


def test_a_lease_that_is_given_back_in_a_transaction_goes_with_it(store):
    lease = store.lease("layer:a")
    with pytest.raises(ZeroDivisionError), store.db.transaction():
        lease.drop()
        raise ZeroDivisionError
    assert store.leases.held("layer") == {"a"}


def test_an_owner_is_dead_when_its_pid_belongs_to_a_later_process():
    pid, started = owner()
    assert alive(pid, started)
    assert not alive(pid, started - 1)
    process = subprocess.Popen(["true"])
    process.wait()
    assert not alive(process.pid, started)


# --- garbage --------------------------------------------------------------------------------------------------------


def test_what_an_image_a_container_or_a_lease_needs_stays(store, by_hand):
    image = by_hand.image("a", "b", names=["site"])
    layer, used, leased = by_hand.layer("garbage"), by_hand.layer("used"), by_hand.layer("leased")
    by_hand.container(used)
    stray, wanted = store.blobs.add(b"stray").digest, store.blobs.add(b"wanted").digest
    with store.lease(f"layer:{leased}", f"blob:{wanted}"):
        report = store.gc()
    assert report.layers == (layer,)
    assert report.blobs == (stray,)
    assert report.bytes == 1000 + len(b"stray")
    assert folders(store, "layers") == {*image.layers, used, leased}
    assert blobs(store) == {f"sha256:{image.id}", image.digest, wanted}
    assert store.check() == []


def test_a_layer_whose_folder_another_one_shows_stays_with_it(store, by_hand):
    base = by_hand.layer("files")
    with store.lease() as lease:
        alias = store.layers.retimed(base, lease, timestamp=0)
        assert store.gc().layers == ()
        by_hand.record("key", alias)
    assert store.gc().layers == ()
    assert (Path(store.layers.path(alias)) / "file").read_text() == "files"
    assert set(store.gc(everything=True).layers) == {alias, base}
    assert folders(store, "layers") == set()


def test_the_blobs_of_a_layer_go_with_it(store, by_hand):
    image = by_hand.image("a", names=["site"])
    packed, old = store.blobs.add(b"packed").digest, store.blobs.add(b"old").digest
    store.layers.remember(by_hand.diff_id("a"), packed, 6, OCI_LAYER_GZIP, None)
    store.layers.remember(by_hand.diff_id("gone"), old, 3, OCI_LAYER_GZIP, None)
    assert store.gc().blobs == (old,)
    assert store.db.rows("SELECT digest FROM layer_blobs") == [(packed,)]
    image.remove()
    assert blobs(store) == set()


def test_cache_records_keep_their_layers(store, by_hand):
    layer = by_hand.layer("a")
    by_hand.record("key", layer)
    assert store.gc().layers == ()
    assert store.gc(everything=True)[:1] == ((layer,),)


def test_old_cache_records_can_be_let_go(store, by_hand):
    old, new = by_hand.layer("old"), by_hand.layer("new")
    by_hand.record("old", old, time.time() - 1000)
    by_hand.record("new", new, time.time() - 10)
    report = store.gc(cache_age=500)
    assert (report.records, report.layers) == (1, (old,))


def test_a_budget_lets_the_least_recently_used_go_and_counts_only_what_the_cache_keeps(store, by_hand):
    layers = [by_hand.layer(str(number)) for number in range(5)]
    for number, layer in enumerate(layers):
        by_hand.record(str(number), layer, used=number)
    by_hand.container(layers[0])
    report = store.gc(cache_bytes=2500)
    assert set(report.layers) == set(layers[1:3])
    assert {row[0] for row in store.db.rows("SELECT key FROM cache")} == {"0", "3", "4"}


def test_cache_mounts_are_emptied_on_demand_unless_in_use(store):
    for name in ("unused", "busy"):
        (Path(store.root) / "caches" / name).mkdir()
        (Path(store.root) / "caches" / name / "file").write_text("x")
    assert store.gc().caches == ()
    with store.lease("cache:busy"):
        assert store.gc(everything=True).caches == ("unused",)
    assert folders(store, "caches") == {"busy"}


# --- damage ---------------------------------------------------------------------------------------------------------


def problems(store, **options):
    return {(finding.kind, finding.name): finding.problem for finding in store.check(**options)}


def test_a_damaged_blob_is_found_with_both_digests(store, by_hand):
    image = by_hand.image("a", names=["site"])
    path = Path(store.blobs.path(image.digest))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert problems(store, digests=False).keys() == {("image", image.id)}
    found = problems(store)
    assert ("blob", image.digest) in found
    assert "its digest is now sha256:" in found["blob", image.digest]


def test_missing_files_are_found(store, by_hand):
    image = by_hand.image("a", names=["site"])
    Path(store.blobs.path(f"sha256:{image.id}")).unlink()
    (layer,) = image.layers
    (Path(store.layers.path(layer)) / "file").unlink()
    Path(store.layers.path(layer)).rmdir()
    assert problems(store).keys() == {("image", image.id), ("layer", layer)}


def test_files_without_rows_are_found_while_the_store_is_open(store):
    store.recover()
    (Path(store.root) / "layers/0123456789abcdef/fs").mkdir(parents=True)
    assert problems(store).keys() == {("layer", "0123456789abcdef")}
    store.gc()
    assert store.check() == []


def test_a_name_that_means_nothing_is_found(store):
    with store.db.transaction() as conn:
        conn.execute("INSERT INTO names VALUES ('localhost/x:latest', ?, 0)", ("0" * 64,))
    assert problems(store).keys() == {("name", "localhost/x:latest")}
