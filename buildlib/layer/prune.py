"""Takes away opaque marks that hide nothing: a layer's archive shall depend on what was done, not on the kernel."""

from __future__ import annotations

import os

from buildlib.errors import from_os_error
from buildlib.layer import whiteout
from buildlib.layer.merged import Merged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def prune_opaque(upper: str, parents: Iterable[str]) -> int:
    """Remove the opaque marks of directories in ``upper`` that none of ``parents`` (base first) has; say how many.

    The kernel marks every new directory in a merged one: as an optimisation, with some mount options, in some versions
    (ovl_create_upper()). Call it on a container's upper that is not mounted, before it becomes a layer. It costs a look
    at the directories that upper and parents share, no more. Raises :class:`StoreError`.
    """
    try:
        return _prune(upper, Merged.stack(parents))
    except OSError as error:
        raise from_os_error(error, f"reading {upper}") from error


def _prune(upper: str, below: Merged) -> int:
    count = 0
    waiting = [(upper, below)]
    while waiting:
        path, below = waiting.pop()
        with os.scandir(path) as entries:
            directories = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        for entry in directories:
            inside = below.enter(entry.name)
            if whiteout.opaque_mark(entry.path) == b"y":
                # Whatever is in it is new, so nothing there is marked.
                if inside is None:
                    whiteout.remove_opaque(entry.path)
                    count += 1
            elif inside is not None:
                waiting.append((entry.path, inside))
    return count
