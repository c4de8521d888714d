"""Caches that leave the store and come from elsewhere: in a registry, in a folder, within an image's config.

A cache is one image manifest: a config of our own media type with all records, and their layers. An export sends only
the blobs that the other side has not got. An import reads that one manifest and the records; a layer comes when a step
wants it, verified as every layer is. Whoever imports a cache trusts its author: a record that lies gives a wrong layer.
"""

from __future__ import annotations

import io
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from buildlib import cache_document as documents
from buildlib.container.commit import INLINE
from buildlib.content import VerifiedReader
from buildlib.errors import BuildlibError, FormatError, StoreFull, UsageError
from buildlib.exchange import StoreDestination
from buildlib.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, mediatype
from buildlib.oci.document import MAX_BYTES
from buildlib.stored_layers import StoredLayers
from buildlib.transports import Blob, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildlib.cache import Record
    from buildlib.cache_document import Exported
    from buildlib.container import WorkingContainer
    from buildlib.registry.access import Access
    from buildlib.store import Store
    from buildlib.transports import ImageDestination, ImageSource

MODES = ("min", "max")
COMPRESSIONS = ("none", "gzip", "zstd")
PARALLEL = 4
"""Layers on their way at once; as for images."""


class Spec(NamedTuple):
    """Where a cache is, and how it is written."""

    type: str
    """``registry``, ``local`` or ``inline``."""
    where: str = ""
    """A reference, or a folder."""
    tag: str = "latest"
    """Which cache of a folder."""
    mode: str = "min"
    """``min``: only what the last stage is made of; ``max``: all stages."""
    compression: str = "gzip"
    level: int | None = None
    ignore_error: bool = False

    def __str__(self) -> str:
        return self.type if self.type == "inline" else f"{self.type}:{self.where}"


def parse_spec(text: str, *, importing: bool) -> Spec:
    """Read ``type=registry,ref=…``, ``type=local,dest=…`` (``src=``), ``type=inline``, or only a repository.

    Further: ``mode=min|max``, ``compression=none|gzip|zstd``, ``compression-level=N``, ``tag=``, ``ignore-error=true``.
    Raises :class:`UsageError`.
    """
    if "=" not in text:
        if not text:
            raise UsageError("a cache without a place", hint="write type=registry,ref=HOST/NAME")
        return Spec("registry", text)
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    kind = fields.pop("type", "registry" if "ref" in fields else "local")
    place = {"registry": ("ref",), "local": ("src",) if importing else ("dest",), "inline": ()}.get(kind)
    if place is None or (kind == "inline" and importing):
        raise UsageError(f"{text!r}: there is no cache of the type {kind!r} to {'read' if importing else 'write'}",
                         hint="there are registry and local" + ("" if importing else " and inline"))  # fmt: skip
    where = "".join(fields.pop(name, "") for name in place)
    if place and not where:
        raise UsageError(f"{text!r}: {place[0]}= is missing", hint=f"write type={kind},{place[0]}=…")
    spec = Spec(
        kind, where, fields.pop("tag", "latest"), fields.pop("mode", "min"), fields.pop("compression", "gzip"),
        _level(fields.pop("compression-level", ""), text), fields.pop("ignore-error", "false") == "true",
    )  # fmt: skip
    for name in ("oci-mediatypes", "image-manifest", "force-compression"):  # it always is one
        fields.pop(name, None)
    if fields or spec.mode not in MODES or spec.compression not in COMPRESSIONS:
        raise UsageError(f"{text!r} can't be read", hint=f"modes: {MODES}; compressions: {COMPRESSIONS}")
    if kind == "inline" and spec.mode != "min":
        raise UsageError("an image can only hold the cache of its own layers: type=inline has no mode=max")
    return spec


def _level(text: str, whole: str) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        raise UsageError(f"{whole!r}: {text!r} is not a level") from None


# --- going out --------------------------------------------------------------------------------------------------------


