"""``buildlib umount``: takes away what ``buildlib mount`` made visible."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "umount",
    "Unmount the root file systems of working containers",
    accepts="CONTAINER...",
    positionals=(0, None),
    example="buildlib umount debian-working-container",
    aliases=("unmount",),
    flags=(Flag("all", "unmount all that are mounted", short="a", kind=BOOL),),
)


def run(args: Arguments) -> int:
    """Unmount, and print the id of each container that was mounted."""
    from buildlib.cli.many import each
    from buildlib.cli.place import open_store

    if args.all and args.positionals:
        raise UsageError("when using the --all switch, you may not pass any container IDs")
    if not args.all and not args.positionals:
        raise UsageError("at least one container ID must be specified")
    with open_store(args) as store:

        def umount(name: str) -> None:
            container = store.container(name)
            if container.umount():
                print(container.id)

        return each([c.id for c in store.containers()] if args.all else args.positionals, umount)
