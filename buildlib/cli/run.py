"""``buildlib run``: executes a command in a working container."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, Flag, Verb

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
        Flag("cap-add", "a capability to have", kind=LIST, metavar="CAP"),
        Flag("cap-drop", "a capability to lose", kind=LIST, metavar="CAP"),
        Flag("cgroupns", "cgroup namespace: private or host", later=True),
        Flag("contextdir", "folder that relative sources of --mount lie in", metavar="DIR"),
        Flag("device", "a device of the host", kind=EACH, later=True),
        Flag("env", "a variable for this command, NAME=VALUE; NAME takes the host's value", short="e", kind=EACH,
             metavar="NAME[=VALUE]"),
        Flag("hostname", "host name inside", metavar="NAME"),
        Flag("ipc", "IPC namespace", later=True),
        Flag("isolation", "accepted; there is one kind", metavar="KIND", env="BUILDAH_ISOLATION", no_op=True),
        Flag("mount", "type=bind|cache|tmpfs|secret,target=PATH,…", kind=EACH, metavar="MOUNT"),
        Flag("network", "host or none", metavar="NETWORK"),
        Flag("no-hostname", "leave /etc/hostname as it is", kind=BOOL, later=True),
        Flag("no-hosts", "leave /etc/hosts as it is", kind=BOOL, later=True),
        Flag("no-pivot", "accepted", kind=BOOL, env="BUILDAH_NOPIVOT", no_op=True),
        Flag("pid", "pid namespace", later=True),
        Flag("runtime", "accepted; commands run in our own sandbox", env="BUILDAH_RUNTIME", no_op=True),
        Flag("runtime-flag", "accepted", kind=LIST, no_op=True),
        Flag("terminal", "with a terminal of its own", short="t", kind=BOOL, later=True),
        Flag("tty", "with a terminal of its own", kind=BOOL, later=True),
        Flag("user", "who runs it, names are looked up in the container", metavar="USER[:GROUP]"),
        Flag("uts", "UTS namespace", later=True),
        Flag("volume", "a folder of the host, SOURCE:TARGET[:ro]", short="v", kind=EACH, metavar="VOLUME"),
        Flag("workingdir", "where it starts", metavar="DIR"),
    ),
)  # fmt: skip


def run(args: Arguments) -> int:
    """Run the command with this process's stdin, stdout and stderr; return its exit code."""
    import os

    from buildlib.cli.mounts import mount, volume
    from buildlib.cli.place import open_store
    from buildlib.errors import UsageError

    if len(args.positionals) < 2:
        missing = "command" if args.positionals else "container ID"
        raise UsageError(f"{missing} must be specified", hint="buildlib run CONTAINER -- COMMAND")
    name, *command = args.positionals
    context = os.path.abspath(args.contextdir or ".")
    with open_store(args) as store:
        container = store.container(name)
        done = container.run(
            command,
            env=_variables(args.env),
            user=args.user,
            workdir=args.workingdir,
            mounts=[*map(volume, args.volume), *(mount(text, context) for text in args.mount)],
            network=_network(args.network),
            hostname=args.hostname,
            cap_add=args.cap_add,
            cap_drop=args.cap_drop,
            stdin=_standard_input(),
            cache=False,  # what a failed step of a build left in its container is there to be looked at
            created_by=f"/bin/sh -c {' '.join(command)}" if args.add_history else None,
        )
    return int(done.exit_code)


def _standard_input() -> int | None:
    """The descriptor, None if this process was started without one."""
    import os

    try:
        os.fstat(0)
    except OSError:
        return None
    return 0


def _variables(words: list[str]) -> dict[str, str]:
    import os

    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:  # a bare name takes the host's value, and is left out where the host has none
            found[name] = os.environ[name]
    return found


def _network(word: str | None) -> str:
    from buildlib.errors import UsageError

    if word in (None, "", "host"):
        return "host"
    if word == "none":
        return "none"
    raise UsageError(f'the network "{word}" is not supported yet', hint="--network takes host or none")
