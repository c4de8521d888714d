"""``buildlib source create``: makes an empty source image."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "source create",
    "Create a source image: a layout for what an image was made of",
    accepts="FOLDER",
    positionals=(1, 1),
    missing="accepts 1 arg(s), received 0",
    example="buildlib source create site-source",
    flags=(
        Flag("author", "who made it", metavar="NAME"),
        Flag("time-stamp", "note when it was made", kind=BOOL, default=True),
    ),
)


def run(args: Arguments) -> int:
    """Make it."""
    import time

    from buildlib import create_source_image

    created = time.time() if args.time_stamp else None
    create_source_image(args.positionals[0], author=args.author or "", created=created)
    return 0
