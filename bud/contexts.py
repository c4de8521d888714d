"""Build contexts by name: what a ``--build-context`` means, which one a FROM or a ``from`` refers to, and its files.

They go before stages and before images of the same name. Nothing is fetched before something asks for it.
"""

from __future__ import annotations

import os

from buildlib.errors import InvalidReference, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, NamedTuple

    from buildlib import IgnorePatterns, Store, WorkingContainer
else:
    from bud.value import NamedTuple

MAIN = ""
"""The name of the context that COPY takes from when nothing else is said."""

TARGET = "target:"
_IMAGES = ("docker-image://", "container-image://", "docker://")
_LAYOUT = "oci-layout://"


class Place(NamedTuple):
    """Where a context is: a ``folder`` of this machine, something to be ``fetched``, or an ``image``."""

    kind: str
    where: str


def read_names(words: Mapping[str, str]) -> dict[str, str]:
    """The contexts of ``--build-context NAME=WHERE``, by names as they are looked up. Raises :class:`UsageError`."""
    found: dict[str, str] = {}
    for name, where in words.items():
        if not name or not where:
            raise UsageError(f"--build-context {name}={where} can't be read", hint="write NAME=WHERE")
        base, colons, platform = name.partition("::")
        found[f"{_familiar(base)}{colons}{platform}"] = where
        if not where.startswith(TARGET):
            place_of(where)
    return found


def find(names: Mapping[str, str], name: str, platform: str) -> str | None:
    """The context that goes before the stage or image ``name``, the one for that platform first; None: there is none.

    >>> find({"alpine::linux/arm64": "a", "alpine": "b"}, "alpine:latest", "linux/amd64")
    'alpine'
    """
    if not names or not name:
        return None
    short = _familiar(name)
    return next((known for known in (f"{short}::{platform}", short) if known in names), None)


def _familiar(name: str) -> str:
    """An image's name as people write it; stages have names that stay as they are."""
    from buildlib import Reference

    try:
        return Reference.parse(name).familiar().removesuffix(":latest")
    except InvalidReference:
        return name


def place_of(where: str) -> Place:
    """Read the value of a ``--build-context``. Raises :class:`UsageError`."""
    for prefix in _IMAGES:
        if where.startswith(prefix):
            return Place("image", where.removeprefix(prefix))
    if where.startswith(_LAYOUT):
        return Place("image", _layout(where.removeprefix(_LAYOUT)))
    if is_remote(where):
        return Place("fetched", where)
    if "://" in where:
        hint = "give a folder, a URL, a git repository, docker-image://…, oci-layout://… or target:…"
        raise UsageError(f"the build context {where[:200]} can't be read", hint=hint)
    if not os.path.isdir(where):
        raise UsageError(f"the build context {where} is no folder", hint="a URL or docker-image://… could be meant")
    return Place("folder", where)


def is_remote(where: str) -> bool:
    """Whether a context is to be fetched: a URL, or a git repository."""
    return where.startswith(("http://", "https://", "git://", "ssh://", "git@", "github.com/"))


def _layout(text: str) -> str:
    """``path[:tag]`` or ``path[:tag]@digest`` as the name of an image."""
    path, at, digest = text.partition("@")
    if not at:
        return f"oci:{path}"
    import json

    folder = path.rpartition(":")[0] if ":" in path.rpartition("/")[2] else path
    try:
        with open(f"{folder}/index.json", "rb") as file:
            listed = list(dict.fromkeys(entry["digest"] for entry in json.load(file)["manifests"]))
        return f"oci:{folder}:@{listed.index(digest)}"
    except (OSError, KeyError, TypeError, ValueError):
        raise UsageError(f"the OCI layout {folder} has no image {digest[:80]}") from None


class Contexts:
    """The contexts of one build. ``folder`` and ``ignore`` are those of the main one."""

    def __init__(self, store: Store, folder: str, ignore: IgnorePatterns, named: Mapping[str, str]) -> None:
        self._store = store
        self._named = named
        self._folders: dict[str, tuple[str, IgnorePatterns]] = {MAIN: (folder, ignore)}
        self._filtered: dict[str, WorkingContainer] = {}
        self._opened: list[Any] = []

    def place(self, name: str) -> Place:
        """Where an additional context is."""
        return place_of(self._named[name])

    def folder(self, name: str) -> str:
        """The folder of a context, which is fetched now if that has not been done."""
        return self._open(name)[0]

    def ignore(self, name: str) -> IgnorePatterns:
        """What is left out of it: what its own ignore file says, if it is a folder of this machine."""
        if name not in self._folders and self.place(name).kind == "fetched":
            from buildlib import IgnorePatterns

            return IgnorePatterns()
        return self._open(name)[1]

    def _open(self, name: str) -> tuple[str, IgnorePatterns]:
        if name not in self._folders:
            from bud import dockerignore
            from buildlib import IgnorePatterns

            place = self.place(name)
            if place.kind == "fetched":
                context = self._store.context(place.where)
                self._opened.append(context)
                self._folders[name] = context.path, IgnorePatterns()
            else:
                self._folders[name] = place.where, dockerignore.read(dockerignore.find(place.where, None))
        return self._folders[name]

    def filtered(self, name: str) -> WorkingContainer:
        """A container with the files of a context, and without what is ignored: for mounts to take from."""
        if name not in self._filtered:
            container = self._store.from_image("scratch", cache=True, temporary=True)
            self._filtered[name] = container
            container.copy(".", dest="/", context=self.folder(name), ignore=self.ignore(name))
        return self._filtered[name]

    def containers(self) -> Iterator[WorkingContainer]:
        """Those that were made for it."""
        return iter(self._filtered.values())

    def close(self) -> None:
        """Remove what was made and fetched."""
        for container in self._filtered.values():
            container.remove()
        for context in self._opened:
            context.close()
        self._filtered.clear()
        self._opened.clear()
