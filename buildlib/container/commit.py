"""From a working container to an image: layers, history, config and manifest. The data itself stays where it is.

A timestamp is given to new layers by aliases (:meth:`Layers.retimed`): a layer that the cache shares with other
images keeps its own times, and nothing is copied. Equal aliases are used again.
"""

from __future__ import annotations

import time

from buildlib.container.performing import settle, shell_of
from buildlib.container.state import Entry
from buildlib.errors import UsageError
from buildlib.oci import Descriptor, History, ImageConfig, Manifest, format_time, mediatype, parse_time
from buildlib.oci.value import evolve, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.container import WorkingContainer
    from buildlib.container.state import State
    from buildlib.image import Image
    from buildlib.leases import Lease

FORMATS = {"oci": mediatype.OCI_MANIFEST, "docker": mediatype.DOCKER_MANIFEST}
NOTE = "org.opencontainers.image."
INLINE = "buildlib.cache.v1"
"""The field of a config with the cache records of the image's own layers; never handed down to an image built on it."""


@frozen
class Request:
    """What an image is to be like."""

    names: tuple[str, ...] = ()
    squash: bool | str = False
    timestamp: int | None = None
    source_date_epoch: int | None = None
    rewrite_timestamp: bool = False
    format: str | None = None
    created_by: str | None = None
    comment: str | None = None
    annotations: dict[str, str | None] | None = None
    omit_history: bool = False
    inline_cache: bool = False

    @property
    def epoch(self) -> int | None:
        """The time that everything gets which is dated anew."""
        return self.timestamp if self.timestamp is not None else self.source_date_epoch


def commit(container: WorkingContainer, wanted: Request) -> Image:
    """See :meth:`WorkingContainer.commit`."""
    _check(wanted)
    container.refresh()
    if wanted.created_by is not None or wanted.comment is not None:
        _say(container, wanted)
    settle(container)
    base = container.base
    if base is not None and _is_base(container, base, wanted):
        base.tag(*wanted.names)
        return base
    with container.store.lease() as lease:
        layers = _layers(container, wanted, lease)
        config = _config(container, base, wanted, layers)
        manifest = _manifest(container, base, wanted, layers, config)
        return container.store.add_image(config.encode(), manifest.raw, layers, wanted.names)


def _check(wanted: Request) -> None:
    if wanted.squash not in (False, True, "new", "all"):
        raise UsageError(f"squash is {wanted.squash!r}", hint='it is False, True (everything) or "new" (new layers)')
    if wanted.format not in (None, *FORMATS):
        raise UsageError(f"there is no image format {wanted.format!r}", hint="the formats are oci and docker")
    if wanted.timestamp is not None and (wanted.source_date_epoch is not None or wanted.rewrite_timestamp):
        raise UsageError("timestamp sets all times; it can't be combined with source_date_epoch")


def _say(container: WorkingContainer, wanted: Request) -> None:
    """What the caller wants the history to say of what is not a layer yet."""
    state = container.state
    changes = {"created_by": wanted.created_by, "history_comment": wanted.comment}
    container.save(state.evolve(**{name: text for name, text in changes.items() if text is not None}))


def _is_base(container: WorkingContainer, base: Image, wanted: Request) -> bool:
    """Whether nothing was done: then the image is the base itself, with one more name."""
    state = container.state
    return (
        container.layers == base.layers
        and not state.history
        and not wanted.squash
        and not wanted.omit_history
        and not wanted.inline_cache
        and wanted.annotations is None
        and (wanted.format is None or FORMATS[wanted.format] == base.manifest.media_type)
        and state.config == evolve(base.config, diff_ids=(), history=(), created=None)
        and state.annotations == type(state).fresh(base, state.state_key).annotations
    )


# --- layers -----------------------------------------------------------------------------------------------------------


def _layers(container: WorkingContainer, wanted: Request, lease: Lease) -> tuple[str, ...]:
    store, count = container.store, container.state.base_layers
    clamp = wanted.epoch if wanted.rewrite_timestamp else None
    times = {"timestamp": wanted.timestamp, "clamp": clamp}
    if wanted.squash in (True, "all"):
        return (store.layers.squash(container.layers, lease, timestamp=wanted.timestamp, clamp=clamp),)
    base, new = container.layers[:count], container.layers[count:]
    if wanted.squash == "new" and len(new) > 1:
        new = (store.layers.merge(new, base, lease),)
    if any(value is not None for value in times.values()):
        new = tuple(_retimed(container, layer, lease, **times) for layer in new)
    return (*base, *new)


def _retimed(container: WorkingContainer, layer: str, lease: Lease, **times: int | None) -> str:
    """An alias of the layer with those times, an existing one where there is one."""
    store = container.store
    with store.db.transaction():
        row = store.db.row(
            "SELECT id FROM layers WHERE files = (SELECT coalesce(files, id) FROM layers WHERE id = ?) "
            "AND timestamp IS ? AND clamp IS ? LIMIT 1",
            (layer, times["timestamp"], times["clamp"]),
        )
        if row is not None:
            lease.take(f"layer:{row[0]}")
            return str(row[0])
    return store.layers.retimed(layer, lease, **times)


