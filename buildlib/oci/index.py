"""An image index (Docker calls it a manifest list): manifests of one image for several platforms."""

from __future__ import annotations

from buildlib.errors import FormatError, NotFound
from buildlib.oci import document, mediatype
from buildlib.oci.descriptor import Descriptor
from buildlib.oci.digest import Digest
from buildlib.oci.document import ALWAYS, INTEGER, REQUIRED, TEXT, TEXT_MAP, Field
from buildlib.oci.manifest import media_type_of
from buildlib.oci.value import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from buildlib.oci.platform import Platform

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation by which an OCI image layout names an entry of its index.json."""


@frozen
class Index:
    """A list of descriptors of manifests (image-spec, image-index.md). Bytes are kept as in ``Manifest``."""

    manifests: tuple[Descriptor, ...]
    media_type: str = mediatype.OCI_INDEX
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
        Field("manifests", "manifests", document.many(Descriptor), REQUIRED),
        Field("subject", "subject", document.one(Descriptor)),
        Field("annotations", "annotations", TEXT_MAP),
    )

    @classmethod
    def parse(cls, raw: bytes, media_type: str | None = None) -> Index:
        """From bytes; see :meth:`Manifest.parse` for ``media_type``. Raises :class:`FormatError`."""
        fields = document.load(raw, "index")
        if "layers" in fields or "config" in fields:
            raise FormatError("index: has layers or a config, so it is a manifest or hostile")
        fields["mediaType"] = media_type_of(fields, media_type, "index")
        index = document.read(cls, fields, "index")
        if not mediatype.is_index(index.media_type):
            raise FormatError(f"index: {index.media_type!r} is not the media type of an index")
        object.__setattr__(index, "_raw", raw)
        return index

    @classmethod
    def build(
        cls,
        manifests: Iterable[Descriptor],
        *,
        media_type: str = mediatype.OCI_INDEX,
        annotations: Mapping[str, str] | None = None,
    ) -> Index:
        """A new index; Docker's format has no annotations, so there they are dropped."""
        notes = {} if media_type == mediatype.DOCKER_LIST else dict(annotations or {})
        return cls(tuple(manifests), media_type, notes)

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

    def select(self, platform: Platform) -> Descriptor:
        """The manifest that a machine of ``platform`` runs best; of equals, the first listed.

        An entry without a platform is taken only when it is the only one. Raises :class:`NotFound`, whose hint lists
        what there is.
        """
        ranked = []
        for position, entry in enumerate(self.manifests):
            rank = platform.rank(entry.platform) if entry.platform else None
            if rank is not None:
                ranked.append((rank, position))
        if ranked:
            return self.manifests[min(ranked)[1]]
        if len(self.manifests) == 1 and self.manifests[0].platform is None:
            return self.manifests[0]
        known = sorted({str(entry.platform) for entry in self.manifests if entry.platform})
        raise NotFound(
            f"the index has no image for {platform}",
            hint=f"it has {', '.join(known)}" if known else "it lists no platforms",
            kind="image",
            name=str(platform),
        )
