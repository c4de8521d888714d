"""``buildlib manifest create``: makes an image index."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, Flag, Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "manifest create",
    "Create an image index (manifest list)",
    accepts="NAME [IMAGE...]",
    positionals=(1, None),
    missing="at least a name must be specified for the list",
    example="buildlib manifest create localhost/site:1.2 localhost/site-amd64 docker://quay.io/team/site-arm64:1.2",
    details="Prints the id of the index. An IMAGE in a registry stays there until the index is pushed or pulled.",
    flags=(
        Flag("all", "of an IMAGE that is an index, add all images", kind=BOOL),
        Flag("amend", "add to the index if it is there already", kind=BOOL),
        Flag("annotation", "an annotation of the index", kind=EACH, metavar="KEY=VALUE"),
        Flag("replace", "take the name from what it means now", kind=BOOL),
        *REGISTRY_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Create it."""
    from contextlib import suppress

    from buildlib import ManifestList
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import access_to, key_values
    from buildlib.errors import NotFound

    name, *images = args.positionals
    access = access_to(args, images[0]).get("access") if images else None
    with open_store(args) as store:
        found = None
        if args.amend:
            with suppress(NotFound):
                found = store.find(name)
        if isinstance(found, ManifestList):
            for image in images:
                found.add(image, all=args.all, access=access)
            if args.annotation:
                found.annotate_index(key_values("annotation", args.annotation))
        else:
            notes = key_values("annotation", args.annotation)
            found = store.create_manifest_list(
                name, images, all=args.all, access=access, annotations=notes, replace=args.replace
            )
        print(found.id)
    return 0
