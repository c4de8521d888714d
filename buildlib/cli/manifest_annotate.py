"""``buildlib manifest annotate``: changes what an index says of an image, or of itself."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.manifest_add import ENTRY_FLAGS
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "manifest annotate",
    "Change what an image index says of an image, or of itself",
    accepts="LIST IMAGE | --index LIST",
    positionals=(1, 2),
    missing="an index and an image must be specified",
    example="buildlib manifest annotate --arch arm64 --variant v8 localhost/site:1.2 localhost/site-arm64",
    details="IMAGE is a digest that the index lists, or an image of the store. Prints the id of the index and the\n"
    "digest of the image.",
    flags=(
        *ENTRY_FLAGS,
        Flag("index", "set annotations of the index itself", kind=BOOL),
        Flag("subject", "the image that the index is about", metavar="IMAGE"),
    ),
)


def run(args: Arguments) -> int:
    """Change it."""
    from buildlib.cli.manifest_add import changes
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import key_values

    name, *images = args.positionals
    whole = args.index or args.subject is not None
    if whole == bool(images):
        raise UsageError("either an image or --index must be given" if images else "an image must be specified")
    with open_store(args) as store:
        index = store.manifest_list(name)
        if whole:
            subject = None
            if args.subject is not None:
                found = store.find(args.subject)
                subject = getattr(found, "manifest", None) or found.index  # type: ignore[union-attr]
            index.annotate_index(key_values("annotation", args.annotation), subject.descriptor if subject else None)
            print(index.id)
        else:
            digest = index.annotate(images[0], **changes(args))
            print(f"{index.id}: {digest}")
    return 0
