"""Content digests as the OCI image spec writes them: ``algorithm:hex``."""

from __future__ import annotations

import re

from buildlib.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


class Digest(str):
    """A validated digest; otherwise an ordinary string, so it serves as key, file name part and JSON value.

    Only the registered algorithms sha256 and sha512 are accepted, in lower-case hex
    (image-spec, descriptor.md, "Digests"). Raises :class:`FormatError`.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        """Check ``text``."""
        algorithm, colon, hexed = text.partition(":")
        length = _HEX_LENGTH.get(algorithm)
        if not colon or length is None:
            raise FormatError(f"not a digest: {text[:100]!r}", hint="a digest looks like sha256:<64 hex digits>")
        if len(hexed) != length or not _HEX.fullmatch(hexed):
            raise FormatError(f"not a digest: {text[:150]!r}", hint=f"{algorithm} needs {length} lower-case hex digits")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of ``data``."""
        import hashlib

        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The part behind the colon."""
        return self.partition(":")[2]


def chain_id(diff_ids: Iterable[str]) -> tuple[Digest, ...]:
    """The ChainID of each layer with all layers below it, base first (image-spec, config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else Digest(diff_id))
    return tuple(chain)
