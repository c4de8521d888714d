"""Images: made of layers in one step, called by names, removed with what only they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.errors import DigestMismatch, FormatError, InvalidReference, NotFound, StoreBusy, UsageError
from buildlib.oci import Descriptor, ImageConfig, Manifest, mediatype


def test_an_image_tells_what_it_is(store, by_hand):
    image = by_hand.image("a", "b", names=["site:v1"], created="2024-05-06T07:08:09Z")
    assert image.names == ("localhost/site:v1",)
    assert image.name == "localhost/site:v1"
    assert image.size == 2000
    assert image.created == 1714979289.0
    assert image.config.diff_ids == (by_hand.diff_id("a"), by_hand.diff_id("b"))
    assert [store.layers.measured(layer).diff_id for layer in image.layers] == list(image.diff_ids)
    assert str(image.platform) == "linux/amd64"
    assert image.manifest.digest == image.digest
    assert store.images() == [image]
    assert repr(image) == f"<Image {image.id[:12]} localhost/site:v1>"


def test_images_are_listed_newest_first(store, by_hand):
    old, new = by_hand.image("a", created="2020-01-01T00:00:00Z"), by_hand.image("b", created="2021-01-01T00:00:00Z")
    nobody_knows, unreadable = by_hand.image("c"), by_hand.image("d", created="yesterday")
    assert store.images()[:2] == [new, old]
    assert nobody_knows.created == unreadable.created == 0


def test_the_same_image_twice_is_one(store, by_hand):
    first = by_hand.image("a", names=["one"])
    second = by_hand.image("a", names=["two"])
    assert first == second
    assert first.names == ("localhost/one:latest", "localhost/two:latest")
    assert len(store.images()) == 1


def test_a_name_moves_to_the_image_that_was_called_so_last(store, by_hand):
    first, second = by_hand.image("a", names=["site"]), by_hand.image("b", names=["site"])
    assert (first.names, second.names) == ((), ("localhost/site:latest",))
    first.tag("site", "other:1")
    assert second.name is None
    assert first.names == ("localhost/other:1", "localhost/site:latest")


def test_untagging_keeps_the_image(store, by_hand):
    image = by_hand.image("a", names=["one", "two", "three"])
    image.untag("one")
    assert image.names == ("localhost/three:latest", "localhost/two:latest")
    image.untag()
    assert image.names == ()
    with pytest.raises(UsageError, match="is not called 'one'"):
        image.untag("one")
    assert store.images() == [image]


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "a:b:c", "sha256:" + "0" * 64, "-x"])
def test_a_malformed_name_changes_nothing(store, by_hand, name):
    image = by_hand.image("a", names=["one"])
    with pytest.raises(InvalidReference):
        image.tag("good", name)
    with pytest.raises(InvalidReference):
        by_hand.image("b", names=["good", name])
    assert image.names == ("localhost/one:latest",)
    assert store.images() == [image]


# --- what does not fit together -------------------------------------------------------------------------------------


def test_layers_that_the_config_does_not_list_are_refused(store, by_hand):
    layer = by_hand.layer("a")
    config = ImageConfig("amd64", "linux", diff_ids=(by_hand.diff_id("b"),))
    manifest = Manifest.build(config.descriptor(), [store.layers.descriptor(layer)])
    with pytest.raises(DigestMismatch) as caught:
        store.add_image(config.encode(), manifest.raw, [layer])
    assert (caught.value.expected, caught.value.actual) == (by_hand.diff_id("b"), by_hand.diff_id("a"))
    with pytest.raises(FormatError, match="different numbers of layers"):
        store.add_image(config.encode(), manifest.raw, [])
    assert store.images() == []


def test_a_config_that_the_manifest_does_not_mean_is_refused(store):
    config = ImageConfig("amd64", "linux")
    manifest = Manifest.build(Descriptor.of(b"other", mediatype.OCI_CONFIG), [])
    with pytest.raises(DigestMismatch):
        store.add_image(config.encode(), manifest.raw, [])
    assert store.images() == []


def test_a_layer_that_is_gone_is_named(store, by_hand):
    config = ImageConfig("amd64", "linux", diff_ids=(by_hand.diff_id("a"),))
    manifest = Manifest.build(config.descriptor(), [store.layers.descriptor(by_hand.layer("a"))])
    with pytest.raises(NotFound, match="0123456789abcdef"):
        store.add_image(config.encode(), manifest.raw, ["0123456789abcdef"])


# --- removing -------------------------------------------------------------------------------------------------------


def test_removing_the_last_name_removes_the_image_and_what_only_it_needs(store, by_hand):
    one, two = by_hand.image("shared", "a", names=["one"]), by_hand.image("shared", "b", names=["two"])
    shared = one.layers[0]
    removed = store.image("one").remove("one")
    assert removed.deleted == one.id
    assert removed.untagged == ("localhost/one:latest",)
    assert {path.name for path in (Path(store.root) / "layers").iterdir()} == {shared, two.layers[1]}
    assert store.images() == [two]
    assert store.check() == []


def test_removing_one_of_several_names_only_takes_the_name(store, by_hand):
    image = by_hand.image("a", names=["one", "two"])
    assert image.remove("one") == (("localhost/one:latest",), None)
    assert image.names == ("localhost/two:latest",)


def test_an_image_with_several_names_goes_by_its_id_only_with_force(store, by_hand):
    image = by_hand.image("a", names=["one", "two"])
    for called in (None, image.id, image.id[:8]):
        with pytest.raises(StoreBusy, match="localhost/one:latest, localhost/two:latest"):
            image.remove(called)
    assert image.remove(force=True).deleted == image.id
    assert store.images() == []


def test_an_image_that_a_container_uses_goes_only_with_force(store, by_hand):
    image = by_hand.image("a", names=["one"])
    with store.from_image("one", "worker") as container:
        with pytest.raises(StoreBusy, match="is used by worker"):
            image.remove("one")
        assert store.images() == [image]
        assert image.remove("one", force=True).deleted == image.id
        assert not container.exists
    assert store.images() == []
    assert store.check() == []


def test_a_layer_that_a_container_needs_outlives_its_image(store, by_hand):
    image = by_hand.image("a", names=["one"])
    (layer,) = image.layers
    by_hand.container(layer)
    assert image.remove("one").deleted == image.id
    assert {path.name for path in (Path(store.root) / "layers").iterdir()} == {layer}
    assert store.check() == []


def test_an_image_that_was_removed_reads_as_missing(store, by_hand):
    image = by_hand.image("a")
    image.remove()
    fresh = type(image)(store, (image.id, image.digest, 0, 0, "linux", "amd64", None))
    with pytest.raises(NotFound):
        _ = fresh.config
    assert fresh.layers == fresh.names == ()


@pytest.mark.root
def test_a_directory_that_goes_takes_what_is_in_it_out_of_a_comparison(store, busybox_image):
    with store.from_image(busybox_image) as c:
        c.run("mkdir -p /d/sub; echo 1 > /d/sub/f")
        first = c.commit()
        c.run("echo 2 > /d/sub/g; mkdir /e; echo 3 > /e/f")
        second = c.commit()
        c.run("rm -r /d /e")
        third = c.commit()
    assert [(change.kind, change.path) for change in third.diff(busybox_image) if change.path != "/"] == []
    assert [(change.kind, change.path) for change in third.diff(first) if change.path != "/"] == [("deleted", "/d")]
    assert [(change.kind, change.path) for change in second.diff(first) if change.path != "/"] == [
        ("changed", "/d"), ("changed", "/d/sub"), ("added", "/d/sub/g"), ("added", "/e"), ("added", "/e/f"),
    ]  # fmt: skip
