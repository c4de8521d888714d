"""The digest of files in layers: what COPY --from would copy."""

from __future__ import annotations

from buildlib.worker.copying import request as requests
from buildlib.worker.operations.copy import source
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def digest(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{root | view, …} -> {digest, names}``; the other arguments are the fields of :class:`Request`.

    Raises :class:`CopyError`.
    """
    request = requests.Request.from_dict(args)
    with Workspace(root) as space, source(space, args, request) as fd:
        tree = requests.digest(request, fd)
    return {"digest": tree.finish(), "names": tree.brief()}
