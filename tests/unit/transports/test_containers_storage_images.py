"""Images in a store of containers-storage: written, read again, shared, found."""

import gzip
import json
import os
import stat
from contextlib import closing

import pytest

from buildlib import transports
from buildlib.errors import NotFound, TransportError
from buildlib.oci import Digest, ImageConfig, mediatype
from buildlib.transports import writing
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


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docker", "compression"),
    [(False, "none"), (False, "gzip"), (False, "zstd"), (True, "none"), (True, "gzip")],
)
def test_an_image_that_goes_in_comes_out(root, docker, compression):
    memory = Memory()
    manifest = memory.image("a", "b", "c", docker=docker, compression=compression, pretty=True)
    assert put(memory, root).digest == manifest.digest
    check(root)
    with get(root) as source:
        found = manifest_of(source)
        assert source.reference == ("localhost", "app", "1", None)
        assert found.config.digest == manifest.config.digest
        assert found.media_type == manifest.media_type
        assert {mediatype.compression_of(layer.media_type) for layer in found.layers} == {"none"}
        assert [layer.digest for layer in found.layers] == list(ImageConfig.parse(read(source, found.config)).diff_ids)
        assert (found.raw == manifest.raw) == (compression == "none")
        assert tars_of(source) == tars_of(memory)
    record = images_of(root)[0]
    assert record["id"] == manifest.config.digest.hex
    assert record["digest"] == manifest.digest
    assert not leftovers(root)


def test_the_records_tell_how_layers_came(root):
    memory = Memory()
    manifest = memory.image("a", "b")
    put(memory, root)
    base, top = layers_of(root)
    assert "parent" not in base
    assert top["parent"] == base["id"]
    assert base["compressed-diff-digest"] == manifest.layers[0].digest
    assert base["compressed-size"] == manifest.layers[0].size
    assert base["diff-digest"] == Digest.of(tars_of(memory)[0])
    assert base["compression"] == 2
    assert (base["uidset"], base["gidset"], base["diff-size"]) == ([0], [0], 10240)
    assert "flags" not in base
    assert (root / f"overlay/{base['id']}").stat().st_mode & 0o777 == 0o700
    assert (root / f"overlay/{base['id']}/diff").stat().st_mode & 0o777 == 0o555


def test_layers_have_the_kernel_s_form(root):
    base = tar(("./", FOLDER, {"mode": 0o711, "uid": 5}), ("d/", FOLDER, {"mode": 0o700}), ("d/a", b"a"), ("x", b"x"))
    links = [("d/s", SYMLINK, {"linkname": "/x"}), ("p", b"6"), ("l", LINK, {"linkname": "p"})]
    top = tar((".wh.x", b""), ("d/.wh..wh..opq", b""), *links)
    put(stack(base, top), root)
    below, above = (root / f"overlay/{record['id']}/diff" for record in layers_of(root))
    info = (above / "x").lstat()
    assert stat.S_ISCHR(info.st_mode)
    assert info.st_rdev == 0
    assert os.getxattr(above / "d", "trusted.overlay.opaque") == b"y"
    # "d" has no entry of its own in the upper layer, so it is like the one below; as is the root.
    assert (above / "d").stat().st_mode & 0o777 == 0o700
    assert [(path.stat().st_mode & 0o777, path.stat().st_uid) for path in (below, above)] == [(0o711, 5)] * 2
    with get(root) as source:
        assert tars_of(source) == [base, top]


def test_a_hard_link_into_a_layer_below_becomes_a_copy(root):
    base, top = tar(("a", b"content", {"mode": 0o640})), tar(("b", LINK, {"linkname": "a"}))
    put(stack(base, top), root)
    copied = root / f"overlay/{layers_of(root)[1]['id']}/diff/b"
    assert copied.read_bytes() == b"content"
    assert copied.stat().st_mode & 0o777 == 0o640
    with get(root) as source:
        assert tars_of(source) == [base, top]


def test_an_image_without_layers_is_one(root):
    put(stack(), root)
    assert images_of(root)[0]["layer"] == ""
    with get(root) as source:
        assert manifest_of(source).layers == ()


def test_an_image_may_have_a_layer_twice(root):
    one, two = layer_tar("a"), layer_tar("b")
    memory = stack(one, two, one, one)
    put(memory, root)
    check(root)
    assert len({record["id"] for record in layers_of(root)}) == 4
    with get(root) as source:
        assert tars_of(source) == [one, two, one, one]


def test_layers_that_are_there_are_shared(root):
    one, two, three = layer_tar("a"), layer_tar("b"), layer_tar("c")
    put(stack(one, two), root)
    before = tree(root / "overlay")
    memory = stack(one, two, three)
    put(memory, root, "localhost/more:1")
    assert len(memory.opened) == 2 + 1  # manifest, config, and the one layer that is new
    assert len(layers_of(root)) == 3
    assert before.items() <= tree(root / "overlay").items()
    # The same archive above others is another layer; it is copied within the store.
    memory = stack(two, one)
    put(memory, root, "localhost/other:1")
    assert len(memory.opened) == 2
    check(root)
    with get(root, "localhost/other:1") as source:
        assert tars_of(source) == [two, one]


def test_a_second_copy_changes_nothing_but_the_marks_of_the_writer(root):
    memory = stack(layer_tar("a"))
    put(memory, root)
    before, marks = tree(root), (root / "overlay-images/images.lock").read_bytes()
    put(memory, root)
    after = tree(root)
    ignored = {"overlay-images/images.lock"}
    assert {k: v for k, v in after.items() if k not in ignored} == {k: v for k, v in before.items() if k not in ignored}
    assert (root / "overlay-images/images.lock").read_bytes() != marks


