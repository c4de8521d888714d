"""What has to change so that a destination can take an image: a plan, made before anything moves. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildlib.errors import FormatError, TransportError, UsageError
from buildlib.oci import mediatype
from buildlib.oci.value import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.oci.config import ImageConfig
    from buildlib.oci.descriptor import Descriptor
    from buildlib.oci.digest import Digest
    from buildlib.oci.index import Index
    from buildlib.oci.manifest import Manifest
    from buildlib.oci.platform import Platform
    from buildlib.transports import Form

FORMATS = {"oci": mediatype.OCI_MANIFEST, "docker": mediatype.DOCKER_MANIFEST}
COMPRESSIONS = ("keep", "compress", "none", "gzip", "zstd")

_BOUND_TO_BYTES = ("containerd.io/snapshot/", "io.github.containers.zstd-chunked.")
"""Annotations of a layer that describe its compressed bytes, so they go when those change."""


ABOUT = "vnd.docker.reference.digest"
"""The annotation of an entry that is an attestation: the digest of the manifest that it is about."""


@frozen
class Wanted:
    """What the caller demands beyond the destination's form."""

    format: str | None = None
    """``oci`` or ``docker``; None leaves it to the destination."""
    compression: str | None = None
    """One of :data:`COMPRESSIONS`; None leaves it to the destination."""

    def check(self) -> None:
        """Raise :class:`UsageError` for words that are not known."""
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"no format {self.format!r}", hint=f"there are {', '.join(FORMATS)}")
        if self.compression is not None and self.compression not in COMPRESSIONS:
            raise UsageError(f"no compression {self.compression!r}", hint=f"there are {', '.join(COMPRESSIONS)}")


@frozen
class LayerStep:
    """What is done with one layer: moved as it is (``compression`` None), or brought to that compression."""

    layer: Descriptor
    diff_id: Digest | None
    """The digest of the layer's tar, where the config tells."""
    compression: str | None = None
    skip: bool = False
    """A foreign layer, which stays where its URLs point to."""


@frozen
class ImagePlan:
    """What becomes of one manifest."""

    manifest: Manifest
    media_type: str
    layers: tuple[LayerStep, ...]

    @property
    def changes(self) -> bool:
        """Whether the manifest will be another one."""
        return self.media_type != self.manifest.media_type or any(step.compression for step in self.layers)

    def converted(self, results: Sequence[Descriptor]) -> Manifest:
        """The manifest with its layers replaced by ``results``; the same one, bytes and all, if nothing changes."""
        if not self.changes:
            return self.manifest
        translate = mediatype.to_docker if mediatype.is_docker(self.media_type) else mediatype.to_oci
        layers = []
        for step, result in zip(self.layers, results, strict=True):
            layer = evolve(step.layer, digest=result.digest, size=result.size)
            if step.compression:
                notes = {k: v for k, v in layer.annotations.items() if not k.startswith(_BOUND_TO_BYTES)}
                layer = evolve(layer, annotations=notes, media_type=mediatype.layer(step.compression))
            layers.append(evolve(layer, media_type=translate(layer.media_type)))
        config = evolve(self.manifest.config, media_type=translate(self.manifest.config.media_type))
        notes = {} if mediatype.is_docker(self.media_type) else self.manifest.annotations
        return evolve(self.manifest, media_type=self.media_type, config=config, layers=tuple(layers), annotations=notes)


def chosen(index: Index, platforms: Sequence[Platform]) -> tuple[Descriptor, ...]:
    """The entries of an index for these platforms, in its order, each with the attestations that are about it.

    Raises :class:`NotFound` for a platform that it does not have.
    """
    digests = {index.select(platform).digest for platform in platforms}
    return tuple(
        entry for entry in index.manifests if entry.digest in digests or entry.annotations.get(ABOUT) in digests
    )


def plan(manifest: Manifest, config: ImageConfig | None, form: Form, wanted: Wanted, where: str) -> ImagePlan:
    """Plan the copy of one image to a destination of that form; ``config`` is None for what is no image to run.

    Raises :class:`TransportError` when the destination can't take it, :class:`FormatError` when config and manifest
    do not agree.
    """
    media_type = _target(manifest, config, form, wanted, where)
    if config is None:
        return ImagePlan(manifest, media_type, tuple(LayerStep(layer, None) for layer in manifest.layers))
    if len(config.diff_ids) != len(manifest.layers):
        raise FormatError(
            f"the manifest has {len(manifest.layers)} layers, but its config lists {len(config.diff_ids)} DiffIDs"
        )
    rule = wanted.compression or form.compression
    docker = mediatype.is_docker(media_type)
    steps = [
        _layer(layer, diff_id, rule, docker) for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    ]
    return ImagePlan(manifest, media_type, tuple(steps))


def _target(manifest: Manifest, config: ImageConfig | None, form: Form, wanted: Wanted, where: str) -> str:
    if wanted.format is not None:
        target = FORMATS[wanted.format]
        if target not in form.manifests:
            raise TransportError(f"{where}: can't hold images in the format {wanted.format}")
    else:
        target = manifest.media_type if manifest.media_type in form.manifests else form.manifests[0]
    if config is None and target != manifest.media_type:
        kind = manifest.artifact_type or manifest.config.media_type
        if manifest.media_type not in form.manifests:
            raise TransportError(f"{where}: can't hold an artifact of type {kind}")
        return manifest.media_type
    return target


def _layer(layer: Descriptor, diff_id: Digest, rule: str, docker: bool) -> LayerStep:
    if mediatype.is_foreign(layer.media_type) and layer.urls:
        return LayerStep(layer, diff_id, skip=True)
    if not mediatype.is_layer(layer.media_type):
        return LayerStep(layer, diff_id)
    now = mediatype.compression_of(layer.media_type)
    wanted = {"keep": now, "compress": "gzip" if now == "none" else now}.get(rule, rule)
    if docker and wanted == "zstd":
        wanted = "gzip"  # Docker's schema 2 has no media type for zstd that docker itself would take
    return LayerStep(layer, diff_id, wanted if wanted != now else None)
