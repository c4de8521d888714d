"""Descriptors: the currency for bytes. What they are, how many, and the digest that proves it."""

from __future__ import annotations

from buildlib.errors import FormatError
from buildlib.oci import document
from buildlib.oci.digest import Digest
from buildlib.oci.document import REQUIRED, SIZE, TEXT, TEXT_MAP, TEXTS, Field, Kind
from buildlib.oci.platform import Platform
from buildlib.oci.value import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _read_digest(value: object, where: str) -> Digest:
    text = document.TEXT.read(value, where)
    try:
        return Digest(text)
    except FormatError as error:
        raise FormatError(f"{where}: {error.message}", hint=error.hint) from None


DIGEST = Kind(_read_digest, str)
DIGESTS = Kind(
    lambda value, where: tuple(_read_digest(x, f"{where}[{i}]") for i, x in enumerate(document.array(value, where))),
    lambda held: [str(digest) for digest in held],
)


@frozen
class Descriptor:
    """A reference to content by its digest (image-spec, descriptor.md). ``size`` is in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = field(factory=dict, hash=False)
    urls: tuple[str, ...] = ()
    artifact_type: str | None = None
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("mediaType", "media_type", TEXT, REQUIRED),
        Field("digest", "digest", DIGEST, REQUIRED),
        Field("size", "size", SIZE, REQUIRED),
        Field("urls", "urls", TEXTS),
        Field("annotations", "annotations", TEXT_MAP),
        Field("platform", "platform", document.one(Platform)),
        Field("artifactType", "artifact_type", TEXT),
    )

    @classmethod
    def from_dict(cls, value: object, where: str = "descriptor") -> Descriptor:
        """From a JSON object; raises :class:`FormatError` that names the wrong field."""
        return document.read(cls, value, where)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object, fields in the order of the image spec."""
        return document.write(self)

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Descriptor:
        """The descriptor of bytes at hand."""
        return cls(media_type, Digest.of(data), len(data))
