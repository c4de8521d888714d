"""``buildlib rename``: gives a working container another name."""

from __future__ import annotations

from buildlib.cli.flags import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "rename",
    "Rename a working container",
    accepts="CONTAINER NAME",
    positionals=(2, 2),
    missing="a container and its new name must be specified",
    example="buildlib rename debian-working-container base",
)


def run(args: Arguments) -> int:
    """Rename it."""
    from buildlib.cli.place import open_store

    name, new = args.positionals
    with open_store(args) as store:
        store.container(name).rename(new)
    return 0
