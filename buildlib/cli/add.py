"""``buildlib add``: as ``copy``, and archives are unpacked."""

from __future__ import annotations

from buildlib.cli.copy import COPY_FLAGS, transfer
from buildlib.cli.flags import BOOL, Flag, Verb

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
        Flag("cert-dir", "folder with certificates for URLs", metavar="DIR", later=True),
        Flag("checksum", "the digest that a URL's content must have, or the commit", metavar="DIGEST"),
        Flag("keep-git-dir", "keep the .git folder of a repository", kind=BOOL),
        Flag("tls-verify", "require HTTPS and verify certificates", kind=BOOL, default=True, no_op=True),
    ),
)


def run(args: Arguments) -> int:
    """Add."""
    return transfer(args, "add", checksum=args.checksum, keep_git_dir=args.keep_git_dir or None)
