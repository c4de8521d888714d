"""``buildlib images``: lists images straight from the database, without opening the store."""

from __future__ import annotations

import sys

from buildlib.cli import human
from buildlib.cli.flags import BOOL, LIST, Flag, Verb
from buildlib.cli.listing import SHORT_ID, formatted, parse_filters, print_json, truth
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildlib.cli.flags import Arguments

VERB = Verb(
    "images",
    "List images in local storage",
    accepts="[IMAGE]",
    positionals=(0, 1),
    example="buildlib images --filter label=team=web --format '{{.ID}} {{.Name}}:{{.Tag}}'",
    flags=(
        Flag("all", "show the images of indexes, too", short="a", kind=BOOL),
        Flag("digests", "show the digests of the manifests", kind=BOOL),
        Flag(
            "filter", "only images with before=IMAGE, since=IMAGE, dangling=BOOL, id=ID, label=KEY[=VALUE], "
            "reference=PATTERN, readonly=BOOL or intermediate=BOOL", short="f", kind=LIST,
        ),
        Flag("format", "print each image by this Go template", metavar="TEMPLATE"),
        Flag("history", "show the other names that an image has or had, the newest first", kind=BOOL),
        Flag("json", "output in JSON format", kind=BOOL),
        Flag("no-trunc", "do not shorten ids", kind=BOOL),
        Flag("noheading", "do not print column headings", short="n", kind=BOOL),
        Flag("quiet", "print only ids", short="q", kind=BOOL),
    ),
)  # fmt: skip

_FILTERS = ("after", "before", "dangling", "id", "intermediate", "label", "readonly", "reference", "since")

_NONE = "<none>"
_HEADINGS = {
    "Name": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID", "CreatedAt": "CREATED", "Size": "SIZE",
    "History": "HISTORY", "Created": "CREATED", "CreatedAtRaw": "CREATED", "ReadOnly": "READONLY",
}  # fmt: skip
_ALL_ROWS = """
SELECT i.id, i.manifest, i.created, i.size, n.name, n.since FROM images i LEFT JOIN names n ON n.image = i.id
WHERE n.name IS NOT NULL OR ? OR i.id NOT IN (SELECT image FROM index_members WHERE image IS NOT NULL)
UNION ALL
SELECT substr(image, 8), image, since, (
    SELECT coalesce(sum(size), 0) FROM images WHERE id IN (SELECT image FROM index_members WHERE owner = names.image)
), name, since FROM names WHERE image LIKE 'sha256:%'
ORDER BY 3 DESC, 1, 6, 5
"""
"""Images with their names, newest image and oldest name first; a name of an index stands for the index. Its images are
listed only if they have names of their own, or all are asked for."""


class _Listed:
    """An image as it is listed: id, digest of its manifest, when it was created, its size, its names."""

    __slots__ = ("created", "history", "id", "manifest", "names", "size")

    def __init__(self, id: str, manifest: str, created: float, size: int) -> None:
        self.id = id
        self.manifest = manifest
        self.created = created
        self.size = size
        self.names: list[str] = []
        self.history: list[str] = []
        """All names that it has or had, newest first; only read where they are shown."""


def run(args: Arguments) -> int:
    """Print the images as a table, as JSON, by a template or as bare ids."""
    if args.quiet and args.format:
        raise UsageError("quiet and format are mutually exclusive")
    images = _select(args, _load(args))
    if args.json:
        print_json([_json_record(image, args.no_trunc) for image in images])
    elif args.format:
        records = [record for image in images for record in _records(image, args.no_trunc)]
        sys.stdout.write(formatted(args.format, records, _HEADINGS, heading=not args.noheading))
    elif args.quiet:
        sys.stdout.write("".join(f"{_shown_id(image, args.no_trunc)}\n" for image in images))
    else:
        sys.stdout.write(_table(images, args))
    return 0


def _load(args: Arguments) -> list[_Listed]:
    from buildlib.cli.place import open_database

    database = open_database(args)
    if database is None:
        return []
    images: dict[str, _Listed] = {}
    for id, manifest, created, size, name, _ in database.rows(_ALL_ROWS, (args.all,)):
        image = images.get(id)
        if image is None:
            image = images[id] = _Listed(id, manifest, created, size)
        if name is not None:
            image.names.append(name)
    if args.history or "History" in (args.format or ""):
        for id, name in database.rows("SELECT image, name FROM former_names ORDER BY since DESC, name"):
            if id.removeprefix("sha256:") in images:
                images[id.removeprefix("sha256:")].history.append(name)
    return list(images.values())


