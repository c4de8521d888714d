"""``buildlib add``: as ``copy``, and archives are unpacked."""

from __future__ import annotations

from buildlib.cli.copy import COPY_FLAGS, transfer
from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "add",
    "Copy files, URLs and git repositories into a working container and unpack archives",
    accepts="CONTAINER SOURCE... [DESTINATION]",
    positionals=(2, None),
    missing="a container and what to add must be specified",
    example="buildlib add debian-working-container app.tar.gz /opt/app",
    details="An archive of this machine (tar, plain or compressed) is unpacked into DESTINATION.",
    flags=(
        *COPY_FLAGS,
        Flag("checksum", "the digest that a URL's content must have, or the commit", metavar="DIGEST"),
        Flag("keep-git-dir", "keep the .git folder of a repository", kind=BOOL),
        *REGISTRY_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Add."""
    access = None
    if any("://" in source for source in args.positionals[1:]):
        from buildlib.cli.registry_flags import access_to

        access = access_to(args, "docker://")["access"]  # trust and patience are for web servers, too
    return transfer(args, "add", checksum=args.checksum, keep_git_dir=args.keep_git_dir or None, access=access)
