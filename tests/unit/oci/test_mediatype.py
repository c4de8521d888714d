"""Media types and what they stand for."""

import pytest

from buildlib.oci import mediatype as m


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (m.OCI_LAYER, "none"),
        (m.OCI_LAYER_GZIP, "gzip"),
        (m.OCI_LAYER_ZSTD, "zstd"),
        (m.OCI_FOREIGN_LAYER + "+zstd", "zstd"),
        (m.DOCKER_LAYER, "none"),
        (m.DOCKER_LAYER_GZIP, "gzip"),
        (m.DOCKER_FOREIGN_LAYER + ".gzip", "gzip"),
    ],
)
def test_a_layer_declares_its_compression(media_type, compression):
    assert m.is_layer(media_type)
    assert m.compression_of(media_type) == compression


def test_other_things_are_not_layers():
    for media_type in (m.OCI_CONFIG, m.OCI_MANIFEST, m.DOCKER_LAYER + "x", "text/plain", ""):
        assert not m.is_layer(media_type)


def test_the_two_formats_translate_into_each_other():
    for oci in (m.OCI_MANIFEST, m.OCI_INDEX, m.OCI_CONFIG, m.OCI_LAYER, m.OCI_LAYER_GZIP, m.OCI_FOREIGN_LAYER):
        assert m.is_docker(m.to_docker(oci))
        assert m.to_oci(m.to_docker(oci)) == oci
    assert m.to_oci("text/plain") == "text/plain"


def test_foreign_layers_are_told_apart():
    assert m.is_foreign(m.DOCKER_FOREIGN_LAYER + ".gzip")
    assert not m.is_foreign(m.OCI_LAYER)
