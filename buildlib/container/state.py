"""What a working container is between two calls, as one frozen value that the database keeps as JSON."""

from __future__ import annotations

import json

from buildlib.oci import ImageConfig, document
from buildlib.oci.value import evolve, field, fields, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.image import Image

CLEAN, FAILED, CHANGED = "clean", "failed", "changed"
"""What the upper holds: nothing; the leavings of a cached call that did not finish, which the next one clears away;
or changes that belong to the container."""


@frozen
class Entry:
    """A step for the history. ``created`` (seconds since 1970) is None where the step made no layer.

    ``files``: the step may have changed files, without having made a layer yet.
    """

    created_by: str
    comment: str = ""
    created: float | None = None
    empty_layer: bool = False
    files: bool = False

    def to_list(self) -> list[Any]:
        """Plain data."""
        return [self.created_by, self.comment, self.created, self.empty_layer, self.files]


@frozen
class State:
    """Everything about a container but its id, its names and its layers.

    ``config`` has neither DiffIDs nor history: both follow from the base, the layers and ``history`` at commit.
    """

    config: ImageConfig
    state_key: str
    """Identifies the files in the cache: what was done to which base."""
    cache: bool = False
    """Whether calls are memoised; each one that may change files then makes a layer."""
    no_cache: bool = False
    """With ``cache``: nothing is looked up, but what is done is recorded."""
    max_age: float | None = None
    """With ``cache``: older records do not count; seconds."""
    format: str = "oci"
    annotations: dict[str, str] = field(factory=dict, hash=False)
    history: tuple[Entry, ...] = ()
    """New entries, in order; those of the base are not repeated."""
    base_layers: int = 0
    base_digest: str | None = None
    created_by: str = ""
    """What commit writes into the history if nothing else is said."""
    history_comment: str = ""
    run: dict[str, Any] = field(factory=dict, hash=False)
    """How its commands are run: what :class:`RunOptions` are given, as plain data."""
    calls: tuple[dict[str, Any], ...] | None = None
    """What was done by hand, as :mod:`buildlib.container.calls` writes it down; None: nothing is."""
    checkpoints: dict[str, str] = field(factory=dict, hash=False)
    """Names of states to go back to → ids of the containers that keep them."""
    upper: str = CLEAN
    prepared: str | None = None
    """The topmost layer ("" for none) above which the folders on disk were made; None: there are none yet."""

    @classmethod
    def fresh(cls, image: Image | None, state_key: str, **options: Any) -> State:
        """The state of a new container on ``image``, or on nothing."""
        if image is None:
            from buildlib.oci import Platform

            host = options.pop("platform", None) or Platform.host()
            config = ImageConfig(architecture=host.architecture, os=host.os, variant=host.variant)
            return cls(config, state_key, **options)
        options.pop("platform", None)
        config = evolve(image.config, diff_ids=(), history=(), created=None)
        notes = {
            name: value
            for name, value in image.manifest.annotations.items()
            if not name.startswith("org.opencontainers.image.base.") and name != "org.opencontainers.image.created"
        }
        layers = len(image.layers)
        return cls(config, state_key, annotations=notes, base_layers=layers, base_digest=image.digest, **options)

    def evolve(self, **changes: Any) -> State:
        """This state with some fields replaced."""
        return evolve(self, **changes)

    def encode(self) -> str:
        """JSON."""
        values = {name: getattr(self, name) for name in _PLAIN}
        values["config"] = document.write(self.config)
        values["history"] = [entry.to_list() for entry in self.history]
        return _JSON.encode(values)

    @classmethod
    def decode(cls, text: str) -> State:
        """The inverse of :meth:`encode`."""
        values = json.loads(text)
        values["config"] = document.read(ImageConfig, values["config"], "container")
        values["history"] = tuple(Entry(*entry) for entry in values["history"])
        values["calls"] = tuple(values["calls"]) if values.get("calls") is not None else None
        return cls(**values)


_JSON = json.JSONEncoder(separators=(",", ":"))

_PLAIN = tuple(f.name for f in fields(State) if f.name not in ("config", "history"))
