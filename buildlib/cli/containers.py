"""``buildlib containers``: lists working containers straight from the database, without opening the store."""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, LIST, Flag, Verb
from buildlib.cli.listing import SHORT_ID, formatted, parse_filters, print_json
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.cli.flags import Arguments

VERB = Verb(
    "containers",
    "List working containers and their base images",
    example="buildlib containers --format '{{.ContainerID}} {{.ContainerName}}'",
    aliases=("list", "ls", "ps"),
    flags=(
        Flag("all", "accepted; all containers are ours", short="a", kind=BOOL, no_op=True),
        Flag("filter", "only containers with id=ID, name=NAME or ancestor=IMAGE", short="f", kind=LIST),
        Flag("format", "print each container by this Go template", metavar="TEMPLATE"),
        Flag("json", "output in JSON format", kind=BOOL),
        Flag("noheading", "do not print column headings", short="n", kind=BOOL),
        Flag("notruncate", "do not shorten ids", kind=BOOL),
        Flag("quiet", "print only ids", short="q", kind=BOOL),
    ),
)

_ROWS = "SELECT id, image, image_name, name FROM containers ORDER BY created, id"
_HEADING = ("CONTAINER ID", "BUILDER", "IMAGE ID", "IMAGE NAME", "CONTAINER NAME")
_HEADINGS = dict(zip(("ContainerID", "Builder", "ImageID", "ImageName", "ContainerName"), _HEADING, strict=True))


def run(args: Arguments) -> int:
    """Print the containers as a table, as JSON, by a template or as bare ids."""
    if args.quiet and args.format:
        raise UsageError("quiet and format are mutually exclusive")
    rows = _select(args)
    if args.json:
        print_json([_json_record(*row) for row in rows])
    elif args.format:
        records = [_record(*row) for row in rows]
        sys.stdout.write(formatted(args.format, records, _HEADINGS, heading=not args.noheading))
    elif args.quiet:
        sys.stdout.write("".join(f"{row[0]}\n" for row in rows))
    else:
        sys.stdout.write(_table(rows, heading=not args.noheading, full=args.notruncate))
    return 0


def _select(args: Arguments) -> list[tuple[str, str, str, str]]:
    from buildlib.cli.place import open_database

    filters = parse_filters(args.filter, ("ancestor", "id", "name"))
    database = open_database(args)
    if database is None:
        return []
    rows = [(id, image or "", image_name, name) for id, image, image_name, name in database.rows(_ROWS)]
    for key, values in filters.items():
        rows = [row for row in rows if any(_matches(key, value, *row) for value in values)]
    return rows


def _matches(key: str, value: str, id: str, image: str, image_name: str, name: str) -> bool:
    if key == "id":
        return id.startswith(value)
    if key == "name":
        return value in name
    repository = image_name.rpartition(":")[0]
    endings = (image_name, repository)
    return bool(image) and (
        image.startswith(value.removeprefix("sha256:")) or any(f"/{text}".endswith(f"/{value}") for text in endings)
    )


def _table(rows: list[tuple[str, str, str, str]], *, heading: bool, full: bool) -> str:
    width = 64 if full else SHORT_ID
    lines = []
    if heading:
        first, builder, image_id, image_name, name = _HEADING
        lines.append(f"{first:<{width}}  {builder:<8} {image_id:<{width}} {image_name:<32} {name}\n")
    for id, image, image_name, name in rows:
        lines.append(f"{id[:width]:<{width}}     *     {image[:width]:<{width}} {image_name:<32} {name}\n")
    return "".join(lines)


def _record(id: str, image: str, image_name: str, name: str) -> Any:
    from buildlib.cli.template import Struct

    return Struct(
        {"ContainerID": id, "Builder": "   *", "ImageID": image, "ImageName": image_name, "ContainerName": name}
    )


def _json_record(id: str, image: str, image_name: str, name: str) -> dict[str, Any]:
    return {"id": id, "builder": True, "imageid": image, "imagename": image_name, "containername": name}
