"""``buildlib manifest-digest``: the digest of a manifest in a file."""

from __future__ import annotations

from buildlib.cli.flags import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "manifest-digest",
    "Compute the digest of a manifest in a file",
    accepts="FILE",
    positionals=(1, 1),
    missing="a file with a manifest must be specified",
    example="buildlib inspect --raw docker://debian > manifest.json\nbuildlib manifest-digest manifest.json",
    details="FILE may be -, which is standard input.",
)


def run(args: Arguments) -> int:
    """Print the digest."""
    import sys

    from buildlib import Digest

    if args.positionals[0] == "-":
        data = sys.stdin.buffer.read()
    else:
        with open(args.positionals[0], "rb") as file:
            data = file.read()
    print(Digest.of(data))
    return 0
