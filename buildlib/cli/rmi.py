"""``buildlib rmi``: removes images."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Image, ManifestList, Store
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "rmi",
    "Remove one or more images from local storage",
    accepts="IMAGE...",
    positionals=(0, None),
    example="buildlib rmi localhost/site:1.2\nbuildlib rmi --all --force",
    details="An image that has several names only loses the one that is given.",
    flags=(
        Flag("all", "remove all images that no container uses", short="a", kind=BOOL),
        Flag("force", "also with several names, and with the containers that use it", short="f", kind=BOOL),
        Flag("prune", "remove all images without a name", short="p", kind=BOOL),
    ),
)


def run(args: Arguments) -> int:
    """Remove the images; print the names and the ids that are gone."""
    from buildlib.cli.many import each
    from buildlib.cli.place import open_store

    _check(args)
    with open_store(args) as store:

        def remove(name: str) -> None:
            found = store.find(name)
            for called in _names(store, found) if args.all and not args.force else [name]:
                removed = store.find(called).remove(called, force=args.force)
                for gone in removed.untagged:
                    print(f"untagged: {gone}")
                if removed.deleted:
                    print(removed.deleted)

        return each(_chosen(store, args), remove)


def _names(store: Store, image: Image | ManifestList) -> list[str]:
    """All names of what has to go without force, so that none of them keeps it; its id where it is in use, or has none.

    What is in use is then refused before it has lost a name.
    """
    used = any(container.image_id == image.id for container in store.containers())
    return [image.id] if used or not image.names else list(image.names)


def _check(args: Arguments) -> None:
    if args.all and args.positionals:
        raise UsageError("when using the --all switch, you may not pass any images names or IDs")
    if args.all and args.prune:
        raise UsageError("when using the --all switch, you may not use --prune switch")
    if args.prune and args.positionals:
        raise UsageError("when using the --prune switch, you may not pass any images names or IDs")
    if not (args.all or args.prune or args.positionals):
        raise UsageError("image name or ID must be specified", hint="`buildlib images` lists them; --all means all")


def _chosen(store: Store, args: Arguments) -> list[str]:
    if args.all:  # indexes first: they hold images
        alone = [image.id for image in store.images() if image.names or not image.lists]
        return [*(index.id for index in store.manifest_lists()), *alone]
    if args.prune:
        return [image.id for image in store.images() if not image.names and not image.lists]
    return list(args.positionals)
