"""The same for several names: one that fails does not keep the others from being done."""

from __future__ import annotations

from buildlib.errors import BuildlibError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


NO_IMAGE = 2
"""The exit code of skopeo for an image that is not there."""


def each(names: Iterable[str], do: Callable[[str], None], missing: int | None = None) -> int:
    """Call ``do`` with every name; report every failure on stderr, return the exit code of the last one, or 0.

    ``missing`` is the code for what is not found, if it is not that of other failures.
    """
    code = 0
    for name in names:
        try:
            do(name)
        except BuildlibError as error:
            from buildlib.cli.failure import report

            code = report(error)
            if missing is not None and isinstance(error, NotFound):
                code = missing
    return code
