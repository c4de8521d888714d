"""``buildlib manifest add``: adds an image to an index."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, Flag, Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.cli.flags import Arguments

ENTRY_FLAGS = (
    Flag("annotation", "an annotation of the image in the index", kind=EACH, metavar="KEY=VALUE"),
    Flag("arch", "the architecture of the image", metavar="ARCH"),
    Flag("features", "features that the image needs (in Docker's format)", kind=LIST, metavar="FEATURE"),
    Flag("os", "the operating system of the image", metavar="OS"),
    Flag("os-features", "features of the operating system that the image needs", kind=LIST, metavar="FEATURE"),
    Flag("os-version", "the version of the operating system", metavar="VERSION"),
    Flag("variant", "the variant of the architecture", metavar="VARIANT"),
)

VERB = Verb(
    "manifest add",
    "Add an image to an image index",
    accepts="LIST IMAGE",
    positionals=(2, 2),
    missing="an index and an image must be specified",
    example="buildlib manifest add localhost/site:1.2 localhost/site-amd64\n"
    "buildlib manifest add --arch arm64 --variant v8 localhost/site:1.2 docker://quay.io/team/site-arm64:1.2",
    details="What the flags do not say is taken from the image. One in a registry stays there until the index is\n"
    "pushed. Prints the id of the index and the digest of the image.",
    flags=(
        Flag("all", "of an image that is an index, add all images", kind=BOOL),
        *ENTRY_FLAGS,
        *REGISTRY_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Add it."""
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import access_to

    name, image = args.positionals
    with open_store(args) as store:
        index = store.manifest_list(name)
        digests = index.add(image, all=args.all, **access_to(args, image), **changes(args))
        for digest in digests:
            print(f"{index.id}: {digest}")
    return 0


def changes(args: Arguments) -> dict[str, Any]:
    """What the flags say of the entry."""
    from buildlib.cli.registry_flags import key_values

    return {
        "os": args.os,
        "architecture": args.arch,
        "variant": args.variant,
        "os_version": args.os_version,
        "os_features": args.os_features,
        "features": args.features,
        "annotations": key_values("annotation", args.annotation),
    }
