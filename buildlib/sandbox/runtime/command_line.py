"""The program: it reads the flags that all verbs share, finds the verb, and tells failures as engines expect it.

Flags follow the rules of the programs that this one stands in for: ``-flag`` is ``--flag``, a value may follow after
``=`` or as the next word.
"""

from __future__ import annotations

import os
import sys

from buildlib.errors import BuildlibError, UsageError, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

PROGRAM = "buildlib-runtime"

SWITCH, TEXT, LIST, NUMBER = "switch", "text", "list", "number"
"""Kinds of flags: without a value, with one, with one each time it is given, with a whole number."""

GLOBAL = {
    "root": TEXT,
    "log": TEXT,
    "log-format": TEXT,
    "systemd-cgroup": SWITCH,
    "debug": SWITCH,
    "rootless": TEXT,
    "criu": TEXT,
    "help": SWITCH,
    "version": SWITCH,
}

VERBS = {
    "create": "make a container and let it wait for start",
    "delete": "remove what a container leaves",
    "events": "print what a container uses, as JSON",
    "exec": "run one more process in a container",
    "features": "print what this runtime can do, as JSON",
    "kill": "send a signal to a container",
    "list": "list containers",
    "pause": "let all processes of a container stand still",
    "ps": "list the processes of a container",
    "resume": "let a paused container go on",
    "run": "create and start a container, wait for its end and remove it",
    "spec": "write a config.json to begin with",
    "start": "let a created container run its process",
    "state": "print the state of a container, as JSON",
    "update": "change the limits of a container",
}


def program() -> NoReturn:
    """The console script; it ends without the interpreter's own tidying up, which nothing here needs."""
    import gc

    gc.disable()  # it ends before there is a heap worth sweeping
    code = main(sys.argv[1:], os.environ)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 1
    os._exit(code)


def main(words: list[str], environ: Mapping[str, str]) -> int:
    """Run one verb and return the exit code: 0, that of the process for ``run`` and ``exec``, else 1."""
    options: dict[str, Any] = {}
    verb = ""
    try:
        options, rest = parse(words, GLOBAL, mixed=False)
        if options.get("version") or rest[:1] == ["version"]:
            return _version()
        if options.get("help") or not rest or rest[0] in ("help", "h"):
            return _help()
        verb = rest[0]
        if verb not in VERBS:
            raise UsageError(f"there is no command {verb!r}", hint=f"{PROGRAM} --help lists them")
        return _run(verb, rest[1:], options, environ)
    except OSError as error:
        return _fail(verb, from_os_error(error, str(error.filename or verb)), options)
    except BuildlibError as error:
        return _fail(verb, error, options)


def _run(verb: str, words: list[str], options: dict[str, Any], environ: Mapping[str, str]) -> int:
    from buildlib.sandbox.runtime.place import Place

    # importlib.import_module would do the same, behind one more import.
    module: Any = __import__(f"{__package__}.verb_{verb}", fromlist=["run"])
    given, positionals = parse(words, {**module.FLAGS, "help": SWITCH}, mixed=verb != "exec")
    if given.get("help"):
        return _help_of(verb, module.ACCEPTS, module.FLAGS)
    if options.get("log-format", "text") not in ("text", "json"):
        raise UsageError(f"unknown log-format {options['log-format']!r}", hint="it is text or json")
    place = Place.find(options.get("root"), environ, systemd=bool(options.get("systemd-cgroup")))
    code: int | None = module.run(place, given, positionals)
    return code or 0


def parse(words: list[str], flags: Mapping[str, str], *, mixed: bool) -> tuple[dict[str, Any], list[str]]:
    """Flags and what is left; with ``mixed`` flags may stand behind other words, up to ``--``.

    A short flag is the entry whose value names its long one: ``{"b": "=bundle", "bundle": TEXT}``.
    Raises :class:`UsageError`.
    """
    given: dict[str, Any] = {}
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return given, rest + left
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if not mixed:
                return given, rest + left
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = _SHORT.get(name, name) if name not in flags else name
        kind = flags.get(name)
        if kind is not None and kind.startswith("="):
            name, kind = kind[1:], flags[kind[1:]]
        if kind is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if kind == SWITCH:
            given[name] = value.lower() not in ("false", "0", "f") if equals else True
            continue
        if not equals:
            if not left:
                raise UsageError(f"flag needs an argument: -{name}")
            value = left.pop(0)
        _keep(given, name, kind, value)
    return given, rest


_SHORT = {"h": "help", "v": "version"}


def _keep(given: dict[str, Any], name: str, kind: str, value: str) -> None:
    if kind == LIST:
        given.setdefault(name, []).append(value)
    elif kind == NUMBER:
        try:
            given[name] = int(value)
        except ValueError:
            raise UsageError(f"-{name} takes a whole number, not {value!r}") from None
    else:
        given[name] = value


def one_id(positionals: list[str], verb: str) -> str:
    """The container's id, which has to be all that is left."""
    if len(positionals) != 1:
        raise UsageError(f"{PROGRAM}: {verb!r} requires exactly 1 argument, the id of a container")
    return positionals[0]


def _fail(verb: str, error: BuildlibError, options: Mapping[str, Any]) -> int:
    from buildlib.sandbox.runtime import failure

    return failure.tell(verb, error, options)


def _version() -> int:
    from importlib.metadata import version

    from buildlib.sandbox.runtime.place import SPEC_VERSION

    print(f"{PROGRAM} version {version('buildlib')}\nspec: {SPEC_VERSION}")
    return 0


def _help() -> int:
    lines = [f"{PROGRAM} [flags] COMMAND [flags] ID …", "", *(f"  {verb:9} {what}" for verb, what in VERBS.items())]
    print("\n".join([*lines, "", "  flags: " + " ".join(f"--{name}" for name in GLOBAL)]))
    return 0


def _help_of(verb: str, accepts: str, flags: Mapping[str, str]) -> int:
    longs = [
        f"--{name}" + ("" if kind == SWITCH else f" {kind.upper()}") for name, kind in flags.items() if kind[0] != "="
    ]
    print(f"{PROGRAM} {verb} {accepts}\n\n{VERBS[verb]}\n\n" + "\n".join(f"  {flag}" for flag in longs))
    return 0
