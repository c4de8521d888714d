"""Finds verbs of other packages through the entry-point group ``buildlib.verbs``, such as ``build`` of ``bud``.

It reads the ``entry_points.txt`` files itself: importing ``importlib.metadata`` costs more than most verbs take in all.
"""

from __future__ import annotations

import os
import sys

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

GROUP = "buildlib.verbs"


def run_plugin(name: str, words: list[str], options: dict[str, Any]) -> int:
    """Call the plugin of verb ``name`` with ``words``; the global flags are put in front, for it takes them, too.

    Raises :class:`UsageError` when no package has such a verb.
    """
    target = find(name, sys.path)
    if target is None:
        raise UsageError(f'unknown command "{name}" for "buildlib"', hint=_similar(name))
    from importlib import import_module

    module, _, attribute = target.partition(":")
    function = getattr(import_module(module), attribute or "main")
    code: int | None = function([*global_words(options), *words])
    return code or 0


def global_words(options: dict[str, Any]) -> list[str]:
    """The global flags as they would be written again."""
    return [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]


def find(name: str, path: Iterable[str], group: str = GROUP) -> str | None:
    """The object reference ``module:attribute`` that the first package on ``path`` gives for ``name``."""
    for text in _entry_point_files(path):
        for verb, target in _section(text, group):
            if verb == name:
                return target
    return None


def names(path: Iterable[str], group: str = GROUP) -> list[str]:
    """All verbs that packages on ``path`` bring."""
    return sorted({verb for text in _entry_point_files(path) for verb, _ in _section(text, group)})


def installed_version(package: str, path: Iterable[str]) -> str | None:
    """The version of an installed package, from the name of its metadata folder."""
    for folder in path:
        for entry in _entries(folder):
            name, dash, rest = entry.partition("-")
            if dash and name == package and rest.endswith((".dist-info", ".egg-info")):
                return rest.rpartition(".")[0].partition("-")[0]
    return None


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError:  # a zip file, or a folder that is not there
        return []


def _entry_point_files(path: Iterable[str]) -> Iterator[str]:
    for folder in path:
        for entry in _entries(folder):
            if entry.endswith((".dist-info", ".egg-info")):
                try:
                    with open(os.path.join(folder, entry, "entry_points.txt"), encoding="utf-8") as file:
                        text = file.read()
                except (OSError, UnicodeDecodeError):
                    continue
                if GROUP in text:
                    yield text


def _section(text: str, group: str) -> Iterator[tuple[str, str]]:
    inside = False
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            yield name.strip(), target.strip().partition("[")[0].strip()


def _similar(name: str) -> str:
    from difflib import get_close_matches

    from buildlib.cli import ALIASES, MODULES

    close = get_close_matches(name, [*MODULES, *ALIASES, *names(sys.path)], n=1)
    return f'did you mean "{close[0]}"?' if close else "`buildlib --help` lists the commands"
