"""``buildlib delete``: deletes an image where a transport says, as skopeo does; or containers, as buildah does."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.registry_flags import RETRY_FLAGS, has_transport, place_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "delete",
    "Delete an image from a registry or a layout, or working containers",
    accepts="IMAGE | CONTAINER...",
    positionals=(0, None),
    example="buildlib delete docker://registry.example.com/team/site:1.1\nbuildlib delete debian-working-container",
    details="Of docker://…:TAG the tag alone is deleted where the registry can; where it deletes by digest only,\n"
    "other tags of the same image keep it from being deleted, unless --all-tags. Exits with 2 where there is no\n"
    "such image. What begins with no transport is a container: `buildlib rm`.",
    flags=(
        Flag("all", "remove all containers", short="a", kind=BOOL),
        Flag("all-tags", "delete the image with all its tags", kind=BOOL),
        *RETRY_FLAGS,
        *place_flags(),
    ),
)


def run(args: Arguments) -> int:
    """Delete."""
    if not args.positionals or not has_transport(args.positionals[0]):
        from buildlib.cli.rm import run as remove

        return remove(args)
    from buildlib import delete_image
    from buildlib.cli.many import NO_IMAGE, each
    from buildlib.cli.registry_flags import place_access, place_options

    def delete(name: str) -> None:
        access = place_access(args) if name.startswith("docker://") else None
        for gone in delete_image(name, access=access, all_tags=args.all_tags, **place_options(args, name)):
            print(gone)

    return each(args.positionals, delete, missing=NO_IMAGE)
