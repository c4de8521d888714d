"""``buildlib completion``: prints a script that completes verbs, flags and names on the command line of a shell.

The scripts are made from the flags that the verbs declare; names of images and containers are asked for when Tab is
pressed. Each also serves ``buildah``, for those who call this program so.
"""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, GLOBAL_FLAGS, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildlib.cli.flags import Arguments

VERB = Verb(
    "completion",
    "Print a script for the completion of a shell",
    accepts="bash|zsh|fish",
    positionals=(1, 1),
    missing="the shell must be specified: bash, zsh or fish",
    example="source <(buildlib completion bash)\nbuildlib completion fish > ~/.config/fish/completions/buildlib.fish",
    details="bash: put the first line into ~/.bashrc. zsh: write it to a file called _buildlib in a folder of $fpath.",
)

CHOICES = {
    "compression-format": ("gzip", "none", "zstd"),
    "format": ("docker", "oci"),
    "isolation": ("chroot", "oci", "rootless"),
    "log-format": ("json", "text"),
    "log-level": ("debug", "error", "info", "trace", "warn"),
    "policy": ("always", "missing", "never", "newer"),
    "pull": ("always", "missing", "never", "newer"),
    "storage-driver": ("copy", "fuse", "overlay"),
    "type": ("container", "image", "manifest"),
}
"""What flags can be, by their names."""

TEMPLATED = frozenset(("containers", "images", "info", "inspect"))
"""Verbs whose ``--format`` is a template."""


def run(args: Arguments) -> int:
    """Print the script."""
    shell = args.positionals[0]
    if shell not in ("bash", "fish", "zsh"):
        raise UsageError(f'there is no completion for "{shell}"', hint="there is one for bash, zsh and fish")
    __import__(f"buildlib.cli.completion_{shell}")
    script: str = sys.modules[f"buildlib.cli.completion_{shell}"].script(verbs())
    sys.stdout.write(script)
    return 0


def verbs() -> list[Verb]:
    """All verbs by name, those of other packages included."""
    from buildlib.cli import MODULES, _load
    from buildlib.cli.plugins import find, names

    found = {name: _load(name).VERB for name in MODULES}
    for name in names(sys.path):
        target = find(name, sys.path) or ""
        module = target.partition(":")[0]
        __import__(module)
        verb = getattr(sys.modules[module], "VERB", None)
        if isinstance(verb, Verb):
            found[name] = verb
    return [_called(verb, name) for name, verb in sorted(found.items())]


def _called(verb: Verb, name: str) -> Verb:
    if verb.name == name:
        return verb
    return Verb(name, verb.summary, accepts=verb.accepts, example=verb.example, flags=verb.flags)


def flags(verb: Verb) -> Iterator[Flag]:
    """The flags of a verb that are offered, the global ones included."""
    own = {flag.name for flag in verb.flags}
    for flag in (*verb.flags, *(flag for flag in GLOBAL_FLAGS if flag.name not in own)):
        if not (flag.hidden or flag.later):
            yield flag


def takes_value(flag: Flag) -> bool:
    """Whether the word after it is its value."""
    return flag.kind != BOOL and flag.bare is None


def choices(verb: Verb, flag: Flag) -> Sequence[str]:
    """What its value can be, as far as that is known."""
    if "|" in flag.metavar and "=" not in flag.metavar:
        return [word for word in flag.metavar.split("|") if word.islower()]
    if flag.name == "format" and verb.name in TEMPLATED:
        return ()
    return CHOICES.get(flag.name, ())


def is_path(flag: Flag) -> bool:
    """Whether its value is a file or a folder."""
    return flag.metavar in ("DIR", "FILE", "FILE|DIR", "SOURCE[:TARGET]")


def positionals(verb: Verb) -> list[str]:
    """What each positional is: container, image, file or nothing known; the last one may be repeated."""
    words = verb.accepts.split("|")[0].split()
    return [_kind(word.strip("[].")) for word in words if word not in ("[--]",)]


def _kind(word: str) -> str:
    if word == "CONTAINER":
        return "container"
    if word in ("IMAGE", "LIST"):
        return "image"
    if word == "NAME":
        return "any"
    return "file" if word in ("SOURCE", "CONTEXT", "FILE", "DESTINATION", "ARCHIVE", "COMMAND") else "none"
