"""Names of images in containers-storage; the grammar is that of containers-transports(5). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from buildlib.errors import UsageError
from buildlib.oci.reference import Reference
from buildlib.transports.containers_storage.settings import RUNROOT, Settings

if TYPE_CHECKING:
    from typing import NoReturn

_ID = re.compile(r"[0-9a-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{3,64}")
_HINT = "write containers-storage:[DRIVER@/ROOT+/RUNROOT:OPTIONS]NAME:TAG, or @ID for the name"


@frozen
class Wanted:
    """An image of a store: by name, by id, or by both, which must agree."""

    settings: Settings
    reference: Reference | None
    id: str | None = None
    """The whole id, or at least three digits of its beginning."""
    maybe_id: str | None = None
    """The text of the name where it may also be the beginning of an id: that comes first if there is such an image."""

    def __str__(self) -> str:
        return str(self.reference or "") + (f"@{self.id}" if self.id else "")


def parse(rest: str, settings: Settings | None = None) -> Wanted:
    """What stands behind ``containers-storage:``; without ``settings`` a name with no store means root's own.

    Raises :class:`UsageError`.
    """
    if rest.startswith("["):
        text, closed, rest = rest[1:].partition("]")
        if not closed:
            _fail(rest, "has no ] for its [")
        settings = _store(text)
    if settings is None:
        import os

        settings = Settings.of_user({}, os.geteuid())
    name, at, tail = rest.rpartition("@")
    if at and _SHORT_ID.fullmatch(tail):
        return Wanted(settings, Reference.parse(name, "latest") if name else None, tail)
    if _ID.fullmatch(rest):
        return Wanted(settings, None, rest)
    if not rest:
        _fail(rest, "names no image")
    return Wanted(settings, Reference.parse(rest, "latest"), maybe_id=rest if _SHORT_ID.fullmatch(rest) else None)


def _store(text: str) -> Settings:
    """``[driver@]root[+runroot][:options]``."""
    driver, at, rest = text.partition("@")
    if not at:
        driver, rest = "", text
    elif not driver:
        _fail(text, "has no driver in front of the @")
    places, _, options = rest.partition(":")
    root, plus, runroot = places.partition("+")
    if not root.startswith("/") or (plus and not runroot.startswith("/")):
        _fail(text, "must name the root, and the runroot if any, by absolute paths")
    chosen = tuple(option for option in options.split(",") if option)
    return Settings(root.rstrip("/") or "/", runroot or RUNROOT, driver or None, chosen).checked()


def _fail(text: str, why: str) -> NoReturn:
    raise UsageError(f"containers-storage: {text!r} {why}", hint=_HINT)
