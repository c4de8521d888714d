"""``buildlib rm``: removes working containers."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "rm",
    "Remove one or more working containers",
    accepts="CONTAINER...",
    positionals=(0, None),
    example="buildlib rm debian-working-container",
    flags=(Flag("all", "remove all containers", short="a", kind=BOOL),),
)


def run(args: Arguments) -> int:
    """Remove the containers and print their ids."""
    from buildlib.cli.many import each
    from buildlib.cli.place import open_store

    if args.all and args.positionals:
        raise UsageError("when using the --all switch, you may not pass any containers names or IDs")
    if not args.all and not args.positionals:
        raise UsageError("container ID must be specified", hint="`buildlib containers` lists them; --all means all")
    with open_store(args) as store:

        def remove(name: str) -> None:
            container = store.container(name)
            id = container.id
            container.remove()
            print(id)

        return each([c.id for c in store.containers()] if args.all else args.positionals, remove)
