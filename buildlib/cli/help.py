"""The text of ``--help``, made from the tables that the verbs declare."""

from __future__ import annotations

import sys

from buildlib.cli import ALIASES, MODULES, PROGRAM, _load, split_verb
from buildlib.cli.flags import BOOL, GLOBAL_FLAGS, Flag, Verb
from buildlib.errors import UsageError


def show(words: list[str]) -> int:
    """Print the help of the verb that ``words`` name, or of the whole program."""
    if not words:
        sys.stdout.write(program_help())
        return 0
    name = split_verb(words)[0]
    name = ALIASES.get(name, name)
    if name in MODULES:
        sys.stdout.write(verb_help(_load(name).VERB))
        return 0
    group = [verb for verb in MODULES if verb.startswith(f"{name} ")]
    if group:
        sys.stdout.write(group_help(name, group))
        return 0
    from buildlib.cli.plugins import find, run_plugin

    if find(name, sys.path) is None:
        raise UsageError(f"unknown help topic {words[0]!r}", hint=f"`{PROGRAM} --help` lists the commands")
    return run_plugin(name, ["--help"], {})


def program_help() -> str:
    """The help of the program: every verb with its summary, and the global flags."""
    from buildlib.cli.human import table
    from buildlib.cli.plugins import names

    rows = [(f"  {name}", _load(name).VERB.summary) for name in MODULES]
    rows += [(f"  {name}", "Build an image from a Dockerfile") for name in names(sys.path)]
    return (
        "Build container images: no daemon, no container engine.\n\n"
        f"Usage:\n  {PROGRAM} [flags]\n  {PROGRAM} [command]\n\n"
        "Examples:\n"
        "  ctr=$(buildlib from debian:bookworm-slim)\n"
        "  buildlib run $ctr -- apt-get update\n"
        "  buildlib commit $ctr my-image\n\n"
        f"Available Commands:\n{table(sorted(rows))}\n"
        f"Flags:\n{flag_table((*GLOBAL_FLAGS, Flag('version', 'print the version', short='v', kind=BOOL)))}\n"
        f'Use "{PROGRAM} [command] --help" for more about a command.\n'
    )


def group_help(name: str, verbs: list[str]) -> str:
    """The help of the verbs that begin with the same word."""
    from buildlib.cli.human import table

    rows = [(f"  {verb}", _load(verb).VERB.summary) for verb in verbs]
    return (
        f"Usage:\n  {PROGRAM} {name} [command]\n\nAvailable Commands:\n{table(rows)}\n"
        f'Use "{PROGRAM} {name} [command] --help" for more about a command.\n'
    )


def verb_help(verb: Verb) -> str:
    """The help of one verb."""
    aliases = f"\nAliases:\n  {', '.join([verb.name, *verb.aliases])}\n" if verb.aliases else ""
    details = f"\n{verb.details.strip()}\n" if verb.details else ""
    example = "\n".join(f"  {line}" for line in verb.example.strip().splitlines())
    return (
        f"{verb.summary}\n{details}\nUsage:\n  {usage(verb)}\n{aliases}\nExamples:\n{example}\n\n"
        f"Flags:\n{flag_table(verb.flags)}\nThe global flags ({PROGRAM} --help) may stand here, too.\n"
    )


def usage(verb: Verb) -> str:
    """One line: program, verb, and what follows."""
    return " ".join(word for word in (PROGRAM, verb.name, "[flags]", verb.accepts) if word)


def flag_table(flags: tuple[Flag, ...]) -> str:
    """The flags as aligned lines, ``--help`` included."""
    from buildlib.cli.human import table

    shown = sorted((*flags, Flag("help", "show this", short="h", kind=BOOL)), key=lambda flag: flag.name)
    return table([(_spelling(flag), described(flag)) for flag in shown if not flag.hidden])


def described(flag: Flag) -> str:
    """The help of a flag with its default, its variable, and whether it has an effect."""
    notes = []
    if flag.default not in (None, False, (), ""):
        notes.append(f"default {flag.default}".lower() if flag.kind == BOOL else f"default {flag.default!s}")
    if flag.env:
        notes.append(f"or ${flag.env}")
    if flag.later:
        notes.append("not supported yet")
    if flag.no_op:
        notes.append("no effect")
    return flag.help + (f" ({', '.join(notes)})" if notes else "")


def _spelling(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    value = "" if flag.kind == BOOL else f" {flag.metavar or flag.kind}"
    if flag.bare is not None and flag.kind != BOOL:
        value = f"[={flag.metavar or flag.kind}]"
    return f"  {short}--{flag.name}{value}"
