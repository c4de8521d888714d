"""Which ignore file a build obeys, and where it stands. What its patterns mean says ``IgnorePatterns``."""

from __future__ import annotations

import os

from bud.errors import DockerfileError
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import IgnorePatterns

NAMES = (".containerignore", ".dockerignore")
"""At the root of a context, the first that is there counts (buildah knows the first name, docker only the second)."""


def find(context: str, dockerfile: str | None, explicit: str | None = None) -> str | None:
    """The path of the ignore file, or None.

    ``explicit`` (of ``--ignorefile``) goes first; then ``<Dockerfile>.dockerignore`` beside the Dockerfile, which
    replaces the one of the context; then that. ``dockerfile`` is None when it came from nowhere, like standard input.
    """
    if explicit is not None:
        return explicit
    candidates = [os.path.join(context, name) for name in NAMES]
    if dockerfile is not None:
        candidates.insert(0, dockerfile + ".dockerignore")
    return next((path for path in candidates if os.path.isfile(path)), None)


def read(path: str | None) -> IgnorePatterns:
    """The patterns of a file; none when there is no file. Raises :class:`DockerfileError` that names the line."""
    from buildlib import IgnorePatterns

    if path is None:
        return IgnorePatterns()
    try:
        with open(path, "rb") as file:
            return IgnorePatterns.parse(file.read(), source=os.path.basename(path))
    except OSError as error:
        raise DockerfileError(f"the ignore file {path} can't be read: {error.strerror}", file=path) from None
    except UsageError as error:
        raise DockerfileError(f"{path}: {error.message}", hint=error.hint, file=path) from None
