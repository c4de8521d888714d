"""Manifests, indexes and descriptors: bytes are kept, wrong types are named, ambiguity is refused."""

import json

import attrs
import pytest

from buildlib.errors import FormatError
from buildlib.oci import Descriptor, Digest, Index, Manifest
from buildlib.oci.document import MAX_BYTES
from buildlib.oci.manifest import parse
from buildlib.oci.mediatype import (
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)

CONFIG = Descriptor(OCI_CONFIG, Digest.of(b"config"), 6)
LAYER = Descriptor(OCI_LAYER_GZIP, Digest.of(b"layer"), 5)
DOCUMENT = {
    "mediaType": OCI_MANIFEST,
    "schemaVersion": 2,
    "layers": [{**LAYER.to_dict(), "x-unknown": [1, {"a": None}]}],
    "config": CONFIG.to_dict(),
    "futureField": {"deep": True},
}


def test_the_bytes_of_a_parsed_document_are_kept_whatever_their_layout():
    raw = json.dumps(DOCUMENT, indent=7).encode() + b"\n"
    manifest = Manifest.parse(raw)
    assert manifest.raw is raw
    assert manifest.digest == Digest.of(raw)
    assert manifest.descriptor == Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))


def test_unknown_fields_survive_a_change():
    changed = attrs.evolve(Manifest.parse(json.dumps(DOCUMENT).encode()), annotations={"b": "2", "a": "1"})
    assert json.loads(changed.raw) == {**DOCUMENT, "annotations": {"a": "1", "b": "2"}}


def test_a_new_document_has_the_field_order_of_the_specs():
    assert Manifest.build(CONFIG, [LAYER], annotations={"a": "<&>"}).raw == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        b'"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":6},'
        b'"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%s","size":5}],'
        b'"annotations":{"a":"\\u003c\\u0026\\u003e"}}' % (CONFIG.digest.encode(), LAYER.digest.encode())
    )


def test_the_docker_format_has_no_annotations():
    assert b"annotations" not in Manifest.build(CONFIG, [LAYER], media_type=DOCKER_MANIFEST, annotations={"a": "1"}).raw


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": None}, "manifest.config is missing"),
        ({"config": []}, "manifest.config: expected an object, found a list"),
        ({"layers": {}}, "manifest.layers: expected a list, found an object"),
        ({"layers": [1]}, r"manifest.layers\[0\]: expected an object"),
        ({"layers": [{**LAYER.to_dict(), "size": "5"}]}, r"manifest.layers\[0\].size: expected a whole number"),
        ({"layers": [{**LAYER.to_dict(), "size": True}]}, r"manifest.layers\[0\].size: expected a whole number"),
        ({"layers": [{**LAYER.to_dict(), "size": -1}]}, r"manifest.layers\[0\].size: -1 is not a size"),
        ({"layers": [{**LAYER.to_dict(), "size": 1e3}]}, r"manifest.layers\[0\].size: expected a whole number"),
        ({"layers": [{**LAYER.to_dict(), "digest": "../../etc/passwd"}]}, r"manifest.layers\[0\].digest: not a digest"),
        ({"layers": [{**LAYER.to_dict(), "annotations": {"a": 1}}]}, r"layers\[0\].annotations.a: expected a string"),
        ({"schemaVersion": 1}, "schema 1 is not supported"),
        ({"fsLayers": []}, "schema 1 is not supported"),
        ({"manifests": []}, "an index or hostile"),
        ({"mediaType": 7}, "manifest.mediaType"),
        ({"mediaType": OCI_INDEX}, "not the media type of a manifest"),
        ({"mediaType": "text/plain"}, "not the media type of a manifest"),
    ],
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(FormatError, match=message):
        Manifest.parse(json.dumps({**DOCUMENT, **change}).encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"{}", b'{"schemaVersion":NaN}', b"[" * 100_000,
        b'{"a":' * 100_000, b'{"schemaVersion":' + b"9" * 10_000 + b"}", b" " * (MAX_BYTES + 1),
    ],
)  # fmt: skip
def test_hostile_bytes_are_a_format_error(raw):
    for cls in (Manifest, Index):
        with pytest.raises(FormatError):
            cls.parse(raw)


def test_unknown_parts_may_not_nest_without_end():
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(FormatError, match="nested too deeply"):
        Manifest.parse(json.dumps({**DOCUMENT, "x": deep}).encode())


def test_the_announced_media_type_must_agree():
    raw = json.dumps(DOCUMENT).encode()
    assert Manifest.parse(raw, OCI_MANIFEST).media_type == OCI_MANIFEST
    assert Manifest.parse(raw, OCI_MANIFEST + "; charset=utf-8").media_type == OCI_MANIFEST
    with pytest.raises(FormatError, match="announced as"):
        Manifest.parse(raw, DOCKER_MANIFEST)


def test_a_missing_media_type_is_taken_from_the_announcement():
    raw = json.dumps({k: v for k, v in DOCUMENT.items() if k != "mediaType"}).encode()
    assert Manifest.parse(raw).media_type == OCI_MANIFEST
    manifest = Manifest.parse(raw, DOCKER_MANIFEST)
    assert (manifest.media_type, manifest.raw) == (DOCKER_MANIFEST, raw)


def test_either_kind_is_recognised():
    index = Index.build([CONFIG], annotations={"a": "b"})
    assert parse(index.raw) == index
    assert isinstance(parse(json.dumps(DOCUMENT).encode()), Manifest)
    assert isinstance(parse(Index.build([], media_type=DOCKER_LIST).raw, DOCKER_LIST), Index)
    with pytest.raises(FormatError, match="hostile"):
        parse(json.dumps({**DOCUMENT, "manifests": []}).encode())
    with pytest.raises(FormatError, match="hostile"):
        Index.parse(json.dumps({**DOCUMENT, "manifests": [], "mediaType": OCI_INDEX}).encode())


def test_a_layer_of_either_format_is_a_descriptor():
    fields = {"mediaType": DOCKER_LAYER_GZIP, "size": 5, "digest": str(LAYER.digest), "urls": ["x"]}
    docker = Descriptor.from_dict(fields)
    assert docker.urls == ("x",)
    assert Descriptor.from_dict(docker.to_dict()) == docker
    assert hash(docker) == hash(Descriptor.from_dict(docker.to_dict()))
