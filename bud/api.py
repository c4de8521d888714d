"""What ``buildlib.build`` calls: a build asked for from Python, with the flags of the command as keyword arguments."""

from __future__ import annotations

import os
import sys

from bud import arguments, results
from bud.builds import Builds
from buildlib.cli.flags import parse
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from bud.progress import Progress
    from bud.request import Request
    from buildlib import Image, ManifestList, Store

_TOLD = ("quiet", "progress")
"""Flags of the command that say how it talks; here that is an argument of its own."""


def build(
    store: Store, context: str, text: str | None, progress: Progress | str | None, flags: Mapping[str, Any]
) -> Image | ManifestList:
    """See :func:`buildlib.build`."""
    from bud.cli import VERB

    args = parse(VERB, [*_words(flags), "--", context], {})
    arguments.check(args)
    data = None if text is None else text.encode("utf-8", "surrogateescape")
    if arguments.is_here(args):
        return _run(store, results.extend(arguments.request_of(args, text=data), args), progress, args)
    with arguments.fetched(store, args, data) as request:
        return _run(store, results.extend(request, args), progress, args)


def _words(flags: Mapping[str, Any]) -> Iterator[str]:
    """Keyword arguments as words of a command line."""
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if name in _TOLD:
            raise UsageError(f"build() takes no {name}={value!r}", hint="progress=… says how it is told")
        if isinstance(value, dict):
            yield from (f"{flag}={key}={each}" for key, each in value.items())
        elif isinstance(value, (list, tuple, set, frozenset)):
            yield from (f"{flag}={each}" for each in value)
        elif isinstance(value, bool):
            yield f"{flag}={str(value).lower()}"
        elif value is not None:
            yield f"{flag}={value}"


def _run(store: Store, request: Request, progress: Progress | str | None, args: Any) -> Image | ManifestList:
    from bud import told

    kind = progress if isinstance(progress, str) else "quiet"
    own = told.progress(kind, sys.stderr, os.environ, os.path.join(store.root, "logs"))
    try:
        with Builds(
            store, request, progress if progress is not None and not isinstance(progress, str) else own
        ) as made:
            built = made.run()
    finally:
        own.close()
    results.write(store, built, request.all_names, args)
    return built
