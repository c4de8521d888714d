"""The line of a magic: words, flags, and what they mean for the functions of ``buildlib``. Pure."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any, NoReturn

from buildlib.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Parser(argparse.ArgumentParser):
    """Reads the words of a magic's line; what can't be meant is a :class:`UsageError`, not the end of the process."""

    def __init__(self, magic: str, **options: Any) -> None:
        super().__init__(prog=magic, add_help=False, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        raise UsageError(f"{self.prog}: {message}", hint=self.format_usage().strip())

    def read(self, line: str) -> argparse.Namespace:
        """The values; words are cut as a shell cuts them."""
        return self.parse_args(cut(line, self.prog))


def cut(line: str, magic: str) -> list[str]:
    """The words of a line."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{magic}: {error}", hint="close the quotes") from None


def build_flags(words: Sequence[str]) -> tuple[str, str | None, dict[str, Any]]:
    """Context, the variable for the image (``--into``), and the keywords of ``buildlib.build``.

    >>> build_flags(["-t", "a:1", "--build-arg", "V=2", "--no-cache", "--target=test", "ctx"])
    ('ctx', None, {'tag': ['a:1'], 'build_arg': ['V=2'], 'no_cache': True, 'target': 'test'})
    """
    parser = Parser("%%dockerfile")
    parser.add_argument("context", nargs="?", default=".")
    parser.add_argument("--into")
    parser.add_argument("-t", "--tag", action="append")
    for name in ("build-arg", "build-context", "secret", "ssh", "label", "platform", "add-host"):
        parser.add_argument(f"--{name}", action="append")
    for name in ("target", "network", "jobs", "timestamp", "cache-from", "cache-to"):
        parser.add_argument(f"--{name}")
    for name in ("no-cache", "pull", "squash", "push"):
        parser.add_argument(f"--{name}", action="store_true")
    found = vars(parser.parse_args(list(words)))
    context, into = found.pop("context"), found.pop("into")
    return context, into, {name: value for name, value in found.items() if value not in (None, False)}
