"""Media types of the OCI image spec and of Docker's image format, and what each of them stands for."""

from __future__ import annotations

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST_V1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_MANIFEST_V1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"

OCTET_STREAM = "application/octet-stream"

COMPRESSIONS = ("none", "gzip", "zstd", "bzip2", "xz")
"""All words for a compression; only the first three have media types."""

_SUFFIXES = {"gzip": "gzip", "zstd": "zstd", "bzip2": "bzip2", "xz": "xz"}
_LAYER_ROOTS = (OCI_LAYER, OCI_FOREIGN_LAYER, DOCKER_LAYER, DOCKER_FOREIGN_LAYER)


def is_manifest(media_type: str) -> bool:
    """Whether it is the manifest of one image."""
    return media_type in (OCI_MANIFEST, DOCKER_MANIFEST)


def is_index(media_type: str) -> bool:
    """Whether it is a list of manifests."""
    return media_type in (OCI_INDEX, DOCKER_LIST)


def is_schema1(media_type: str) -> bool:
    """Whether it is Docker's first manifest format, which no registry writes any more."""
    return media_type in (DOCKER_MANIFEST_V1, DOCKER_MANIFEST_V1_SIGNED)


def is_docker(media_type: str) -> bool:
    """Whether the media type belongs to Docker's format, not to OCI's."""
    return media_type.startswith("application/vnd.docker.")


def is_config(media_type: str) -> bool:
    """Whether it is the config of an image that can run, not of some other artifact."""
    return media_type in (OCI_CONFIG, DOCKER_CONFIG)


def is_layer(media_type: str) -> bool:
    """Whether it is a layer: a tar, compressed or not, of a root file system change set."""
    return any(media_type == root or media_type.startswith((root + "+", root + ".")) for root in _LAYER_ROOTS)


def is_foreign(media_type: str) -> bool:
    """Whether it is a layer that may not be redistributed and lives behind its ``urls``."""
    return media_type.startswith((OCI_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER))


def compression_of(media_type: str) -> str:
    """The compression that a layer's media type declares: ``none``, ``gzip``, ``zstd``, ``bzip2`` or ``xz``.

    Docker's layer type is also used for tars compressed otherwise than it says; a reader must look at the bytes.
    """
    for root in _LAYER_ROOTS:
        if media_type.startswith(root):
            return _SUFFIXES.get(media_type[len(root) :].lstrip("+."), "none")
    return "none"


def layer(compression: str, *, docker: bool = False) -> str:
    """The media type of a layer with that compression. Raises KeyError for one that has no media type."""
    if docker:
        return {"none": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP, "zstd": DOCKER_LAYER_ZSTD}[compression]
    return {"none": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}[compression]


def to_docker(media_type: str) -> str:
    """The Docker media type for an OCI one; anything else is returned as it is."""
    return _TO_DOCKER.get(media_type, media_type)


def to_oci(media_type: str) -> str:
    """The OCI media type for a Docker one; anything else is returned as it is."""
    return _TO_OCI.get(media_type, media_type)


_TO_DOCKER = {
    OCI_MANIFEST: DOCKER_MANIFEST,
    OCI_INDEX: DOCKER_LIST,
    OCI_CONFIG: DOCKER_CONFIG,
    OCI_LAYER: DOCKER_LAYER,
    OCI_LAYER_GZIP: DOCKER_LAYER_GZIP,
    OCI_LAYER_ZSTD: DOCKER_LAYER_ZSTD,
    OCI_FOREIGN_LAYER: DOCKER_FOREIGN_LAYER,
    OCI_FOREIGN_LAYER + "+gzip": DOCKER_FOREIGN_LAYER + ".gzip",
}
_TO_OCI = {docker: oci for oci, docker in _TO_DOCKER.items()}
