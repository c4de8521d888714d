"""Platforms: which operating system and processor an image is for, and which images a machine can run."""

from __future__ import annotations

from buildlib.errors import UsageError
from buildlib.oci import document
from buildlib.oci.document import OPTIONAL, REQUIRED, TEXT, TEXTS, Field
from buildlib.oci.value import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Names that kernels and distributions use, and the GOARCH/variant the specs want (containerd/platforms, database.go).
_ARCHITECTURES = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "i386": ("386", None),
    "i486": ("386", None),
    "i586": ("386", None),
    "i686": ("386", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "ppc64el": ("ppc64le", None),
    "loongarch64": ("loong64", None),
}
_DEFAULT_VARIANT = {"arm": "v7", "arm64": "v8", "amd64": "v1"}


@frozen
class Platform:
    """An operating system, an architecture in Go's words, and what refines them (image-spec, image-index.md)."""

    os: str
    architecture: str
    variant: str | None = None
    os_version: str | None = None
    os_features: tuple[str, ...] = ()
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("architecture", "architecture", TEXT, REQUIRED),
        Field("os", "os", TEXT, REQUIRED),
        Field("os.version", "os_version", TEXT, OPTIONAL),
        Field("os.features", "os_features", TEXTS, OPTIONAL),
        Field("variant", "variant", TEXT, OPTIONAL),
    )

    @classmethod
    def from_dict(cls, value: object, where: str = "platform") -> Platform:
        """From the JSON object of a descriptor."""
        return document.read(cls, value, where)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of a descriptor."""
        return document.write(self)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """From ``os/architecture[/variant]``, or an architecture alone (of Linux). Raises :class:`UsageError`."""
        parts = text.strip().lower().split("/")
        if not 1 <= len(parts) <= 3 or not all(parts) or not all(p.replace("_", "").isalnum() for p in parts):
            raise UsageError(f"not a platform: {text!r}", hint="write it as linux/amd64 or linux/arm/v7")
        if len(parts) == 1:
            parts = ["linux", parts[0]]
        architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], None))
        return cls(parts[0], architecture, parts[2] if len(parts) == 3 else variant)

    @classmethod
    def host(cls) -> Platform:
        """The platform of this machine, as the kernel tells it."""
        import os

        machine = os.uname().machine.lower()
        architecture, variant = _ARCHITECTURES.get(machine, (machine, None))
        return cls("linux", architecture, variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def matches(self, other: Platform) -> bool:
        """Whether ``other`` means the same kind of machine; ``arm64`` is ``arm64/v8``, ``amd64`` is ``amd64/v1``."""
        return (
            self.os == other.os
            and self.architecture == other.architecture
            and self._variant == other._variant
            and (not self.os_version or not other.os_version or _starts(other.os_version, self.os_version))
        )

    def rank(self, image: Platform) -> int | None:
        """How well a machine of this platform runs ``image``: 0 is best, None is not at all.

        A 32-bit ARM runs images for older variants, an amd64 machine of level v3 those for v2 and v1.
        """
        if self.matches(image):
            return 0
        if (self.os, self.architecture) != (image.os, image.architecture) or self.architecture not in ("arm", "amd64"):
            return None
        ours, theirs = _level(self._variant), _level(image._variant)
        if ours is None or theirs is None or theirs > ours:
            return None
        return ours - theirs

    @property
    def _variant(self) -> str | None:
        return self.variant or _DEFAULT_VARIANT.get(self.architecture)


def _level(variant: str | None) -> int | None:
    digits = (variant or "").removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else None


def _starts(version: str, wanted: str) -> bool:
    return version == wanted or version.startswith(wanted + ".")