def _select(args: Arguments, images: list[_Listed]) -> list[_Listed]:
    if args.positionals:
        wanted = _find(args, args.positionals[0])
        images = [image for image in images if image.id == wanted]
    for key, values in parse_filters(args.filter, _FILTERS).items():
        images = _filtered(args, images, key, values)
    return images


def _find(args: Arguments, name: str) -> str:
    """The id of the image called ``name``, by all the rules for names."""
    from buildlib.cli.place import open_store

    with open_store(args) as store:
        return str(store.find(name).id)


def _filtered(args: Arguments, images: list[_Listed], key: str, values: Sequence[str]) -> list[_Listed]:
    """Of several values of one key, one must match."""
    if key == "label":
        return [image for image in images if _has_label(args, image, values)]
    if key == "id":
        ids = [value.removeprefix("sha256:") for value in values]
        return [image for image in images if any(image.id.startswith(id) for id in ids)]
    if key == "reference":
        return [image for image in images if any(_named(name, v) for name in image.names for v in values)]
    if key in ("before", "since", "after"):
        found = _find(args, values[-1])
        when = next(image.created for image in images if image.id == found)
        return [i for i in images if (i.created < when if key == "before" else i.created > when)]
    yes = truth(key, values[-1])
    if key == "dangling":
        return [image for image in images if bool(image.names) != yes]
    return [] if yes else images  # readonly, intermediate: no image is


def _has_label(args: Arguments, image: _Listed, wanted: Sequence[str]) -> bool:
    import json

    from buildlib.cli.place import store_root

    try:
        with open(f"{store_root(args)}/blobs/sha256/{image.id}", "rb") as file:
            labels: dict[str, Any] = json.load(file)["config"].get("Labels") or {}
    except (OSError, ValueError, KeyError):  # an index, or a damaged image, which `check` reports
        return False
    return any(labels.get(key) == value if equals else key in labels
               for key, equals, value in (word.partition("=") for word in wanted))  # fmt: skip


def _named(name: str, pattern: str) -> bool:
    """Whether a pattern matches a name, or the end of it from any "/" on, with or without its tag."""
    from fnmatch import fnmatchcase

    repository, _ = _split(name)
    wanted = pattern.split("/")
    for candidate in (name, repository):
        parts = candidate.split("/")[-len(wanted) :]
        if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
            return True
    return False


def _split(name: str | None) -> tuple[str, str]:
    """Repository and tag, as two columns show them."""
    if name is None:
        return _NONE, _NONE
    name = name.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, _NONE
    return repository, tag


def _names(image: _Listed) -> Sequence[str | None]:
    return image.names or (None,)


def _shown_id(image: _Listed, full: bool) -> str:
    return f"sha256:{image.id}" if full else image.id[:SHORT_ID]


def _age(image: _Listed) -> str:
    import time

    return human.age(time.time() - image.created)


def _table(images: list[_Listed], args: Arguments) -> str:
    rows = []
    if not args.noheading:
        shown = ["Name", "Tag", *(["Digest"] if args.digests else []), "ID", "CreatedAt", "Size"]
        rows.append([_HEADINGS[name] for name in (*shown, *(["History"] if args.history else []))])
    for image in images:
        tail = [_shown_id(image, args.no_trunc), _age(image), human.size(image.size)]
        digest = [image.manifest] if args.digests else []
        rows.extend(
            [*_split(name), *digest, *tail, *([_history(image, name)] if args.history else [])]
            for name in _names(image)
        )
    return human.table(rows)


def _history(image: _Listed, name: str | None) -> str:
    """The names but for the one that this line is about, if it is the newest."""
    names = image.history[1:] if image.history[:1] == [name] else image.history
    return ", ".join(names) or _NONE


def _records(image: _Listed, full: bool) -> list[Any]:
    from buildlib.cli.template import Struct, Time

    records = []
    for name in _names(image):
        repository, tag = _split(name)
        fields = {
            "Tag": tag,
            "ID": _shown_id(image, full),
            "Name": repository,
            "Digest": image.manifest,
            "Created": int(image.created),
            "CreatedAt": _age(image),
            "Size": human.size(image.size),
            "CreatedAtRaw": Time(human.timestamp(image.created)),
            "ReadOnly": False,
            "History": _history(image, name),
        }
        records.append(Struct(fields))
    return records


def _json_record(image: _Listed, full: bool) -> dict[str, Any]:
    return {
        "id": _shown_id(image, full),
        "names": image.names or None,
        "digest": image.manifest,
        "createdat": _age(image),
        "size": human.size(image.size),
        "created": int(image.created),
        "createdatraw": human.timestamp(image.created),
        "readonly": False,
        "history": image.history or None,
    }