def export_cache(store: Store, spec: Spec, containers: Iterable[WorkingContainer], access: Access | None) -> Descriptor:
    """See :meth:`Store.export_cache`."""
    if spec.type == "inline":
        raise UsageError("an inline cache is written by commit", hint="commit(inline_cache=True)")
    records, layers = _collect(store, containers)
    diff_ids = [store.layers.measured(layer).diff_id for layer in layers]
    config = documents.encode(records, diff_ids)
    with store.lease(*(f"layer:{layer}" for layer in layers)):
        by_diff_id = dict(zip(map(Digest, diff_ids), layers, strict=True))
        source = StoredLayers(store, f"the cache for {spec}", by_diff_id)
        with writing(_destination(spec, access)) as target:
            sent = _send_layers(source, target, [store.layers.descriptor(layer) for layer in layers], spec)
            described = Descriptor(documents.MEDIA_TYPE, Digest.of(config), len(config))
            if not target.has(described):
                target.push(Blob(described.media_type, lambda: io.BytesIO(config), described.digest, described.size))
            manifest = Manifest.build(described, sent)
            target.finish(manifest)
    return manifest.descriptor


def _destination(spec: Spec, access: Access | None) -> ImageDestination:
    if spec.type == "local":
        from buildlib.transports.oci import LayoutDestination

        return LayoutDestination(spec.where, spec.tag)
    from buildlib.transports.registry import destination

    return destination(f"//{spec.where}", access=access)


def _collect(store: Store, containers: Iterable[WorkingContainer]) -> tuple[list[Exported], list[str]]:
    """The records that gave the containers the layers that they have above their bases, and those layers."""
    layers: dict[str, int] = {}
    records: dict[str, Exported] = {}
    for container in containers:
        for layer in container.layers[container.state.base_layers :]:
            if layer not in layers:
                found = records_of(store, layer, len(layers))
                records.update((record.key, record) for record in found)
                if found:
                    layers[layer] = len(layers)
    return sorted(records.values()), list(layers)


def records_of(store: Store, layer: str, number: int) -> list[Exported]:
    """All records that lead to ``layer``, which gets a number for its id."""
    sql = "SELECT key, parent, result, parts, created FROM cache WHERE layer = ?"
    return [
        documents.Exported(key, parent, result, number, json.loads(parts), created)
        for key, parent, result, parts, created in store.db.rows(sql, (layer,))
    ]


def inline(container: WorkingContainer, count: int) -> dict[str, Any]:
    """What the config of an image of ``count`` layers, those of the container, says of how they came about."""
    base = container.state.base_layers
    if count != len(container.layers):
        raise UsageError("an image of squashed layers can't hold their cache", hint="use type=registry or type=local")
    numbered = enumerate(container.layers[base:], base)
    found = [record for number, layer in numbered for record in records_of(container.store, layer, number)]
    # A config is small: lists of files only serve explanations.
    return documents.to_dict(record._replace(parts={**record.parts, "names": {}}) for record in sorted(found))


def _send_layers(
    source: StoredLayers, target: ImageDestination, layers: Sequence[Descriptor], spec: Spec
) -> list[Descriptor]:
    """Send what the target has not got, several at once; what the layers are there."""
    from concurrent.futures import ThreadPoolExecutor

    def send(layer: Descriptor) -> Descriptor:
        known = layer if spec.compression == "none" else source.packed(layer, spec.compression, spec.level)
        if known is not None:
            if not target.has(known):
                target.push(Blob(known.media_type, lambda: source.open(known), known.digest, known.size))
            return known
        blob = Blob(mediatype.layer(spec.compression), lambda: source.pack(layer, spec.compression, spec.level))
        target.push(blob)
        return blob.descriptor

    if len(layers) < 2:
        return [send(layer) for layer in layers]
    with ThreadPoolExecutor(PARALLEL, "cache") as pool:
        return list(pool.map(send, layers))


# --- coming in --------------------------------------------------------------------------------------------------------


