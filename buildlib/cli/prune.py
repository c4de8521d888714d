"""``buildlib prune`` (also ``gc``): frees what nothing needs."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "prune",
    "Remove images without a name, unused layers and blobs",
    example="buildlib prune --all --force",
    aliases=("gc",),
    flags=(
        Flag("all", "remove every image that no container uses, and all build caches", short="a", kind=BOOL),
        Flag("force", "also images that containers use, with the containers", short="f", kind=BOOL),
    ),
)


def run(args: Arguments) -> int:
    """Remove, and print the ids of the images that are gone."""
    from buildlib.cli.many import each
    from buildlib.cli.place import open_store

    with open_store(args) as store:

        def remove(id: str) -> None:
            store.image(id).remove(force=args.force or args.all)
            print(id)

        code = each(_chosen(store, args), remove)
        store.gc(everything=args.all)
    return code


def _chosen(store: Store, args: Arguments) -> list[str]:
    used = {container.image_id for container in store.containers()}
    return [
        image.id
        for image in store.images()
        if (args.all or not image.names) and (args.force or image.id not in used)
    ]
