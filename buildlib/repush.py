"""Whether a push would change anything: asked of the registry before anything that a push needs is even imported.

It answers only where that is certain: for an image that was pushed before with the same options, by what it became
then, to a registry that speaks plain HTTP and asks for no login, and of which registries.conf says nothing.
"""

from __future__ import annotations

import os
from collections import namedtuple

from buildlib.errors import InvalidReference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from buildlib.oci.reference import Reference
    from buildlib.store import Store

    class There(NamedTuple):
        """An image that is in a registry already."""

        digest: str
        blobs: tuple[str, ...]
else:
    There = namedtuple("There", "digest blobs")


def options_key(format: str | None, compression: str | None, level: int | None) -> str:
    """What decides, besides the image, what becomes of it on its way to a registry."""
    return f"{format or ''},{compression or ''},{'' if level is None else level}"


def encode(digest: str, blobs: dict[str, int]) -> str:
    """What a push made of an image, as it is remembered."""
    return " ".join([digest, *(f"{blob}={size}" for blob, size in blobs.items())])


def already_there(store: Store, name: str, destination: str | None, options: str) -> There | None:
    """What ``name`` was pushed as, if the registry still has exactly that; None where it has not, or nobody knows."""
    from buildlib.names import find

    found = find(store.db, name)
    image = found if ":" in found else None
    if image is None:
        (image,) = store.db.row("SELECT manifest FROM images WHERE id = ?", (found,)) or (None,)
    known = store.db.row("SELECT result FROM pushed WHERE manifest = ? AND options = ?", (image, options))
    if known is None:
        return None
    place = _place(store, found, destination)
    if place is None or _is_configured():
        return None
    from buildlib.registry.presence import has_all

    digest, *words = known[0].split(" ")
    blobs = [(blob, int(size)) for blob, _, size in (word.partition("=") for word in words)]
    if not has_all(place.registry, place.repository, place.tag or "", digest, blobs):
        return None
    return There(digest, tuple(blob for blob, _ in blobs))


def _place(store: Store, found: str, destination: str | None) -> Reference | None:
    from buildlib.oci.reference import DEFAULT_REGISTRY, Reference

    if destination is None:
        (destination,) = store.db.row("SELECT name FROM names WHERE image = ? ORDER BY since DESC, name", (found,)) or (
            None,
        )
    transport, slashes, rest = (destination or "").partition("://")
    if slashes and transport != "docker":
        return None
    try:
        place = Reference.parse(rest if slashes else transport, "latest")
    except InvalidReference:
        return None
    return None if place.digest or place.registry == DEFAULT_REGISTRY else place


def _is_configured() -> bool:
    """Whether any file says something about a registry (mirrors, other names, blocks), or a proxy is set."""
    from buildlib.registry.files import configuration_files

    if os.environ.get("http_proxy") or os.environ.get("HTTP_PROXY"):
        return True
    for path in configuration_files(os.environ, os.getuid()):
        try:
            with open(path, "rb") as file:
                text = file.read()
        except FileNotFoundError:
            continue
        except OSError:
            return True
        if any(line.lstrip().startswith(b"[[registry") for line in text.splitlines()):
            return True
    return False
