"""``buildlib check``: compares the database of the store with its files."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "check",
    "Check that the store is whole",
    example="buildlib check --all",
    details="Prints a line for everything that is wrong, and then ends with exit code 125.",
    flags=(
        Flag("all", "also hash all layers, which reads everything", short="a", kind=BOOL),
        Flag("quick", "do not read the blobs", short="q", kind=BOOL),
    ),
)

DAMAGED_EXIT = 125


def run(args: Arguments) -> int:
    """Print the findings."""
    from buildlib.cli.place import open_store

    if args.all and args.quick:
        raise UsageError("--all and --quick may not be used together")
    with open_store(args) as store:
        findings = store.check(digests=not args.quick, diff_ids=args.all)
    for finding in findings:
        print(f"{finding.kind} {finding.name}: {finding.problem}")
    return DAMAGED_EXIT if findings else 0
