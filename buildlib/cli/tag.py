"""``buildlib tag``: gives an image more names."""

from __future__ import annotations

from buildlib.cli.flags import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "tag",
    "Add one or more names to an image",
    accepts="IMAGE NAME...",
    positionals=(2, None),
    example="buildlib tag localhost/site:1.2 localhost/site:latest",
)


def run(args: Arguments) -> int:
    """Add the names; one that another image has moves to this one."""
    from buildlib.cli.place import open_store

    name, *new = args.positionals
    with open_store(args) as store:
        image = store.find(name)
        for each in new:
            image.tag(each)
    return 0
