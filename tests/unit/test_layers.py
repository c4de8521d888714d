"""Layers: sealed by a rename, measured in the background, found again, streamed out to the same bytes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from buildlib.errors import DigestMismatch, LayerError, NotFound, StoreError

pytestmark = pytest.mark.root


def tar(*entries, compress=""):
    """A tar with ``(name, data)``; data None makes a directory, "=target" a hard link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compress}", format=tarfile.PAX_FORMAT) as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o750 if data is None else 0o640
            if data is None:
                info.type = tarfile.DIRTYPE
            elif data.startswith("="):
                info.type, info.linkname = tarfile.LNKTYPE, data[1:]
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO((data or "").encode()))
    return out.getvalue()


def file_of(tmp_path, data):
    path = tmp_path / hashlib.sha256(data).hexdigest()
    path.write_bytes(data)
    return path.open("rb")


def ingest(store, lease, tmp_path, data, parents=()):
    with file_of(tmp_path, data) as file:
        return store.layers.settle(store.layers.ingest(file.fileno(), lease), parents, lease)


def container(store, by_hand, *layers, name="c"):
    key = by_hand.container(*layers, name=name)
    store.worker.call("prepare", {"key": key, "parents": list(layers)})
    return key


def rows(store, table):
    return store.db.rows(f"SELECT * FROM {table}")


# --- sealing --------------------------------------------------------------------------------------------------------


def test_what_a_container_wrote_becomes_a_layer(store, by_hand):
    key = container(store, by_hand)
    layer = store.layers.seal(key, ())
    assert (Path(store.layers.path(layer)) / "written").read_text() == "precious"
    assert store.db.rows("SELECT * FROM container_layers") == [(key, 0, layer)]
    assert not any((Path(store.root) / "containers" / key / "upper").iterdir())
    assert store.leases.held("layer") == set()
    assert store.check() == []


def test_sealing_again_goes_on_top(store, by_hand):
    key = container(store, by_hand)
    first = store.layers.seal(key, ())
    (Path(store.root) / "containers" / key / "upper/more").write_text("m")
    second = store.layers.seal(key, (first,))
    assert store.db.rows("SELECT position, layer FROM container_layers ORDER BY position") == [(0, first), (1, second)]


def test_what_belongs_to_a_seal_happens_with_it_or_nothing_does(store, by_hand):
    key = container(store, by_hand)

    def fail(layer):
        store.db.connection.execute("UPDATE containers SET state = ?", (layer,))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.layers.seal(key, (), fail)
    assert store.db.rows("SELECT state FROM containers") == [("{}",)]
    assert (Path(store.root) / "containers" / key / "upper/written").read_text() == "precious"
    assert rows(store, "layers") == rows(store, "leases") == []
    assert store.check() == []
    layer = store.layers.seal(
        key, (), lambda layer: store.db.connection.execute("UPDATE containers SET state = ?", (layer,))
    )
    assert store.db.rows("SELECT state FROM containers") == [(layer,)]


def test_sealing_a_container_without_an_upper_is_an_error_that_leaves_nothing(store, by_hand):
    with pytest.raises(StoreError):
        store.layers.seal("f" * 64, ())
    assert rows(store, "layers") == rows(store, "leases") == []
    assert not any((Path(store.root) / "layers").iterdir())


# --- measuring ------------------------------------------------------------------------------------------------------


def test_a_layer_is_measured_while_others_go_on(store, by_hand):
    key = container(store, by_hand)
    layer = store.layers.seal(key, ())
    store.layers.measure(layer)
    store.layers.measure(layer)
    measured = store.layers.measured(layer)
    assert measured.diff_id.startswith("sha256:")
    assert measured.content_digest.startswith("sha256:")
    assert measured.size > 0
    assert store.layers.measured(layer) == measured


