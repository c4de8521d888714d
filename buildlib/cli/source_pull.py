"""``buildlib source pull``: copies a source image from a registry."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "source pull",
    "Pull a source image from a registry into a folder",
    accepts="IMAGE FOLDER",
    positionals=(2, 2),
    missing="accepts 2 arg(s)",
    example="buildlib source pull quay.io/team/site:1.2-source site-source",
    flags=(Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL), *REGISTRY_FLAGS),
)


def run(args: Arguments) -> int:
    """Pull it, if it is one."""
    import os

    from buildlib import Manifest, copy_image, inspect_image
    from buildlib.cli.progress import Progress
    from buildlib.cli.registry_flags import access_to
    from buildlib.errors import FormatError, NameInUse

    name, path = args.positionals
    if os.path.lexists(path):
        raise NameInUse(f"pulling the source image: {path} already exists", kind="path", name=path)
    name = f"docker://{name.removeprefix('docker://')}"
    access = access_to(args, name)["access"]
    found = Manifest.parse(inspect_image(name, access=access).raw)
    if not found.config.media_type.startswith("application/vnd.oci.source.image.config"):
        raise FormatError(f"{name} is not a source image: its config is {found.config.media_type}")
    with Progress(args.quiet) as progress:
        copy_image(name, f"oci:{path}", source_access=access, preserve_digests=True, progress=progress)
    return 0
