"""``buildlib manifest rm``: removes image indexes."""

from __future__ import annotations

from buildlib.cli.flags import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "manifest rm",
    "Remove image indexes from local storage",
    accepts="LIST...",
    positionals=(1, None),
    missing="at least one index must be specified",
    example="buildlib manifest rm localhost/site:1.2",
    details="Images that have names of their own, or belong to other indexes, stay.",
)


def run(args: Arguments) -> int:
    """Remove them; print the names and the ids that are gone."""
    from buildlib.cli.many import each
    from buildlib.cli.place import open_store

    with open_store(args) as store:

        def remove(name: str) -> None:
            removed = store.manifest_list(name).remove(name)
            for gone in removed.untagged:
                print(f"untagged: {gone}")
            if removed.deleted:
                print(removed.deleted)

        return each(args.positionals, remove)
