"""The same for several names: one that fails does not keep the others from being done."""

from __future__ import annotations

from buildlib.errors import BuildlibError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each(names: Iterable[str], do: Callable[[str], None]) -> int:
    """Call ``do`` with every name; report every failure on stderr, return the exit code of the last one, or 0."""
    code = 0
    for name in names:
        try:
            do(name)
        except BuildlibError as error:
            from buildlib.cli.failure import report

            code = report(error)
    return code
