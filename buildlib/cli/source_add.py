"""``buildlib source add``: adds sources to a source image."""

from __future__ import annotations

from buildlib.cli.flags import EACH, Flag, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "source add",
    "Add a file or folder to a source image",
    accepts="FOLDER SOURCE",
    positionals=(2, 2),
    missing="accepts 2 arg(s)",
    example="buildlib source add site-source site-1.2.tar.gz",
    details="A compressed archive is added as it is, anything else as one.",
    flags=(Flag("annotation", "an annotation of the layer, KEY=VALUE", kind=EACH, metavar="KEY=VALUE"),),
)


def run(args: Arguments) -> int:
    """Add it."""
    from buildlib import add_source
    from buildlib.cli.registry_flags import key_values

    path, source = args.positionals
    add_source(path, source, annotations=key_values("annotation", args.annotation))
    return 0
