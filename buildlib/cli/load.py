"""``buildlib load``: takes the images of an archive into the store."""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "load",
    "Load images from an archive into local storage",
    accepts="",
    positionals=(0, 0),
    example="buildlib load -i site.tar\nssh host docker save site | buildlib load",
    details="The archive may be a docker-archive, an oci-archive, an OCI layout or a dir: folder, compressed or not.",
    flags=(
        Flag("input", "the archive; standard input if it is not a terminal", short="i", metavar="FILE"),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
    ),
)


def run(args: Arguments) -> int:
    """Load, and print what the images are called."""
    from buildlib.cli.place import open_store
    from buildlib.cli.progress import Progress

    if args.input is None and sys.stdin.isatty():
        raise UsageError("cannot read from terminal", hint="use -i, or redirect the input")
    with open_store(args) as store, Progress(args.quiet) as progress:
        loaded = store.load(args.input or "-", progress=progress)
    for image, names in loaded:
        for name in names or [f"sha256:{image.id}"]:
            print(f"Loaded image: {name}")
    return 0
