"""Names of images, by the grammar of distribution/reference: ``[registry/]repository[:tag][@digest]``."""

from __future__ import annotations

import re
from collections import namedtuple

from buildlib.errors import FormatError, InvalidReference
from buildlib.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class _Parts(NamedTuple):
        registry: str
        repository: str
        tag: str | None = None
        digest: Digest | None = None
else:
    _Parts = namedtuple("_Parts", "registry repository tag digest", defaults=(None, None))

DEFAULT_REGISTRY = "docker.io"
OFFICIAL = "library"

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ID = re.compile(r"[a-f0-9]{64}")


class Reference(_Parts):
    """A normalised image name: ``debian`` is ``docker.io/library/debian``.

    A named tuple and not an attrs class, because read-only commands parse names and attrs would double their start-up.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, default_tag: str | None = None) -> Reference:
        """Parse and normalise a name. ``default_tag`` is used when there is neither tag nor digest.

        Raises :class:`InvalidReference`, also for an image id (64 hex digits or ``sha256:…``), which is no name.
        """
        rest, at, digest = text.partition("@")
        if not text or text != text.strip():
            raise _invalid(text, "it is empty" if not text.strip() else "it has spaces around it")
        if _ID.fullmatch(text) or re.fullmatch("sha(256|512):[0-9a-fA-F]*", text):
            raise _invalid(text, "that is an image id, not a name")
        name, tag = _split_tag(rest)
        registry, repository = _split_registry(text, name)
        if tag is not None and not _TAG.fullmatch(tag):
            raise _invalid(text, f"{tag!r} is not a tag", "a tag has at most 128 letters, digits, '_', '.' and '-'")
        if tag is None and not at:
            tag = default_tag
        return cls(registry, repository, tag, _digest(text, digest) if at else None)

    def __str__(self) -> str:
        return self.name + self._suffix

    def familiar(self) -> str:
        """The shortest text that parses to this reference, as docker prints it: ``debian:bookworm``."""
        name = self.name
        if self.registry == DEFAULT_REGISTRY:
            name = self.repository
            head, slash, rest = name.partition("/")
            if head == OFFICIAL and slash and "/" not in rest:
                name = rest
        return name + self._suffix

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def with_tag(self, tag: str) -> Reference:
        """The same repository with this tag and no digest."""
        return type(self).parse(f"{self.name}:{tag}")

    def with_digest(self, digest: str) -> Reference:
        """The same repository with this digest and no tag."""
        return type(self)(self.registry, self.repository, None, Digest(digest))

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split_tag(rest: str) -> tuple[str, str | None]:
    """The last colon starts a tag unless a slash follows: then it belongs to the registry's port."""
    name, colon, tag = rest.rpartition(":")
    return (name, tag) if colon and "/" not in tag and name else (rest, None)


def _split_registry(text: str, name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    # A first part that can't be a repository (dot, port, upper case) is a registry, and so is localhost.
    if slash and (first == "localhost" or "." in first or ":" in first or first.lower() != first):
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if not _REGISTRY.fullmatch(registry):
        raise _invalid(text, f"{registry!r} is not the name of a registry")
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"{OFFICIAL}/{repository}"
    if repository.lower() != repository:
        raise _invalid(text, "a repository is written in lower case", f"did you mean {text.lower()!r}?")
    if not _REPOSITORY.fullmatch(repository):
        raise _invalid(
            text,
            "it has a character or an empty part that is not allowed",
            "use lower-case letters and digits, separated by '.', '_', '-' or '/'",
        )
    if len(repository) > 255:
        raise _invalid(text, "a repository has at most 255 characters")
    return registry, repository


def _digest(text: str, digest: str) -> Digest:
    try:
        return Digest(digest)
    except FormatError as error:
        raise _invalid(text, error.message, error.hint) from None


def _invalid(text: str, why: str, hint: str | None = None) -> InvalidReference:
    return InvalidReference(f"invalid image name {text[:300]!r}: {why}", hint=hint)
