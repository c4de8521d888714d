"""``buildlib mount``: makes the root file system of a working container visible to the host."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "mount",
    "Mount the root file systems of working containers, or list those that are mounted",
    accepts="[CONTAINER...]",
    positionals=(0, None),
    example='ls "$(buildlib mount debian-working-container)/etc"',
    details="As root, the mount is visible on the host until `buildlib umount`; without, inside of `buildlib unshare`.",
    flags=(Flag("json", "output in JSON format", kind=BOOL),),
)


def run(args: Arguments) -> int:
    """Print the folder of one container, or name and folder of several."""
    from buildlib.cli.place import open_store

    with open_store(args) as store:
        if args.positionals and store.mounter is not None:
            raise UsageError(
                "without root, what a command mounts ends with it",
                hint="`buildlib unshare` starts a shell in which it stays; `unshare --mount` mounts for one command",
            )
        mounted = _mount(store, args.positionals) if args.positionals else _mounted(store)
    if args.json:
        from buildlib.cli.listing import print_json

        print_json([{"container": name, "mountPoint": folder} for name, folder in mounted])
    elif len(args.positionals) == 1:
        print(mounted[0][1])
    else:
        for name, folder in mounted:
            print(f"{name} {folder}")
    return 0


def _mount(store: Store, names: list[str]) -> list[tuple[str, str]]:
    containers = [store.container(name) for name in names]  # a wrong name mounts nothing
    return [(container.name, container.mount()) for container in containers]


def _mounted(store: Store) -> list[tuple[str, str]]:
    return [(c.name, c.mount_point) for c in store.containers() if c.mount_point is not None]
