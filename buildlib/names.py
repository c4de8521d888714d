"""How images are called: the rules that turn what a user typed into the name of a row, and back into an image."""

from __future__ import annotations

import re

from buildlib.errors import InvalidReference, NotFound, UsageError
from buildlib.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.database import Database
    from buildlib.oci import Platform
    from buildlib.store import Store

LOCAL = "localhost"
"""The registry of names that were given without one to what was built here, as buildah has it."""

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{3,64})")


def normalise(name: str) -> str:
    """The full reference under which a new image is stored: ``site`` is ``localhost/site:latest``.

    Raises :class:`InvalidReference`.
    """
    reference = Reference.parse(name, default_tag="latest")
    return str(Reference.parse(f"{LOCAL}/{name}", default_tag="latest") if _is_short(name) else reference)


def candidates(name: str) -> list[Reference]:
    """The references that ``name`` may mean, best first; none if it is no reference at all (an image id, say)."""
    found = []
    for text in (f"{LOCAL}/{name}", name) if _is_short(name) else (name,):
        try:
            found.append(Reference.parse(text, default_tag="latest"))
        except InvalidReference:
            continue
    return found


def _is_short(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return not slash or not (first == LOCAL or "." in first or ":" in first or first.lower() != first)


def find(db: Database, name: str) -> str:
    """The id of the image that ``name`` means, or the digest ``sha256:…`` of an index.

    Tried in this order: a full reference; ``localhost/name``; ``docker.io/library/name``; ``name@digest`` of an
    image of that repository; an image id, or its beginning (3 hex digits at least), or the digest of a manifest.
    Raises :class:`NotFound` with near names in its hint; :class:`UsageError` for an ambiguous beginning of an id.
    """
    references = candidates(name)
    for reference in references:
        row = db.row("SELECT image FROM names WHERE name = ?", (str(reference),))
        found = row[0] if row else _by_digest(db, reference)
        if found is not None:
            return str(found)
    match = _ID.fullmatch(name)
    found = match and _by_id(db, match[1])
    if found:
        return found
    raise NotFound(f"no image is called {name!r}", hint=near(db, name), kind="image", name=name)


def _by_digest(db: Database, reference: Reference) -> str | None:
    if reference.digest is None:
        return None
    sql = (
        "SELECT i.id, n.name FROM images i JOIN names n ON n.image = i.id WHERE i.manifest = ? "
        "UNION SELECT image, name FROM names WHERE image = ? "
        "UNION SELECT m.image, n.name FROM index_members m JOIN names n ON n.image = m.owner "
        "WHERE m.digest = ? AND m.image IS NOT NULL"
    )
    for image, name in db.rows(sql, (reference.digest,) * 3):
        if Reference.parse(name).name == reference.name:
            return str(image)
    return None


def _by_id(db: Database, start: str) -> str | None:
    rows = db.rows("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (start, start + "g"))
    if len(rows) == 2:
        raise UsageError(f"several images have an id that begins with {start}", hint="give more digits of it")
    if not rows:
        bounds = (f"sha256:{start}", f"sha256:{start}g")
        rows = db.rows("SELECT DISTINCT image FROM names WHERE image >= ? AND image < ? LIMIT 2", bounds)
        if len(rows) == 2:
            raise UsageError(f"several indexes have a digest that begins with {start}", hint="give more digits of it")
    if not rows and len(start) == 64:
        sql = "SELECT id FROM images WHERE manifest = ? UNION SELECT image FROM index_members WHERE digest = ? LIMIT 1"
        rows = [row for row in db.rows(sql, (f"sha256:{start}",) * 2) if row[0]]
    return rows[0][0] if rows else None


def find_container(db: Database, name: str) -> str:
    """The id of the working container called ``name``, or whose id begins so (3 hex digits at least).

    Raises :class:`NotFound` with near names in its hint; :class:`UsageError` for an ambiguous beginning of an id.
    """
    row = db.row("SELECT id FROM containers WHERE name = ?", (name,))
    if row is not None:
        return str(row[0])
    if _ID.fullmatch(name) and ":" not in name:
        rows = db.rows("SELECT id FROM containers WHERE id >= ? AND id < ? LIMIT 2", (name, name + "g"))
        if len(rows) == 2:
            raise UsageError(f"several containers have an id that begins with {name}", hint="give more digits of it")
        if rows:
            return str(rows[0][0])
    shown = {row[0]: row[0] for row in db.rows("SELECT name FROM containers")}
    hint = _did_you_mean(name, shown, "containers", "`buildlib from` makes one")
    raise NotFound(f"no container is called {name!r}", hint=hint, kind="container", name=name)


def choose(store: Store, index: str, name: str, platform: Platform | None) -> str:
    """The id of the image for ``platform`` (by default this machine's) among those that a stored index lists.

    Raises :class:`NotFound` when none of them is here.
    """
    from buildlib.oci import Index, Platform, mediatype

    owner, wanted = index, platform or Platform.host()
    chosen = Index.parse(store.blobs.read(index)).select(wanted)
    while mediatype.is_index(chosen.media_type) and store.blobs.has(chosen.digest):
        chosen = Index.parse(store.blobs.read(chosen.digest)).select(wanted)
    sql = "SELECT image FROM index_members WHERE owner = ? AND digest = ?"
    row = store.db.row(sql, (owner, chosen.digest))
    if row is None or row[0] is None:
        where = f"{name!r} has an image for {chosen.platform}, but not here"
        raise NotFound(where, hint="pull it for this platform", kind="image", name=name)
    return str(row[0])


def near(db: Database, name: str) -> str:
    """A hint for a name that was not found: names that look like it, or how to get an image."""
    shown = {}
    for (full,) in db.rows("SELECT name FROM names"):
        shown[full] = full
        shown[Reference.parse(full).familiar()] = full
        shown[full.removeprefix(f"{LOCAL}/").removesuffix(":latest")] = full
    return _did_you_mean(name, shown, "images", "`buildlib pull` gets one")


def _did_you_mean(name: str, shown: dict[str, str], kind: str, otherwise: str) -> str:
    """``shown``: what may be typed → what is meant by it."""
    from difflib import get_close_matches

    close = list(dict.fromkeys(shown[match] for match in get_close_matches(name, shown, n=3, cutoff=0.6)))
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"`buildlib {kind}` lists what there is" if shown else f"there are no {kind} yet: {otherwise}"