def test_the_content_digest_does_not_depend_on_times(store, by_hand):
    layers = []
    for number in range(2):
        key = container(store, by_hand, name=f"c{number}")
        os.utime(Path(store.root) / "containers" / key / "upper/written", (number, number))
        layers.append(store.layers.measured(store.layers.seal(key, ())))
    assert layers[0].diff_id != layers[1].diff_id
    assert layers[0].content_digest == layers[1].content_digest


def test_many_threads_may_wait_for_one_measurement(store, by_hand):
    layer = store.layers.seal(container(store, by_hand), ())
    found = []
    threads = [threading.Thread(target=lambda: found.append(store.layers.measured(layer))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_layer_that_is_not_there_is_named(store):
    with pytest.raises(NotFound, match="no layer 0123456789abcdef"):
        store.layers.measured("0123456789abcdef")


# --- unpacking ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", ["", "gz", "bz2", "xz"])
def test_an_archive_becomes_a_layer(store, tmp_path, compress):
    plain = tar(("etc", None), ("etc/hosts", "local"))
    with store.lease() as lease:
        layer = ingest(store, lease, tmp_path, tar(("etc", None), ("etc/hosts", "local"), compress=compress))
        assert (Path(store.layers.path(layer)) / "etc/hosts").read_text() == "local"
        assert store.layers.measured(layer).diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
        assert store.layers.measured(layer).size == len(plain)
        assert store.check() == []
    assert store.gc().layers == (layer,)


def test_an_equal_layer_is_kept_once(store, tmp_path):
    with store.lease() as lease:
        first = ingest(store, lease, tmp_path, tar(("a", "x")))
        assert ingest(store, lease, tmp_path, tar(("a", "x"))) == first
        assert len(list((Path(store.root) / "layers").iterdir())) == 1


def test_a_damaged_archive_leaves_nothing(store, tmp_path):
    with store.lease() as lease, pytest.raises(LayerError):
        ingest(store, lease, tmp_path, tar(("a", "x" * 5000))[:2000])
    for kind in ("layers", "tmp"):
        assert not any((Path(store.root) / kind).iterdir())
    assert rows(store, "layers") == rows(store, "leases") == []


def test_a_layer_that_needs_its_parents_gets_what_it_needs_and_serves_only_above_them(store, tmp_path):
    with store.lease() as lease:
        base = ingest(store, lease, tmp_path, tar(("opt", None), ("opt/data", "old")))
        other = ingest(store, lease, tmp_path, tar(("opt", None), ("opt/data", "other")))
        above = tar(("opt/link", "=opt/data"))
        top = ingest(store, lease, tmp_path, above, [base])
        folder = Path(store.layers.path(top))
        assert (folder / "opt/link").read_text() == "old"
        assert (folder / "opt").stat().st_mode & 0o777 == 0o750
        diff_id = store.layers.measured(top).diff_id
        assert store.layers.find(diff_id, store.layers.chain([base])) == top
        assert store.layers.find(diff_id, store.layers.chain([other])) is None
        assert store.layers.find(diff_id, None) is None
        elsewhere = ingest(store, lease, tmp_path, above, [other])
        assert elsewhere != top
        assert (Path(store.layers.path(elsewhere)) / "opt/link").read_text() == "other"


def test_a_root_file_system_archive_becomes_a_layer(store, tmp_path):
    with store.lease() as lease, file_of(tmp_path, tar(("etc", None), ("etc/hosts", "local"), compress="gz")) as file:
        layer = store.layers.extract(file.fileno(), lease)
        assert (Path(store.layers.path(layer)) / "etc/hosts").read_text() == "local"
        assert store.check(diff_ids=True) == []


def test_a_root_file_system_with_the_name_of_a_whiteout_is_refused(store, tmp_path):
    archive = file_of(tmp_path, tar(("etc/.wh.x", "")))
    with archive, store.lease() as lease, pytest.raises(LayerError, match=r"etc/\.wh\.x"):
        store.layers.extract(archive.fileno(), lease)
    assert not any((Path(store.root) / "layers").iterdir())
    assert not any((Path(store.root) / "tmp").iterdir())


def test_feeding_that_fails_stops_the_unpacking(store):
    read_end, write_end = os.pipe()

    def feed():
        os.close(read_end)
        try:
            os.write(write_end, tar(("a", "x"))[:700])
            raise ZeroDivisionError
        finally:
            os.close(write_end)

    with store.lease() as lease, pytest.raises(ZeroDivisionError):
        store.layers.ingest(read_end, lease, feed)
    for kind in ("layers", "tmp"):
        assert not any((Path(store.root) / kind).iterdir())


# --- going out ------------------------------------------------------------------------------------------------------


def exported(store, layer, **options):
    fd = os.memfd_create("out")
    reply = store.layers.export(layer, fd, **options)
    data = os.pread(fd, 1 << 20, 0)
    os.close(fd)
    return reply, data


def test_a_layer_is_streamed_out_as_what_it_was_measured(store, by_hand):
    layer = store.layers.seal(container(store, by_hand), ())
    reply, data = exported(store, layer)
    measured = store.layers.measured(layer)
    assert reply["diff_id"] == reply["digest"] == measured.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert len(data) == measured.size
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [member.name.rstrip("/") for member in archive if member.isfile()] == ["written"]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_packing_gives_the_same_bytes_again_and_is_remembered(store, by_hand, compression):
    layer = store.layers.seal(container(store, by_hand), ())
    first, data = exported(store, layer, compression=compression)
    assert first["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
    assert exported(store, layer, compression=compression) == (first, data)
    (row,) = rows(store, "layer_blobs")
    assert row[:3] == (first["diff_id"], first["digest"], len(data))
    assert row[4].startswith(compression + ":")


def test_a_folder_that_was_tampered_with_does_not_leave(store, by_hand):
    layer = store.layers.seal(container(store, by_hand), ())
    measured = store.layers.measured(layer)
    (Path(store.layers.path(layer)) / "written").write_text("evil")
    with pytest.raises(DigestMismatch) as caught:
        exported(store, layer)
    assert caught.value.expected == measured.diff_id
    assert str(measured.diff_id) in str(caught.value)
    assert caught.value.actual != measured.diff_id
    assert [(finding.kind, finding.name) for finding in store.check(diff_ids=True)] == [("layer", layer)]


def test_other_times_cost_no_copy(store, by_hand):
    layer = store.layers.seal(container(store, by_hand), ())
    with store.lease() as lease:
        dated = store.layers.retimed(layer, lease, timestamp=1000)
        again = store.layers.retimed(dated, lease, clamp=2000)
        _, data = exported(store, dated)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert {member.mtime for member in archive} == {1000}
        _, data = exported(store, again)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert {member.mtime for member in archive} == {2000}
        assert store.layers.measured(dated).diff_id != store.layers.measured(layer).diff_id
        assert store.check(diff_ids=True) == []


def test_a_stack_is_squashed_to_what_it_shows(store, tmp_path):
    with store.lease() as lease:
        base = ingest(store, lease, tmp_path, tar(("keep", "k"), ("gone", "g"), ("dir", None), ("dir/old", "o")))
        top = ingest(store, lease, tmp_path, tar((".wh.gone", ""), ("dir/new", "n")), [base])
        squashed = store.layers.squash([base, top], lease)
        folder = Path(store.layers.path(squashed))
        assert {str(path.relative_to(folder)) for path in folder.rglob("*")} == {"keep", "dir", "dir/old", "dir/new"}
        assert store.check(diff_ids=True) == []


def test_a_chain_is_that_of_the_image_spec(store, tmp_path):
    from buildlib.oci import chain_id

    with store.lease() as lease:
        layers = [ingest(store, lease, tmp_path, tar((name, name))) for name in "abc"]
        diff_ids = store.layers.diff_ids(layers)
        assert store.layers.chain(layers) == chain_id(diff_ids)[-1]
        assert store.layers.chain([]) is None
