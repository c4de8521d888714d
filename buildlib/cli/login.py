"""``buildlib login``: checks a name and a password with a registry and keeps them for later."""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "login",
    "Log in to a registry",
    accepts="REGISTRY",
    positionals=(1, 1),
    missing="please provide a registry to log in to",
    example="buildlib login registry.example.com\n"
    "pass registry | buildlib login -u ann --password-stdin registry.example.com",
    details="What is not given by flags is asked for on the terminal. The login is kept where podman, buildah and\n"
    "skopeo find it too: $REGISTRY_AUTH_FILE, else ${XDG_RUNTIME_DIR}/containers/auth.json.",
    flags=(
        Flag("authfile", "file that keeps the login", metavar="FILE", env="REGISTRY_AUTH_FILE"),
        Flag("cert-dir", "folder with certificates for the registry", metavar="DIR"),
        Flag("compat-auth-file", "the same file in docker's place, such as ~/.docker/config.json", metavar="FILE"),
        Flag("get-login", "print the name of the user that is logged in", kind=BOOL),
        Flag("password", "the password; other users of the machine can see it", short="p", metavar="PASSWORD"),
        Flag("password-stdin", "read the password from standard input", kind=BOOL),
        Flag("tls-verify", "require HTTPS and verify certificates", kind=BOOL, default=True),
        Flag("username", "the user", short="u", metavar="USER"),
        Flag("verbose", "say which file keeps the login", short="v", kind=BOOL),
    ),
)


def run(args: Arguments) -> int:
    """Log in."""
    from buildlib import Credential, logged_in, login
    from buildlib.cli.registry_flags import place_access

    registry, file = args.positionals[0], args.compat_auth_file or args.authfile
    access = place_access(args)
    if args.get_login:
        print(logged_in(registry, access=access, file=file))
        return 0
    user, password = _asked(args)
    path = login(registry, Credential(user, password), access=access, file=file)
    if args.verbose:
        print(f"Used: {path}")
    print("Login Succeeded!")
    return 0


def _asked(args: Arguments) -> tuple[str, str]:
    """Name and password, from flags, standard input or the terminal."""
    if args.password is not None and args.password_stdin:
        raise UsageError("can't specify both --password-stdin and --password")
    if args.password_stdin:
        if not args.username:
            raise UsageError("must provide --username with --password-stdin")
        return args.username, sys.stdin.read().rstrip("\r\n")
    user, password = args.username, args.password
    if user is None or password is None:
        if not sys.stdin.isatty():
            raise UsageError("no terminal to ask for name and password", hint="give --username and --password-stdin")
        from getpass import getpass

        user = user if user is not None else input("Username: ")
        password = password if password is not None else getpass("Password: ")
    if not user:
        raise UsageError("a login needs a user name")
    return user, password
