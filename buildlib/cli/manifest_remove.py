"""``buildlib manifest remove``: takes an image out of an index."""

from __future__ import annotations

from buildlib.cli.flags import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "manifest remove",
    "Remove an image from an image index",
    accepts="LIST IMAGE",
    positionals=(2, 2),
    missing="an index and an image must be specified",
    example="buildlib manifest remove localhost/site:1.2 localhost/site-arm64",
    details="IMAGE is a digest that the index lists, or an image of the store. The image itself stays.",
)


def run(args: Arguments) -> int:
    """Take it out; print the id of the index and the digest."""
    from buildlib.cli.place import open_store

    with open_store(args) as store:
        index = store.manifest_list(args.positionals[0])
        digest = index.remove_image(args.positionals[1])
        print(f"{index.id}: {digest}")
    return 0