def import_cache(store: Store, spec: Spec, access: Access | None, platform: Platform | None) -> Import:
    """See :meth:`Store.import_cache`."""
    source = _source(spec, access)
    try:
        manifest = _manifest(source, platform)
        document = _records(source, manifest, str(spec))
        if len(document.diff_ids) != len(manifest.layers):
            counts = f"{len(document.diff_ids)} DiffIDs for {len(manifest.layers)} layers"
            raise FormatError(f"{spec}: the cache has {counts}")
        for layer in manifest.layers:
            if not mediatype.is_layer(layer.media_type):
                raise FormatError(f"{spec}: {layer.media_type!r} is no layer")
    except BaseException:
        source.close()
        raise
    return Import(store, str(spec), source, manifest.layers, document)


def _source(spec: Spec, access: Access | None) -> ImageSource:
    if spec.type == "local":
        from buildlib.transports.layout import LayoutSource
        from buildlib.transports.oci import Folder

        return LayoutSource(f"local:{spec.where}", Folder(spec.where), spec.tag)
    from buildlib.transports.registry import source

    return source(f"//{spec.where}", access=access)


def _manifest(source: ImageSource, platform: Platform | None) -> Manifest:
    """The manifest of the cache; of an image for several platforms, the one that is being built."""
    found = source.resolve()
    for _ in range(2):
        raw = _read(source, found, MAX_BYTES)
        if not mediatype.is_index(found.media_type):
            return Manifest.parse(raw, found.media_type)
        found = Index.parse(raw, found.media_type).select(platform or Platform.host())
    raise FormatError(f"{source.name}: an index of indexes is no cache")


def _records(source: ImageSource, manifest: Manifest, where: str) -> documents.Document:
    """The records of a cache's config, or those within an image's, which may have none."""
    if manifest.config.media_type == documents.MEDIA_TYPE:
        return documents.decode(_read(source, manifest.config, documents.MAX_BYTES), where, time.time())
    if not mediatype.is_config(manifest.config.media_type):
        raise FormatError(f"{where}: {manifest.config.media_type} is no cache of ours", hint="it is another tool's")
    config = ImageConfig.parse(_read(source, manifest.config, MAX_BYTES))
    held = config.extra.get(INLINE)
    if held is None:
        return documents.Document((), config.diff_ids)
    return documents.from_dict(held, config.diff_ids, where, time.time())


def _read(source: ImageSource, descriptor: Descriptor, limit: int) -> bytes:
    if descriptor.size > limit:
        raise FormatError(f"{descriptor.digest}: {descriptor.size} bytes are more than the {limit} allowed")
    with VerifiedReader(source.open(descriptor), descriptor.digest, descriptor.size) as reader:
        return reader.readall()


class Import:
    """The records of one cache from elsewhere. Closing it makes the store forget those that were not used."""

    def __init__(
        self, store: Store, name: str, source: ImageSource, blobs: Sequence[Descriptor], document: documents.Document
    ) -> None:
        self.name = name
        self.records = {record.key: record for record in document.records}
        self.failures: list[BuildlibError] = []
        """Why layers did not come; the steps were executed instead."""
        self._store = store
        self._source = source
        self._blobs = tuple(blobs)
        self._diff_ids = document.diff_ids

    def __len__(self) -> int:
        return len(self.records)

    def fetch(self, key: str, below: Sequence[str]) -> Record | None:
        """Make the record of ``key`` one of the store, its layer fetched, if it is not here, for the stack ``below``.

        None where there is none, or where its layer does not come or is not what was promised.
        """
        record = self.records.get(key)
        if record is None:
            return None
        try:
            return self._take(record, below)
        except StoreFull:
            raise
        except BuildlibError as error:
            self.failures.append(error)
            self.records.pop(key, None)
            return None

    def _take(self, record: Exported, below: Sequence[str]) -> Record:
        from buildlib.cache import Record

        blob, diff_id = self._blobs[record.layer], Digest(self._diff_ids[record.layer])
        with writing(StoreDestination(self._store)) as target:
            assert isinstance(target, StoreDestination)
            layer = target.layer(blob, diff_id, below, lambda: self._source.open(blob))
            found = Record(layer, record.result, record.created)
            step = documents.step_of(record.parts)
            self._store.cache.add(record.key, record.parent, step, found, record.parts.get("printed"))
        return found

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(ValueError):
            self._store.cache.imports.remove(self)
        self._source.close()

    def __enter__(self) -> Import:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
