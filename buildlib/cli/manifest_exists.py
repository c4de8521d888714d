"""``buildlib manifest exists``: whether there is an index of that name."""

from __future__ import annotations

from buildlib.cli.flags import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "manifest exists",
    "Check whether an image index is in local storage",
    accepts="NAME",
    positionals=(1, 1),
    missing="a name must be specified",
    example="buildlib manifest exists localhost/site:1.2 && echo yes",
    details="Exits with 0 if it is, with 1 if not.",
)


def run(args: Arguments) -> int:
    """Say it by the exit code."""
    from buildlib.cli.place import open_store
    from buildlib.errors import NotFound, UsageError

    with open_store(args) as store:
        try:
            store.manifest_list(args.positionals[0])
        except (NotFound, UsageError):
            return 1
    return 0
