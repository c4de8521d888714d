"""``buildlib run``: executes a command in a working container."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, Flag, Verb
from buildlib.cli.run_flags import NAMESPACE_FLAGS, RIGHTS_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "run",
    "Run a command inside of the container",
    accepts="CONTAINER [--] COMMAND [ARGUMENT...]",
    positionals=(0, None),
    passthrough=True,
    example="buildlib run debian-working-container -- apt-get update\n"
    "buildlib run --mount type=cache,target=/var/cache/apt $ctr -- apt-get install -y nginx",
    details="All that follows CONTAINER belongs to the command. The exit code is the command's; 127 means that it was\n"
    "not found, 126 that it is no program, 128+N that signal N ended it.",
    flags=(
        Flag("add-history", "note this in the history of the image", kind=BOOL, env="BUILDAH_HISTORY"),
        Flag("cdi-config-dir", "folder with CDI specifications, instead of those in /etc/cdi", kind=EACH, metavar="DIR",
             hidden=True),
        Flag("contextdir", "folder that relative sources of --mount lie in", metavar="DIR"),
        Flag("detach-keys", "keys that leave a --tty behind; the command goes on", metavar="KEYS",
             default="ctrl-p,ctrl-q"),
        Flag("env", "a variable for this command, NAME=VALUE; NAME takes the host's value", short="e", kind=EACH,
             metavar="NAME[=VALUE]"),
        Flag("hostname", "host name inside", metavar="NAME"),
        Flag("interactive", "accepted; standard input is always passed on", short="i", kind=BOOL, no_op=True),
        Flag("mount", "type=bind|cache|tmpfs|secret,target=PATH,…", kind=EACH, metavar="MOUNT"),
        Flag("no-hostname", "leave /etc/hostname as it is", kind=BOOL),
        Flag("no-hosts", "leave /etc/hosts as it is", kind=BOOL),
        Flag("no-pivot", "accepted", kind=BOOL, env="BUILDAH_NOPIVOT", no_op=True),
        Flag("runtime", "accepted; commands run in our own sandbox", env="BUILDAH_RUNTIME", no_op=True),
        Flag("runtime-flag", "accepted", kind=LIST, no_op=True),
        Flag("terminal", "the same as --tty", short="t", kind=BOOL),
        Flag("tty", "with a terminal of its own, shown on this one", kind=BOOL),
        Flag("user", "who runs it, names are looked up in the container", metavar="USER[:GROUP]"),
        Flag("valid-exit-codes", "exit codes, beside 0, that are a success", kind=LIST, metavar="CODE"),
        Flag("volume", "a folder of the host, SOURCE:TARGET[:ro]", short="v", kind=EACH, metavar="VOLUME"),
        Flag("workingdir", "where it starts", metavar="DIR"),
        *NAMESPACE_FLAGS,
        *RIGHTS_FLAGS,
    ),
)  # fmt: skip


def run(args: Arguments) -> int:
    """Run the command with this process's stdin, stdout and stderr, or on a terminal; return its exit code."""
    if not (args.tty or args.terminal):
        return _run(args, False)
    from buildlib import in_front
    from buildlib.cli.failure import report

    return in_front(lambda socket: _run(args, socket), args.detach_keys, lambda error: report(error, args.log_level))


def _run(args: Arguments, tty: bool | int) -> int:
    import os

    from buildlib import parse_mount
    from buildlib.cli.configuration import default_mounts
    from buildlib.cli.place import open_store
    from buildlib.cli.run_flags import proxies, run_options
    from buildlib.errors import UsageError

    if len(args.positionals) < 2:
        missing = "command" if args.positionals else "container ID"
        raise UsageError(f"{missing} must be specified", hint="buildlib run CONTAINER -- COMMAND")
    name, *command = args.positionals
    context = os.path.abspath(args.contextdir or ".")
    valid = _codes(args.valid_exit_codes)
    with open_store(args) as store:
        container = store.container(name, soon="run")
        kept = container.state.run.get("isolation")
        if kept and not args.isolation:  # as the container was made for
            args.values["isolation"] = kept
            return _run(args, tty)
        done = container.run(
            command,
            env=_variables(args.env, tty=tty is not False),
            user=args.user,
            workdir=args.workingdir,
            mounts=[*default_mounts(), *(parse_mount(text, context) for text in args.mount)],
            hostname=args.hostname,
            options=run_options(args, cdi_folders=args.cdi_config_dir),
            proxy=None if container.state.run.get("no_proxy") else proxies(),
            stdin=None if tty is not False else _standard_input(),
            tty=tty,
            check=not valid,
            cache=False,  # what a failed step of a build left in its container is there to be looked at
            created_by=f"/bin/sh -c {' '.join(command)}" if args.add_history else None,
        )
    return 0 if done.exit_code in valid else int(done.exit_code)


def _standard_input() -> int | None:
    """The descriptor, None if this process was started without one."""
    import os

    try:
        os.fstat(0)
    except OSError:
        return None
    return 0


def _variables(words: list[str], *, tty: bool) -> dict[str, str]:
    import os

    found = {"TERM": os.environ.get("TERM", "xterm")} if tty else {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:  # a bare name takes the host's value, and is left out where the host has none
            found[name] = os.environ[name]
    return found


def _codes(words: list[str]) -> list[int]:
    from buildlib.errors import UsageError

    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise UsageError(f"--valid-exit-codes takes numbers: {error}") from None
