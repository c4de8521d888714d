"""``buildlib diff``: what was changed in a working container or between two images."""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, Flag, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "diff",
    "List the files that a working container changed",
    accepts="CONTAINER",
    positionals=(1, 1),
    missing="container ID must be specified",
    example="buildlib diff debian-working-container",
    details="Each line is A (added), C (changed) or D (deleted), and the path.",
    flags=(Flag("json", "output in JSON format", kind=BOOL),),
)

_LETTERS = {"added": "A", "changed": "C", "deleted": "D"}


def run(args: Arguments) -> int:
    """Print the changes since the container was made, or as JSON the paths by kind."""
    from buildlib.cli.place import open_store

    with open_store(args) as store:
        changes = [(change.kind, change.path) for change in store.container(args.positionals[0]).diff()]
    if args.json:
        from buildlib.cli.listing import print_json

        print_json({kind: [path for other, path in changes if other == kind] for kind in _LETTERS})
    else:
        sys.stdout.write("".join(f"{_LETTERS[kind]} {path}\n" for kind, path in changes))
    return 0
