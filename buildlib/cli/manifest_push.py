"""``buildlib manifest push``: copies an index with its images to somewhere else."""

from __future__ import annotations

from buildlib.cli.copy_image import image_format
from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.registry_flags import PUSH_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "manifest push",
    "Push an image index with its images",
    accepts="LIST [DESTINATION]",
    positionals=(1, 2),
    missing="at least an index must be specified",
    example="buildlib manifest push localhost/site:1.2 docker://registry.example.com/team/site:1.2",
    flags=(
        Flag("add-compression", "images in one more compression", metavar="FORMAT", later=True),
        Flag("all", "push the images as well; --all=false pushes the index alone", kind=BOOL, default=True),
        *PUSH_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Push, and print the digest or write it to a file."""
    from buildlib.cli.place import open_store
    from buildlib.cli.progress import Progress
    from buildlib.cli.registry_flags import access_to

    name = args.positionals[0]
    destination = args.positionals[1] if len(args.positionals) > 1 else None
    with open_store(args) as store, Progress(args.quiet) as progress:
        index = store.manifest_list(name)
        pushed = index.push(
            destination,
            multi_arch="all" if args.all else "index-only",
            format=image_format(args.format),
            compression=args.compression_format,
            level=args.compression_level,
            progress=progress,
            **access_to(args, destination or name),
        )
        if args.rm:
            index.remove(name)
    if args.digestfile is not None:
        with open(args.digestfile, "w", encoding="ascii") as file:
            file.write(str(pushed.digest))
    return 0
