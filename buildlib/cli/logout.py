"""``buildlib logout``: forgets logins."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "logout",
    "Log out of a registry",
    accepts="[REGISTRY]",
    positionals=(0, 1),
    example="buildlib logout registry.example.com\nbuildlib logout --all",
    flags=(
        Flag("all", "forget all logins of the file", short="a", kind=BOOL),
        Flag("authfile", "file that keeps the login", metavar="FILE", env="REGISTRY_AUTH_FILE"),
        Flag("compat-auth-file", "the same file in docker's place, such as ~/.docker/config.json", metavar="FILE"),
        Flag("tls-verify", "accepted; the registry is not asked", kind=BOOL, default=True, no_op=True),
    ),
)


def run(args: Arguments) -> int:
    """Log out."""
    from buildlib import logout

    if bool(args.positionals) == args.all:
        raise UsageError("either a registry or --all must be specified, not both")
    file = args.compat_auth_file or args.authfile
    logout(None if args.all else args.positionals[0], file=file)
    print(f"Removed login credentials for {args.positionals[0] if args.positionals else 'all registries'}")
    return 0