def test_another_manifest_of_an_image_is_kept_beside_the_first(root):
    packed, plain = stack(layer_tar("a")), stack(layer_tar("a"), compression="none")
    put(packed, root)
    put(plain, root, "localhost/plain:1")
    (record,) = images_of(root)
    assert record["names"] == ["localhost/plain:1", "localhost/app:1"]
    assert record["digest"] == plain.root.digest
    assert {f"manifest-{packed.root.digest}", f"manifest-{plain.root.digest}"} < set(record["big-data-names"])


def test_a_name_goes_over_to_the_new_image(root):
    put(stack(layer_tar("a")), root)
    put(stack(layer_tar("b")), root)
    old, new = images_of(root)
    assert "names" not in old
    assert new["names"] == new["names-history"] == old["names-history"] == ["localhost/app:1"]


def test_several_names_and_images_are_written_at_once(root):
    with writing(transports.destination(name(root))) as destination:
        copy(stack(layer_tar("a")), destination, names=["a:1", "quay.io/b"])
        copy(stack(layer_tar("a"), layer_tar("b")), destination)
        copy(stack(layer_tar("b"), layer_tar("a")), destination, names=["turned"])
    names = [record["names"] for record in images_of(root)]
    assert names[:2] == [["docker.io/library/a:1", "quay.io/b:latest"], ["localhost/app:1"]]
    assert names[2:] == [["docker.io/library/turned:latest"]]
    check(root)
    with get(root, "turned") as source:
        assert tars_of(source) == [layer_tar("b"), layer_tar("a")]


def test_an_image_is_found_by_name_id_and_digest(root):
    memory = stack(layer_tar("a"))
    put(memory, root)
    image = images_of(root)[0]["id"]
    ids = (f"@{image}", image, f"@{image[:12]}", f"localhost/app:1@{image}")
    for wanted in (*ids, f"localhost/app@{memory.root.digest}"):
        with get(root, wanted) as source:
            assert source.reference is not None
            assert tars_of(source) == tars_of(memory)
    for wanted in ("localhost/app:2", f"@{'0' * 64}", f"localhost/other@{memory.root.digest}"):
        with pytest.raises(NotFound, match="no such image") as caught:
            transports.source(name(root, wanted))
        assert "localhost/app:1" in caught.value.hint


def test_an_id_may_stand_for_the_name_of_a_new_image(root):
    image = "12" * 32
    put(stack(layer_tar("a")), root, f"@{image}")
    assert images_of(root)[0]["id"] == image
    assert "names" not in images_of(root)[0]


def test_a_digest_is_what_the_content_makes_it(root):
    memory = stack(layer_tar("a"))
    put(memory, root, f"localhost/app@{memory.root.digest}")
    assert images_of(root)[0]["names"] == [f"localhost/app@{memory.root.digest}"]
    with pytest.raises(TransportError, match="has the digest"):
        put(memory, root, f"localhost/app@sha256:{'0' * 64}")


def test_the_creation_date_is_the_image_s(root):
    put(stack(layer_tar("a"), created="2001-02-03T04:05:06Z"), root)
    assert images_of(root)[0]["created"] == "2001-02-03T04:05:06Z"


def test_fields_that_are_not_known_survive(root):
    put(stack(layer_tar("a")), root)
    for path, more in (("overlay-layers/layers.json", {"new": [1]}), ("overlay-images/images.json", {"new": {"x": 1}})):
        records = json.loads((root / path).read_bytes())
        (root / path).write_text(json.dumps([{**record, **more} for record in records]))
    put(stack(layer_tar("a"), layer_tar("b")), root, "localhost/other:1")
    assert [record.get("new") for record in layers_of(root)] == [[1], None]
    assert [record.get("new") for record in images_of(root)] == [{"x": 1}, None]


def test_the_layers_can_be_packed_on_the_way_out(root):
    put(stack(layer_tar("a")), root)
    sink = Sink()
    with get(root) as source:
        copy(source, sink, compression="gzip")
    (layer,) = sink.finished.layers
    assert gzip.decompress(sink.content[layer.digest]) == layer_tar("a")


def test_a_store_is_copied_to_a_store(root, tmp_path):
    memory = stack(layer_tar("a"), layer_tar("b"))
    put(memory, root)
    with get(root) as source:
        put(source, tmp_path / "other")
    assert [record["id"] for record in layers_of(tmp_path / "other")] == [record["id"] for record in layers_of(root)]
    with get(tmp_path / "other") as source:
        assert tars_of(source) == tars_of(memory)


def test_stores_of_others_are_read_too(root, tmp_path):
    put(stack(layer_tar("a"), layer_tar("b")), tmp_path / "others")
    put(stack(layer_tar("c")), root)
    place = f"containers-storage:[overlay@{root}:imagestore={tmp_path}/others]localhost/app:1"
    with closing(transports.source(place)) as source:
        assert tars_of(source) == [layer_tar("c")]  # the store itself comes first
    put(stack(layer_tar("d")), tmp_path / "others", "localhost/there:1")
    place = f"containers-storage:[overlay@{root}:overlay.imagestore={tmp_path}/others]localhost/there:1"
    with closing(transports.source(place)) as source:
        assert tars_of(source) == [layer_tar("d")]
