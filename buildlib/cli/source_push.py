"""``buildlib source push``: copies a source image to a registry."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "source push",
    "Push a source image to a registry",
    accepts="FOLDER IMAGE",
    positionals=(2, 2),
    missing="accepts 2 arg(s)",
    example="buildlib source push site-source quay.io/team/site:1.2-source",
    flags=(Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL), *REGISTRY_FLAGS),
)


def run(args: Arguments) -> int:
    """Push it, and print the digest."""
    from buildlib import copy_image, source_manifest
    from buildlib.cli.progress import Progress
    from buildlib.cli.registry_flags import access_to

    path, name = args.positionals
    source_manifest(path)
    name = f"docker://{name.removeprefix('docker://')}"
    with Progress(args.quiet) as progress:
        access = access_to(args, name)["access"]
        pushed = copy_image(f"oci:{path}", name, destination_access=access, preserve_digests=True, progress=progress)
    print(pushed.digest)
    return 0
