"""Where an image name leads: containers-registries.conf(5) version 2, its drop-ins and its short-name aliases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildlib.errors import FormatError, TransportError
from buildlib.oci import Reference
from buildlib.oci.value import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DOCKER_HUB_API = "registry-1.docker.io"
"""The host that answers for the name docker.io."""


@frozen
class Endpoint:
    """One place to try for an image: ``reference`` as it is called there, at the API host ``host``."""

    reference: Reference
    host: str
    insecure: bool = False
    mirror: bool = False


@frozen
class Configuration:
    """The merged settings. ``registries`` are the raw tables of the file, the last of equal prefixes wins."""

    search: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(factory=dict)
    registries: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def load(cls, files: Sequence[str]) -> Configuration:
        """Read and merge ``files`` in order; those that do not exist are passed over."""
        import tomllib

        search: tuple[str, ...] = ()
        aliases: dict[str, str] = {}
        registries: dict[str, Mapping[str, Any]] = {}
        for name in files:
            try:
                table = tomllib.loads(Path(name).read_text())
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                raise FormatError(f"{name}: {error}", hint="see containers-registries.conf(5)") from error
            if "registries" in table:
                raise FormatError(f"{name}: written in version 1", hint="rewrite it as version 2 ([[registry]] tables)")
            search = tuple(table.get("unqualified-search-registries", search))
            aliases |= table.get("aliases") or {}
            for registry in table.get("registry") or ():
                key = registry.get("prefix") or registry.get("location")
                if not key:
                    raise FormatError(f"{name}: a [[registry]] has neither prefix nor location")
                registries[key] = registry
        return cls(search, aliases, tuple(registries.values()))

    def candidates(self, name: str) -> list[Reference]:
        """What ``name`` may mean, in the order to try: itself if it names a registry, else by alias, else by search."""
        if is_qualified(name):
            return [Reference.parse(name)]
        repository, suffix = split_suffix(name)
        if alias := self.aliases.get(repository):
            return [Reference.parse(alias + suffix)]
        return [Reference.parse(f"{registry}/{name}") for registry in self.search] or [Reference.parse(name)]

    def endpoints(self, reference: Reference) -> list[Endpoint]:
        """Where to look for ``reference``, mirrors first. TransportError when the registry is blocked."""
        name = f"{reference.registry}/{reference.repository}"
        table = max(
            (each for each in self.registries if matches(prefix_of(each), name)),
            key=lambda each: len(prefix_of(each)),
            default={},
        )
        if table.get("blocked"):
            raise TransportError(f"{reference}: {prefix_of(table)} is blocked by registries.conf")
        prefix = prefix_of(table)
        wanted = {"digest-only"} if reference.digest else {"tag-only"}
        default = "digest-only" if table.get("mirror-by-digest-only") else "all"
        places = [
            (mirror, True)
            for mirror in table.get("mirror") or ()
            if mirror.get("pull-from-mirror", default) in wanted | {"all"}
        ]
        places.append((table, False))
        return [self._endpoint(reference, name, prefix, place, mirror) for place, mirror in places]

    @staticmethod
    def _endpoint(ref: Reference, name: str, prefix: str, place: Mapping[str, Any], mirror: bool) -> Endpoint:
        location = place.get("location")
        if location and prefix.startswith("*."):
            name = location if "/" not in name else f"{location}/{name.partition('/')[2]}"
        elif location:
            name = location + name[len(prefix) :]
        registry, _, repository = name.partition("/")
        host = DOCKER_HUB_API if registry == "docker.io" else registry
        there = Reference(registry, repository, ref.tag, ref.digest)
        return Endpoint(there, host, bool(place.get("insecure")), mirror)


def prefix_of(table: Mapping[str, Any]) -> str:
    """The prefix that a [[registry]] table speaks for."""
    return str(table.get("prefix") or table.get("location") or "")


def matches(prefix: str, name: str) -> bool:
    """Whether ``name`` (registry/repository) is ``prefix`` or below it; ``*.example.com`` matches subdomains."""
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return name == prefix or name.startswith((prefix + "/", prefix + ":"))


def is_qualified(name: str) -> bool:
    """Whether ``name`` starts with a registry: a dot, a colon or ``localhost`` in its first of several parts."""
    first, slash, _ = name.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def split_suffix(name: str) -> tuple[str, str]:
    """The repository and the rest, ``:tag`` and ``@digest`` with their marks."""
    repository, at, digest = name.partition("@")
    head, colon, tag = repository.rpartition(":")
    if colon and "/" not in tag:
        return head, f":{tag}{at}{digest}"
    return repository, at + digest
