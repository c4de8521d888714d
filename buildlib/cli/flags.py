"""Flags as data, and the small parser that reads them by the rules of buildah's command line (Go's pflag).

``argparse`` can't follow those rules: a flag after the first positional is an error (or belongs to the command of
``run``), the value of an optional-value flag must follow "=", booleans take ``=false``, some flags split at commas.
It also costs as much start-up time as SQLite. This module reads no environment but what it is given, never prints.
"""

from __future__ import annotations

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

BOOL, TEXT, NUMBER, EACH, LIST = "bool", "string", "int", "stringArray", "strings"
"""Kinds of values: EACH may be repeated, its values are taken whole; LIST may be repeated and splits at commas."""

_EMPTY: dict[str, Any] = {BOOL: False, EACH: (), LIST: ()}
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class Flag:
    """One flag of a verb: what it is called, what it takes, and one line of help."""

    __slots__ = ("bare", "default", "env", "help", "hidden", "kind", "later", "metavar", "name", "no_op", "short")

    def __init__(
        self,
        name: str,
        help: str,
        *,
        short: str = "",
        kind: str = TEXT,
        metavar: str = "",
        default: Any = None,
        bare: str | None = None,
        env: str = "",
        later: bool = False,
        no_op: bool = False,
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.help = help
        self.short = short
        self.kind = kind
        self.metavar = metavar
        """What stands for the value in the help."""
        self.default = default if default is not None or kind not in _EMPTY else _EMPTY[kind]
        self.bare = "true" if kind == BOOL else bare
        """The value when nothing follows the name; such a flag takes its value only after "="."""
        self.env = env
        """The environment variable that gives the default."""
        self.later = later
        """Known, and refused with a clear error: it is not supported yet."""
        self.no_op = no_op
        """Accepted for the sake of scripts; there is nothing for it to do here."""
        self.hidden = hidden
        """Not in the help, as with buildah."""

    @property
    def key(self) -> str:
        """The name of its value in :class:`Arguments`."""
        return self.name.replace("-", "_")


class Verb:
    """A verb of the command line: everything that parsing, help and the command reference need to know."""

    __slots__ = (
        "accepts", "aliases", "command", "details", "example", "flags", "maximum", "minimum", "missing", "name",
        "passthrough", "run", "summary",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        accepts: str = "",
        positionals: tuple[int, int | None] = (0, 0),
        missing: str = "",
        example: str,
        details: str = "",
        flags: tuple[Flag, ...] = (),
        aliases: tuple[str, ...] = (),
        passthrough: bool = False,
    ) -> None:
        self.name = name
        self.summary = summary
        self.accepts = accepts
        """The positional arguments as the usage line shows them."""
        self.minimum, self.maximum = positionals
        self.missing = missing
        """What the error says when there are too few positionals."""
        self.example = example
        self.details = details
        self.flags = flags
        self.aliases = aliases
        self.passthrough = passthrough
        """All that follows the first positional is a command with flags of its own."""


class Arguments:
    """The values of a verb's flags as attributes ("no-trunc" is ``no_trunc``), and the positionals.

    ``given`` names the flags that were really written (or came from the environment).
    """

    def __init__(self, positionals: list[str], values: dict[str, Any], given: frozenset[str]) -> None:
        self.positionals = positionals
        self.values = values
        self.given = given

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


class HelpWanted(Exception):
    """``--help`` was among the flags."""


GLOBAL_FLAGS = (
    Flag("root", "folder of the store", metavar="DIR", env="BUILDLIB_ROOT"),
    Flag("runroot", "accepted; mounts and locks need no folder of their own", metavar="DIR", no_op=True),
    Flag("storage-driver", "overlay, fuse or copy; by default the first that works", metavar="NAME",
         env="STORAGE_DRIVER"),
    Flag("isolation", "oci, rootless or chroot; by default the first that can be had", metavar="KIND",
         env="BUILDAH_ISOLATION"),
    Flag("log-level", "warn, debug …; with debug an error shows where it happened", metavar="LEVEL", default="warn"),
    Flag("log-format", "how errors and progress are told: text, or json for programs", metavar="FORMAT",
         default="text"),
    Flag("cgroup-manager", "accepted; cgroups are made as files", metavar="NAME", no_op=True),
    Flag("registries-conf", "file with the settings of registries", metavar="FILE", env="CONTAINERS_REGISTRIES_CONF"),
    Flag("registries-conf-dir", "folder with more of them", metavar="DIR"),
    Flag("short-name-alias-conf", "file with short names of images", metavar="FILE"),
    Flag("storage-opt", "accepted; the drivers here take none", kind=LIST, metavar="OPTION", no_op=True),
    Flag("transient-store", "accepted; the store lasts", kind=BOOL, no_op=True),
    Flag("userns-gid-map", "--userns-gid-map of containers to be made", kind=EACH, metavar="INSIDE:OUTSIDE:COUNT"),
    Flag("userns-uid-map", "--userns-uid-map of containers to be made", kind=EACH, metavar="INSIDE:OUTSIDE:COUNT"),
    Flag("imagestore", "a second place for images", metavar="DIR", later=True, hidden=True),
    Flag("debug", "the same as --log-level debug", kind=BOOL, hidden=True),
    Flag("cpu-profile", "accepted", metavar="FILE", no_op=True, hidden=True),
    Flag("memory-profile", "accepted", metavar="FILE", no_op=True, hidden=True),
    Flag("default-mounts-file", "the file, instead of mounts.conf", metavar="FILE", hidden=True),
    Flag("signature-policy", "the file, instead of policy.json", metavar="FILE", hidden=True),
)  # fmt: skip
"""Flags that stand before the verb, or among its own."""


def parse(verb: Verb, argv: Sequence[str], environ: Mapping[str, str], program: str = "buildlib") -> Arguments:
    """Read what follows the verb's name.

    Raises :class:`UsageError` for what can't be meant, :class:`HelpWanted` for ``--help`` and ``-h``.
    """
    own = {flag.name for flag in verb.flags}
    reader = _Reader((*verb.flags, *(flag for flag in GLOBAL_FLAGS if flag.name not in own)))
    try:
        rest = reader.read(argv)
        if not verb.passthrough:
            _refuse_late_flags(rest)
        elif rest.positionals[1:2] == ["--"]:
            del rest.positionals[1]
        _check_count(verb, rest.positionals, program)
        values = reader.values(environ)
    except UsageError as error:
        error.hint = error.hint or f"`{program} {verb.name} --help` lists the flags and shows an example"
        raise
    return Arguments(rest.positionals, values, frozenset(reader.found))


def parse_globals(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Read the flags before the verb; return what was given of them and the rest, verb first.

    ``--version`` gives ``{"version": True}``.
    """
    version = Flag("version", "print the version", short="v", kind=BOOL)
    reader = _Reader((*GLOBAL_FLAGS, version))
    rest = reader.read(argv)
    return reader.found, rest.positionals


class _Rest:
    """What follows the flags; ``literal`` when "--" ended them."""

    __slots__ = ("literal", "positionals")

    def __init__(self, positionals: list[str], literal: bool = False) -> None:
        self.positionals = positionals
        self.literal = literal


class _Reader:
    def __init__(self, flags: Sequence[Flag]) -> None:
        self.flags = flags
        self.found: dict[str, Any] = {}
        self._long = {flag.name: flag for flag in flags}
        self._short = {flag.short: flag for flag in flags if flag.short}

    def read(self, argv: Sequence[str]) -> _Rest:
        queue = list(argv)
        while queue:
            word = queue[0]
            if word == "--":
                return _Rest(queue[1:], literal=True)
            if word == "-" or not word.startswith("-"):
                break
            del queue[0]
            if word.startswith("--"):
                self._read_long(word, queue)
            else:
                self._read_short(word[1:], word, queue)
        return _Rest(queue)

    def _read_long(self, word: str, queue: list[str]) -> None:
        name, equals, value = word[2:].partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        flag = self._long.get(name)
        if flag is None:
            if name == "help":
                raise HelpWanted
            raise UsageError(f"unknown flag: --{name}", hint=_similar(name, self._long))
        if not equals:
            if flag.bare is not None:
                value = flag.bare
            elif queue:
                value = queue.pop(0)
            else:
                raise UsageError(f"flag needs an argument: --{name}")
        self._set(flag, value, f"--{name}")

    def _read_short(self, letters: str, word: str, queue: list[str]) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self._short.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpWanted
                raise UsageError(f"unknown shorthand flag: {letter!r} in {word}")
            name = f"-{letter}, --{flag.name}"
            if letters.startswith("="):
                value, letters = letters[1:], ""
            elif flag.bare is not None:
                value = flag.bare
            elif letters:
                value, letters = letters, ""
            elif queue:
                value = queue.pop(0)
            else:
                raise UsageError(f"flag needs an argument: {letter!r} in {word}")
            self._set(flag, value, name)

    def _set(self, flag: Flag, value: str, shown: str) -> None:
        if flag.later:
            raise UsageError(f"{shown} is not supported yet")
        try:
            converted = _CONVERT[flag.kind](value)
        except ValueError as error:
            raise UsageError(f'invalid argument "{value}" for "{shown}" flag: {error}') from None
        if flag.kind in (EACH, LIST):
            self.found.setdefault(flag.key, []).extend(converted)
        else:
            self.found[flag.key] = converted

    def values(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """Every flag's value: as written, else from the environment, else its default."""
        for flag in self.flags:
            if flag.env and environ.get(flag.env) and flag.key not in self.found:
                self._set(flag, environ[flag.env], flag.env)
        return {flag.key: self.found.get(flag.key, flag.default) for flag in self.flags}


def _boolean(value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ValueError("it is neither true nor false")


def _number(value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise ValueError("it is not a whole number") from None


def _list(value: str) -> list[str]:
    if '"' not in value:
        return value.split(",") if value else []
    import csv

    try:
        return next(csv.reader([value], strict=True), [])
    except csv.Error as error:
        raise ValueError(str(error)) from None


_CONVERT: dict[str, Callable[[str], Any]] = {
    BOOL: _boolean,
    TEXT: str,
    NUMBER: _number,
    EACH: lambda value: [value],
    LIST: _list,
}


def _refuse_late_flags(rest: _Rest) -> None:
    if rest.literal:
        return
    for word in rest.positionals:
        if word.startswith("-") and word != "-":
            raise UsageError(f"no options ({word}) can be specified after the image or container name")


def _check_count(verb: Verb, positionals: list[str], program: str) -> None:
    if len(positionals) < verb.minimum:
        raise UsageError(verb.missing or f"requires at least {verb.minimum} arg(s), only received {len(positionals)}")
    if verb.maximum is not None and len(positionals) > verb.maximum:
        if verb.maximum == 0:
            raise UsageError(f"'{program} {verb.name}' does not accept arguments")
        raise UsageError("too many arguments specified")


def _similar(name: str, known: Mapping[str, Flag]) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"did you mean --{close[0]}?" if close else None
