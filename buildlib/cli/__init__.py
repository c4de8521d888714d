"""The command line: finds the verb first, then imports that verb's module and nothing else.

It holds no logic: a verb parses its flags, calls the public API and prints. Start-up time is a feature here, so this
module imports next to nothing, and what only some calls need is imported where they need it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

PROGRAM = "buildlib"

MODULES = {
    "add": "add",
    "cache": "cache",
    "check": "check",
    "commit": "commit",
    "completion": "completion",
    "config": "config",
    "containers": "containers",
    "copy": "copy",
    "delete": "delete",
    "diff": "diff",
    "from": "from_",
    "images": "images",
    "info": "info",
    "inspect": "inspect",
    "list-tags": "list_tags",
    "load": "load",
    "login": "login",
    "logout": "logout",
    "manifest add": "manifest_add",
    "manifest annotate": "manifest_annotate",
    "manifest create": "manifest_create",
    "manifest exists": "manifest_exists",
    "manifest inspect": "manifest_inspect",
    "manifest push": "manifest_push",
    "manifest remove": "manifest_remove",
    "manifest rm": "manifest_rm",
    "manifest-digest": "manifest_digest",
    "mount": "mount",
    "prune": "prune",
    "pull": "pull",
    "push": "push",
    "rename": "rename",
    "rm": "rm",
    "rmi": "rmi",
    "run": "run",
    "save": "save",
    "source add": "source_add",
    "source create": "source_create",
    "source pull": "source_pull",
    "source push": "source_push",
    "sync": "sync",
    "tag": "tag",
    "umount": "umount",
    "unshare": "unshare",
    "version": "version",
}
"""The module of each verb, below this package; a verb may have two words. Verbs of other packages are found through
their entry points."""

ALIASES = {
    "gc": "prune",
    "list": "containers",
    "ls": "containers",
    "ps": "containers",
    "unmount": "umount",
}

LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")

DRIVERS = ("overlay", "overlay2", "fuse", "fuse-overlayfs", "copy", "vfs")

log_format = "text"
"""How errors and progress of the verb that is running are told: "text" or "json"."""

INTERRUPTED_EXIT = 130
BROKEN_PIPE_EXIT = 141
"""What a shell reports for a program that SIGPIPE ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; ``argv`` is without the program's name.

    The code is 0, that of the command for ``run`` and a failed RUN of ``build``, 125 for wrong usage and every
    failure of our own, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options: dict[str, Any] = {}
    _print_any_file_name()
    try:
        code = _dispatch(words, options)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE_EXIT
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except Exception as error:
        from buildlib.cli.failure import report

        return report(error, str(options.get("log_level", "")))
    return code


def program() -> NoReturn:
    """The console script: :func:`main`, and then an end without the interpreter's own tidying up, which costs 2 ms.

    Nothing needs it: every verb closes its store, and both streams are flushed.
    """
    import gc
    import os

    gc.set_threshold(20_000)  # importing makes much that stays: looking through it takes longer than a listing
    _open_standard_streams()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or BROKEN_PIPE_EXIT
    os._exit(code)


def _open_standard_streams() -> None:
    """Where the caller closed one of them, the next file to be opened (the database, say) would take its place."""
    import os

    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, open(fd, "w" if fd else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _dispatch(words: list[str], options: dict[str, Any]) -> int:
    from buildlib.cli.flags import HelpWanted, parse_globals

    try:
        given, rest = parse_globals(words)
    except HelpWanted:
        return _help([])
    options.update(given)
    if options.pop("debug", False):
        options["log_level"] = "debug"
    _say_where(options)
    if options.get("version"):
        from buildlib.cli.version import print_short

        return print_short()
    if not rest or rest[0] == "help":
        return _help(rest[1:])
    name, words = split_verb(rest)
    if any(known.startswith(f"{name} ") for known in MODULES):  # the first of two words, alone or with a wrong one
        return _help([name]) if not words or words[0] in ("--help", "-h") else _no_such(name, words[0])
    return _run_verb(name, words, options)


def split_verb(words: Sequence[str]) -> tuple[str, list[str]]:
    """The verb at the beginning of ``words``, which may be two of them, and what follows."""
    two = " ".join(words[:2])
    return (two, list(words[2:])) if two in MODULES else (words[0], list(words[1:]))


def _no_such(name: str, word: str) -> int:
    from buildlib.errors import UsageError

    known = [verb.partition(" ")[2] for verb in MODULES if verb.startswith(f"{name} ")]
    raise UsageError(f'unknown command "{name} {word}" for "{PROGRAM}"', hint=f"there are {', '.join(known)}")


def _run_verb(name: str, words: list[str], options: dict[str, Any]) -> int:
    name = ALIASES.get(name, name)
    if name not in MODULES:
        from buildlib.cli.plugins import run_plugin

        return run_plugin(name, words, options)
    import os

    from buildlib.cli.flags import GLOBAL_FLAGS, HelpWanted, parse

    module = _load(name)
    # A flag before the verb was written, so it wins over its variable.
    environ = {**os.environ, **{flag.env: "" for flag in GLOBAL_FLAGS if flag.env and flag.key in options}}
    try:
        arguments = parse(module.VERB, words, environ, PROGRAM)
    except HelpWanted:
        return _help([name])
    for key, value in options.items():  # a flag after the verb wins over the same before it
        if key not in arguments.given:
            arguments.values[key] = value
    _say_where({key: arguments.values[key] for key in arguments.given})
    options["log_level"] = arguments.values["log_level"]
    _check_globals(arguments.values)
    global log_format  # noqa: PLW0603 - how this process talks, like its standard error
    log_format = arguments.values["log_format"]
    code: int | None = module.run(arguments)
    return code or 0


def _load(name: str) -> Any:
    module = f"{__name__}.{MODULES[name]}"
    __import__(module)  # not by importlib, which brings in more than the verb
    return sys.modules[module]


def _help(words: list[str]) -> int:
    from buildlib.cli.help import show

    return show(words)


_VARIABLES = {
    "registries_conf": "CONTAINERS_REGISTRIES_CONF",
    "registries_conf_dir": "CONTAINERS_REGISTRIES_CONF_DIR",
    "short_name_alias_conf": "CONTAINERS_SHORT_NAME_ALIASES_CONF",
    "signature_policy": "CONTAINERS_POLICY",
    "default_mounts_file": "CONTAINERS_MOUNTS_CONF",
}
"""Flags that say where a file is: the environment of this process carries it to whoever reads that file."""


def _say_where(values: dict[str, Any]) -> None:
    import os

    for key, name in _VARIABLES.items():
        if values.get(key):
            os.environ[name] = values[key]


def _check_globals(values: dict[str, Any]) -> None:
    from buildlib.errors import UsageError

    if values["log_level"] not in LOG_LEVELS:
        raise UsageError(f"unknown log level {values['log_level']!r}", hint=f"one of {', '.join(LOG_LEVELS)}")
    if (values["storage_driver"] or "overlay") not in DRIVERS:
        hint = "it is overlay, fuse or copy"
        raise UsageError(f"there is no storage driver {values['storage_driver']!r}", hint=hint)
    if values["log_format"] not in ("text", "json"):
        raise UsageError(f"--log-format takes text or json, not {values['log_format']!r}")


def _print_any_file_name() -> None:
    """Let names that are not UTF-8 pass through to the output as the bytes that they are."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")


def _drop_output() -> None:
    """Nobody reads any more: let the interpreter's own flush at exit go nowhere."""
    import os

    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass
