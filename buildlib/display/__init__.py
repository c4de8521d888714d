"""How images, containers, layers, histories and differences look in a notebook: HTML without scripts, and plain text.

Nothing of IPython is imported: it asks objects for their ``_repr_mimebundle_``. What is shown is hostile text, so all
of it is escaped; colours are those of the notebook's theme.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.layer.diff import Change
    from buildlib.oci import History


def bundle(kind: str, value: Any) -> dict[str, str]:
    """The MIME bundle of ``value``, an ``image``, ``container``, ``survey``, ``layer``, ``history`` or ``changes``."""
    from buildlib.display import cards
    from buildlib.display.html import page

    shown = getattr(cards, kind)(value)
    return {"text/html": page(shown), "text/plain": cards.plain(kind, value)}


class Changes(list["Change"]):
    """A list of changes that shows itself as a tree of files."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return bundle("changes", self)


class Steps(tuple["History", ...]):
    """The steps of a history, which show themselves as a table."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return bundle("history", self)
