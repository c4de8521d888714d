"""Caches leave a store and serve another one: by a registry, a folder, an image; hostile ones do no harm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from buildlib import cache, cache_document
from buildlib.cache_exchange import parse_spec
from buildlib.errors import BuildlibError, DigestMismatch, FormatError, NotFound, UsageError
from buildlib.oci import Digest
from buildlib.registry.access import Access
from buildlib.store import Store
from buildlib.testing import serve_registry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root
ACCESS = Access(tls_verify=False, retries=0)


@pytest.fixture
def other(tmp_path):
    """A second store, which knows nothing of the first one."""
    with Store.open(str(tmp_path / "other")) as store:
        yield store


def build(store, busybox_tar, *lines, text=b"a"):
    """A few cached steps on the same base; the container, and what was executed of them."""
    base = store.pull(f"tarball:{busybox_tar}")
    container = store.from_image(base, cache=True)
    executed = [] if container.copy(dest="/f", contents={"f": text}) else ["copy"]
    executed += [line for line in lines if not container.run(line).cached]
    return container, executed


LINES = ("cat /proc/sys/kernel/random/uuid > /now; cat /f > /g", "cat /now > /again")


def test_a_cache_in_a_folder_serves_another_store(store, other, busybox_tar, tmp_path):
    made, executed = build(store, busybox_tar, *LINES)
    assert executed == ["copy", *LINES]
    store.export_cache(f"type=local,dest={tmp_path}/cache", made)
    with other.import_cache(f"type=local,src={tmp_path}/cache") as found:
        assert len(found) == 3
        again, executed = build(other, busybox_tar, *LINES)
    assert executed == []
    assert again.read_file("/again") == made.read_file("/now")
    assert again.commit().diff_ids == made.commit().diff_ids
    assert other.cache.imports == []
    assert build(other, busybox_tar, *LINES)[1] == []  # what was used is the store's own from now on
    assert other.check(diff_ids=True) == []


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_cache_in_a_registry_sends_only_new_blobs_and_fetches_only_what_hits(store, other, busybox_tar, compression):
    with serve_registry() as registry:
        where = f"type=registry,ref={registry.host}/app/cache:main,compression={compression}"
        store.export_cache(where, build(store, busybox_tar, LINES[0])[0], access=ACCESS)
        before = set(registry.repository("app/cache").blobs)
        store.export_cache(where, build(store, busybox_tar, *LINES)[0], access=ACCESS)
        after = set(registry.repository("app/cache").blobs)
        assert before < after
        assert len(after - before) == 2  # the one layer that is new, and the records
        with other.import_cache(f"{registry.host}/app/cache:main", access=ACCESS):
            assert build(other, busybox_tar, LINES[0])[1] == []
            assert len(other.db.rows("SELECT digest FROM layer_blobs")) == 2  # of three layers


def test_an_image_carries_the_cache_of_its_own_layers(store, other, busybox_tar):
    with serve_registry() as registry:
        made, _ = build(store, busybox_tar, *LINES)
        image = made.commit(f"{registry.host}/app:1", inline_cache=True)
        assert set(image.config.extra["buildlib.cache.v1"]) == {"version", "records"}
        image.push(access=ACCESS)
        with other.import_cache(f"type=registry,ref={registry.host}/app:1", access=ACCESS):
            again, executed = build(other, busybox_tar, *LINES)
        assert executed == []
        assert again.read_file("/now") == made.read_file("/now")
    derived = store.from_image(image)
    derived.config(cmd=["x"])
    assert "buildlib.cache.v1" not in derived.commit().config.extra


def test_a_squashed_image_can_t_carry_a_cache(store, busybox_tar):
    made, _ = build(store, busybox_tar, *LINES)
    with pytest.raises(UsageError, match="squashed"):
        made.commit(squash=True, inline_cache=True)


def test_an_image_without_a_cache_gives_none(store, other, busybox_tar, tmp_path):
    made, _ = build(store, busybox_tar)
    made.commit().push(f"oci:{tmp_path}/image:latest")
    assert len(other.import_cache(f"type=local,src={tmp_path}/image")) == 0


def test_what_is_not_there_is_not_found(store, tmp_path):
    with pytest.raises(NotFound):
        store.import_cache(f"type=local,src={tmp_path}/nothing")


def test_a_step_that_differs_is_executed(store, other, busybox_tar, tmp_path):
    store.export_cache(f"type=local,dest={tmp_path}/cache", build(store, busybox_tar, *LINES)[0])
    with other.import_cache(f"type=local,src={tmp_path}/cache"):
        assert build(other, busybox_tar, *LINES, text=b"other")[1] == ["copy", *LINES]


def _blob(folder: Path, digest: str) -> Path:
    return folder / "blobs/sha256" / digest.partition(":")[2]


def _forge(folder: Path, change) -> None:
    """Rewrite the records of a cache as somebody would who can make all digests fit."""
    index = json.loads((folder / "index.json").read_bytes())
    manifest = json.loads(_blob(folder, index["manifests"][0]["digest"]).read_bytes())
    config = json.loads(_blob(folder, manifest["config"]["digest"]).read_bytes())
    change(config, manifest)
    for document, entry in ((config, manifest["config"]), (manifest, index["manifests"][0])):
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        entry.update(digest=str(Digest.of(raw)), size=len(raw))
        _blob(folder, entry["digest"]).write_bytes(raw)
    (folder / "index.json").write_text(json.dumps(index))


def test_a_layer_that_is_not_what_was_promised_is_not_taken(store, other, busybox_tar, tmp_path):
    folder = tmp_path / "cache"
    store.export_cache(f"type=local,dest={folder}", build(store, busybox_tar, *LINES)[0])

    def swap(config, manifest):
        config["diff_ids"].reverse()

    _forge(folder, swap)
    with other.import_cache(f"type=local,src={folder}") as found:
        again, executed = build(other, busybox_tar, *LINES)
        assert executed[0] == "copy"
        assert isinstance(found.failures[0], DigestMismatch)
    assert again.read_file("/g") == b"a"
    assert other.check() == []


def test_a_damaged_layer_is_made_anew(store, other, busybox_tar, tmp_path):
    folder = tmp_path / "cache"
    store.export_cache(f"type=local,dest={folder}", build(store, busybox_tar, *LINES)[0])

    def damage(config, manifest):
        blob = _blob(folder, manifest["layers"][0]["digest"])
        blob.write_bytes(blob.read_bytes()[:-1] + b"?")

    _forge(folder, damage)
    with other.import_cache(f"type=local,src={folder}") as found:
        assert build(other, busybox_tar, *LINES)[1] == ["copy"]
        assert len(found.failures) == 1
    assert other.check() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("diff_ids"),
        lambda config: config.update(diff_ids=["../../etc"]),
        lambda config: config.update(diff_ids=[]),
        lambda config: config.update(diff_ids=config["diff_ids"] * 2, records=[]),
        lambda config: config.update(records={}),
        lambda config: config["records"].append(None),
        lambda config: config["records"][0].update(layer=99),
        lambda config: config["records"][0].update(layer=True),
        lambda config: config["records"][0].update(layer=-1),
        lambda config: config["records"][0].update(created="now"),
        lambda config: config["records"][0].update(created=-1),
        lambda config: config["records"][0].update(key="f" * 64),
        lambda config: config["records"][0].update(result="x"),
        lambda config: config["records"][0].update(parent="; DROP TABLE cache"),
        lambda config: config["records"][0]["parts"].update(step=[]),
        lambda config: config["records"][0]["parts"].update(names={"a": 1}),
        lambda config: config["records"][0]["parts"].update(inputs=[1]),
        lambda config: config["records"][0]["parts"].update(kind=3),
        lambda config: config["records"][0]["parts"].update(printed=["x"]),
        lambda config: config["records"][0].pop("parts"),
    ],
)
def test_a_document_of_another_shape_is_refused(store, other, busybox_tar, tmp_path, change):
    store.export_cache(f"type=local,dest={tmp_path}/cache", build(store, busybox_tar)[0])
    _forge(tmp_path / "cache", lambda config, manifest: change(config))
    with pytest.raises(FormatError):
        other.import_cache(f"type=local,src={tmp_path}/cache")


def test_no_bytes_at_all_break_the_reader():
    for raw in (b"", b"[]", b"null", b"{", b"\xff", b'{"diff_ids":[],"version":1,"records":' + b"[" * 100_000):
        with pytest.raises(FormatError):
            cache_document.decode(raw, "cache", 0)


def test_a_time_in_the_future_becomes_now_and_another_version_says_nothing():
    step = cache.Step("run", {"argv": ["x"]})
    record = cache_document.Exported(cache.key("scratch", step), "scratch", "a" * 64, 0, json.loads(step.parts()), 9e9)
    raw = cache_document.encode([record], ["sha256:" + "0" * 64])
    assert cache_document.decode(raw, "cache", 5.0).records == (record._replace(created=5.0),)
    assert cache_document.decode(raw.replace(b'"version":1', b'"version":2'), "cache", 5.0).records == ()


@pytest.mark.parametrize(
    ("text", "importing"),
    [
        ("", True),
        ("type=gha", True),
        ("type=inline", True),
        ("type=registry", True),
        ("type=local,dest=x", True),
        ("type=local,src=x", False),
        ("type=inline,mode=max", False),
        ("type=local,dest=x,mode=most", False),
        ("type=local,dest=x,compression=lzma", False),
        ("type=local,dest=x,compression-level=high", False),
        ("type=local,dest=x,colour=red", False),
    ],
)
def test_what_can_t_be_meant_is_refused(text, importing):
    with pytest.raises(UsageError):
        parse_spec(text, importing=importing)


def test_a_record_counts_only_while_it_is_young_enough(store, busybox_tar):
    build(store, busybox_tar, "echo a > /a")
    base = store.pull(f"tarball:{busybox_tar}")
    for age, cached in ((0.0, False), (3600.0, True), (None, True)):
        container = store.from_image(base, cache=True, max_age=age)
        assert container.copy(dest="/f", contents={"f": b"a"}) is cached
    with store.db.transaction() as conn:
        conn.execute("UPDATE cache SET created = created - 7200, parts = json_remove(parts, '$.checked')")
    for cached in (False, True):  # executed once, it is confirmed for as long again
        container = store.from_image(base, cache=True, max_age=3600.0)
        assert container.copy(dest="/f", contents={"f": b"a"}) is cached


def test_what_followed_another_outcome_of_the_same_step_is_not_taken(store, busybox_tar):
    lines = ("cat /proc/sys/kernel/random/uuid > /now", "cat /now > /again")
    build(store, busybox_tar, *lines)
    base = store.pull(f"tarball:{busybox_tar}")
    with store.from_image(base, cache=True, no_cache=True) as container:
        container.copy(dest="/f", contents={"f": b"a"})
        container.run(lines[0])
    again, executed = build(store, busybox_tar, *lines)
    assert executed == [lines[1]]
    assert again.read_file("/now") == again.read_file("/again")


def test_watchers_are_told_why_a_step_missed(store, busybox_tar):
    build(store, busybox_tar, "true")
    seen = []
    store.cache.watch = seen.append
    try:
        build(store, busybox_tar, "true")
        build(store, busybox_tar, "true", text=b"b")
    finally:
        store.cache.watch = None
    assert [look.hit for look in seen] == [True, True, False, False]
    assert seen[2].why == ("f changed",)
    assert seen[3].why == ("its parent changed",)
    assert isinstance(seen[2].container, str)


def test_a_cache_of_another_tool_is_named_as_such(store, tmp_path, busybox_tar):
    store.export_cache(f"type=local,dest={tmp_path}/cache", build(store, busybox_tar)[0])
    _forge(
        tmp_path / "cache",
        lambda config, manifest: manifest["config"].update(mediaType="application/vnd.buildkit.cacheconfig.v0"),
    )
    with pytest.raises(BuildlibError, match="no cache of ours"):
        store.import_cache(f"type=local,src={tmp_path}/cache")