# --- documents --------------------------------------------------------------------------------------------------------


def history_of(container: WorkingContainer) -> tuple[History, ...]:
    """The history as commit would write it now."""
    base = container.base
    return (*(base.history if base is not None else ()), *_entries(container, Request(), None))


def _entries(container: WorkingContainer, wanted: Request, created: str | None) -> tuple[History, ...]:
    """The new entries. Their number that are not empty is that of the new layers."""
    state = container.state
    entries = list(state.history)
    if wanted.squash:
        entries = _one_layer(entries, state, wanted)
    author = state.config.author
    result: list[History] = []
    for entry in entries:
        when = created
        if wanted.epoch is not None:
            when = format_time(wanted.epoch)
        elif entry.created is not None:
            when = format_time(entry.created)
        result.append(History(when, entry.created_by, author, entry.comment, entry.empty_layer))
    if result and container.image_name != "scratch" and not result[0].comment:
        result[0] = evolve(result[0], comment=f"FROM {container.image_name}")
    return tuple(result)


def _one_layer(entries: list[Entry], state: State, wanted: Request) -> list[Entry]:
    """The history of several layers that became one: the last step owns it."""
    owners = [index for index, entry in enumerate(entries) if not entry.empty_layer]
    if not owners and wanted.squash != "new":
        return [*entries, Entry(wanted.created_by or state.created_by or shell_of(state), created=time.time())]
    return [evolve(entry, empty_layer=True) if index in owners[:-1] else entry for index, entry in enumerate(entries)]


def _created(container: WorkingContainer, base: Image | None, wanted: Request) -> str:
    """When the image was made: of a cached build, when its last layer was, so that doing it again gives its id."""
    if wanted.epoch is not None:
        return format_time(wanted.epoch)
    state = container.state
    times = [entry.created for entry in state.history if entry.created is not None]
    if state.cache and times:
        return format_time(max(times))
    if state.cache and base is not None and base.config.created:
        return format_time(parse_time(base.config.created))
    return format_time(time.time())


def _config(container: WorkingContainer, base: Image | None, wanted: Request, layers: Sequence[str]) -> ImageConfig:
    state = container.state
    created = _created(container, base, wanted)
    new = _entries(container, wanted, created)
    old = base.config.history if base is not None and wanted.squash not in (True, "all") else ()
    history = (*old, *new)
    if wanted.omit_history or (base is not None and base.layers and not base.config.history and not wanted.squash):
        # An image with layers but no history can't be given one that fits (image-spec: entries and layers correspond).
        history = ()
    diff_ids = container.store.layers.diff_ids(layers)
    extra = {name: value for name, value in state.config.extra.items() if name != INLINE}
    if wanted.inline_cache:
        from buildlib.cache_exchange import inline

        extra[INLINE] = inline(container, len(layers))
    return evolve(state.config, diff_ids=diff_ids, history=history, created=created, extra=extra)


def _manifest(
    container: WorkingContainer, base: Image | None, wanted: Request, layers: Sequence[str], config: ImageConfig
) -> Manifest:
    state = container.state
    format = wanted.format or state.format
    docker = format == "docker"
    below = base.layers if base is not None else ()
    known = base.manifest.layers if base is not None else ()
    descriptors = [
        _descriptor(container, layer, known[index] if below[index : index + 1] == (layer,) else None, docker)
        for index, layer in enumerate(layers)
    ]
    notes: dict[str, str] = {}
    if not docker:
        every: dict[str, str | None] = {**state.annotations, **_base_notes(container, base)}
        every |= {f"{NOTE}created": config.created or "", **(wanted.annotations or {})}
        notes = {name: text for name, text in every.items() if text is not None}
    described = config.descriptor(mediatype.DOCKER_CONFIG if docker else mediatype.OCI_CONFIG)
    return Manifest.build(described, descriptors, media_type=FORMATS[format], annotations=dict(sorted(notes.items())))


def _base_notes(container: WorkingContainer, base: Image | None) -> dict[str, str]:
    if base is None:
        return {}
    notes = {f"{NOTE}base.digest": container.state.base_digest or base.digest}
    host, slash, _ = container.image_name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost") and ":/" not in container.image_name:
        notes[f"{NOTE}base.name"] = container.image_name
    return notes


def _descriptor(container: WorkingContainer, layer: str, known: Descriptor | None, docker: bool) -> Descriptor:
    """The layer as the base's manifest has it, so that a push sends the same bytes; a new one as a plain tar."""
    if known is not None:
        converted = (mediatype.to_docker if docker else mediatype.to_oci)(known.media_type)
        if mediatype.is_docker(converted) == docker:
            return evolve(known, media_type=converted)
    plain = container.store.layers.descriptor(layer)
    return evolve(plain, media_type=mediatype.DOCKER_LAYER) if docker else plain
