"""``buildlib unshare``: a command in the user namespace in which containers of an ordinary user are mounted."""

from __future__ import annotations

import os
import sys

from buildlib.cli.flags import EACH, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "unshare",
    "Run a command, by default a shell, as root of the user namespace that containers live in",
    accepts="[COMMAND [ARG...]]",
    positionals=(0, None),
    example="buildlib unshare --mount C=debian-working-container sh -c 'cat $C/etc/shadow'",
    details="Without root, `mount` works in there only. As root there is nothing to enter, so the command just runs.",
    flags=(
        Flag("mount", "mount a container for the command, and put where into its variable VARIABLE", short="m",
             kind=EACH, metavar="[VARIABLE=]CONTAINER"),
    ),
    passthrough=True,
)  # fmt: skip


def run(args: Arguments) -> int:
    """Enter, mount, run, unmount; the exit code is the command's."""
    from buildlib import unshare
    from buildlib.cli.place import open_store, store_root

    wanted = [_mount(text) for text in args.mount]
    environ = {**os.environ, "BUILDLIB_ROOT": store_root(args)}
    ids = str(os.geteuid()), str(os.getegid())
    with open_store(args) as store:
        if unshare(store):
            # By these buildah and podman, and whoever looks for their store, know that they are not real root.
            names = ("_CONTAINERS_ROOTLESS_UID", "_CONTAINERS_ROOTLESS_GID")
            environ |= {"_CONTAINERS_USERNS_CONFIGURED": "done", **dict(zip(names, ids, strict=True))}
    command = args.positionals or [os.environ.get("SHELL") or "/bin/sh"]
    if not wanted:
        return _call(command, environ)
    with open_store(args) as store:
        return _with_mounts(store, wanted, command, environ)


def _mount(text: str) -> tuple[str, str]:
    variable, equals, name = text.partition("=")
    if not equals:
        variable, name = text, text
    if not name or not variable.isidentifier():
        raise UsageError(f"--mount takes [VARIABLE=]CONTAINER, not {text!r}", hint="name the variable: --mount C=NAME")
    return variable, name


def _with_mounts(store: Store, wanted: list[tuple[str, str]], command: list[str], environ: dict[str, str]) -> int:
    mounted = []
    try:
        for variable, name in wanted:
            container = store.container(name)
            if container.mount_point is None:
                mounted.append(container)
            environ[variable] = container.mount()
        return _call(command, environ)
    finally:
        for container in mounted:
            container.umount()


def _call(command: list[str], environ: dict[str, str]) -> int:
    import subprocess

    try:
        code = subprocess.call(command, env=environ)
    except OSError as error:
        print(f"Error: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    return 128 - code if code < 0 else code
