"""The manifest of one image, in OCI's format and in Docker's schema 2; the bytes it came from are kept."""

from __future__ import annotations

from buildlib.errors import FormatError
from buildlib.oci import document, mediatype
from buildlib.oci.descriptor import Descriptor
from buildlib.oci.digest import Digest
from buildlib.oci.document import ALWAYS, INTEGER, REQUIRED, TEXT, TEXT_MAP, Field
from buildlib.oci.value import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


@frozen
class Manifest:
    """A config and layers, base first (image-spec, manifest.md).

    A value made by :meth:`parse` gives back exactly the bytes it was parsed from; ``attrs.evolve`` and the
    constructor make a new document, which is encoded when its bytes are first asked for.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = mediatype.OCI_MANIFEST
    annotations: dict[str, str] = field(factory=dict, hash=False)
    artifact_type: str | None = None
    subject: Descriptor | None = None
    schema_version: int = 2
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)
    _raw: bytes | None = field(init=False, default=None, eq=False, repr=False)

    FIELDS = (
        Field("schemaVersion", "schema_version", INTEGER, ALWAYS),
        Field("mediaType", "media_type", TEXT),
        Field("artifactType", "artifact_type", TEXT),
        Field("config", "config", document.one(Descriptor), REQUIRED),
        Field("layers", "layers", document.many(Descriptor), REQUIRED),
        Field("subject", "subject", document.one(Descriptor)),
        Field("annotations", "annotations", TEXT_MAP),
    )

    @classmethod
    def parse(cls, raw: bytes, media_type: str | None = None) -> Manifest:
        """From bytes. ``media_type`` is what the descriptor or the HTTP header said; it must agree with the document.

        Raises :class:`FormatError`, also for a document that could be taken for an index as well (CVE-2021-41190).
        """
        fields = document.load(raw, "manifest")
        if "fsLayers" in fields or fields.get("schemaVersion") == 1 or mediatype.is_schema1(media_type or ""):
            raise FormatError(
                "manifest: Docker's schema 1 is not supported", hint="push the image again with a current tool"
            )
        if "manifests" in fields:
            raise FormatError("manifest: has a list of manifests, so it is an index or hostile")
        fields["mediaType"] = media_type_of(fields, media_type, "manifest")
        manifest = document.read(cls, fields, "manifest")
        if not mediatype.is_manifest(manifest.media_type):
            raise FormatError(f"manifest: {manifest.media_type!r} is not the media type of a manifest")
        object.__setattr__(manifest, "_raw", raw)
        return manifest

    @classmethod
    def build(
        cls,
        config: Descriptor,
        layers: Iterable[Descriptor],
        *,
        media_type: str = mediatype.OCI_MANIFEST,
        annotations: Mapping[str, str] | None = None,
    ) -> Manifest:
        """A new manifest; Docker's format has no annotations, so there they are dropped."""
        notes = {} if media_type == mediatype.DOCKER_MANIFEST else dict(annotations or {})
        return cls(config, tuple(layers), media_type, notes)

    @property
    def raw(self) -> bytes:
        """The bytes of the document, those that were parsed or else an encoding made once."""
        if self._raw is None:
            object.__setattr__(self, "_raw", document.encode(document.write(self)))
        assert self._raw is not None
        return self._raw

    @property
    def digest(self) -> Digest:
        """The digest of :attr:`raw`."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """Media type, digest and size of this document."""
        return Descriptor(self.media_type, self.digest, len(self.raw), artifact_type=self.artifact_type)


def media_type_of(fields: Mapping[str, Any], given: str | None, what: str) -> str:
    """The media type of a document: what it says of itself, which must agree with what it was announced as."""
    said = fields.get("mediaType")
    if said is not None and not isinstance(said, str):
        raise FormatError(f"{what}.mediaType: expected a string")
    given = (given or "").partition(";")[0].strip() or None
    if said and given and said != given:
        raise FormatError(f"{what}: announced as {given!r}, but it says it is {said!r}")
    fallback = mediatype.OCI_INDEX if what == "index" else mediatype.OCI_MANIFEST
    return said or given or fallback


def parse(raw: bytes, media_type: str | None = None) -> Any:
    """A :class:`Manifest` or an :class:`Index`, whichever the bytes are; raises :class:`FormatError`."""
    from buildlib.oci.index import Index

    if media_type is None or not (mediatype.is_manifest(media_type) or mediatype.is_index(media_type)):
        fields = document.load(raw, "manifest")
        if "manifests" in fields and not {"layers", "config"} & fields.keys():
            return Index.parse(raw, media_type)
        return Manifest.parse(raw, media_type)
    return (Index if mediatype.is_index(media_type) else Manifest).parse(raw, media_type)
