"""Where the bytes of an image are: what each layer brings, and what of it upper layers hide. It reads no contents."""

from __future__ import annotations

import stat

from buildlib.comparison import changed_by
from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildlib.layer.diff import Change
    from buildlib.oci import History
    from buildlib.store import Store


class File(NamedTuple):
    """A path that can be seen, with a leading "/"; ``size`` in bytes, ``mode`` with its type bits."""

    path: str
    size: int
    mode: int
    layer: int
    """The number of the layer that it comes from, 0 for the base."""


class Layer(NamedTuple):
    """A layer: its id ("" for what is not committed yet), the step that made it, what it changed."""

    id: str
    created_by: str
    changes: tuple[Change, ...]
    size: int
    """Bytes of the files in it."""
    hidden: int
    """Those of them that upper layers have replaced or deleted."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from buildlib.display import bundle

        return bundle("layer", self)


class Hidden(NamedTuple):
    """A path of which ``size`` bytes can't be seen any more, in ``copies`` layers."""

    path: str
    size: int
    copies: int


class Survey(NamedTuple):
    """All of an image: its layers base first, its files by path, and what is hidden, the largest first."""

    layers: tuple[Layer, ...]
    files: tuple[File, ...]
    hidden: tuple[Hidden, ...]

    @property
    def size(self) -> int:
        """Bytes of the files of all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def wasted(self) -> int:
        """Bytes that are carried along and can't be seen."""
        return sum(layer.hidden for layer in self.layers)

    @property
    def efficiency(self) -> float:
        """The part of the bytes that can be seen, 1.0 for an empty image."""
        return 1 - self.wasted / self.size if self.size else 1.0

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from buildlib.display import bundle

        return bundle("survey", self)


def survey(store: Store, layers: Sequence[str], history: Sequence[History], key: str | None = None) -> Survey:
    """Look through a stack of layers, base first, and the upper of the container ``key`` on top of it."""
    steps = [(layer, changed_by(store, layers[:number], layer=layer)) for number, layer in enumerate(layers)]
    if key is not None:
        steps.append(("", changed_by(store, layers, key=key)))
    made_by = [entry.created_by or "" for entry in history if not entry.empty_layer]
    made_by += [""] * (len(steps) - len(made_by))
    return fold([(layer, made_by[number], changes) for number, (layer, changes) in enumerate(steps)])


def fold(steps: Sequence[tuple[str, str, Sequence[Change]]]) -> Survey:
    """The survey of layers, given as (id, created_by, changes). Pure."""
    files: dict[str, File] = {}
    hidden: dict[str, Hidden] = {}
    lost = [0] * len(steps)

    def hide(path: str) -> None:
        gone = files.pop(path)
        if gone.size:
            before = hidden.get(path, Hidden(path, 0, 0))
            hidden[path] = Hidden(path, before.size + gone.size, before.copies + 1)
            lost[gone.layer] += gone.size

    for number, (_, _, changes) in enumerate(steps):
        for change in changes:
            before = files.get(change.path)
            if before is not None and stat.S_ISDIR(before.mode) and not stat.S_ISDIR(change.mode):
                below = f"{change.path}/"
                for path in [path for path in files if path.startswith(below)]:
                    hide(path)
            if before is not None:
                hide(change.path)
            if change.kind != "deleted":
                files[change.path] = File(change.path, change.size, change.mode, number)
    layers = tuple(
        Layer(id, made_by, tuple(changes), sum(change.size for change in changes), lost[number])
        for number, (id, made_by, changes) in enumerate(steps)
    )
    worst = sorted(hidden.values(), key=lambda one: (-one.size, one.path))
    return Survey(layers, tuple(files[path] for path in sorted(files)), tuple(worst))
