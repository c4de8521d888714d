"""The one driver that moves images between transports: blobs first and several at a time, names last.

It verifies all that it moves, skips what the destination has, and converts only what must be; it knows no transport.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import attrs

from buildlib.content import VerifiedReader
from buildlib.errors import Cancelled, FormatError, TransportError, UsageError
from buildlib.events import BytesMoved, silent
from buildlib.oci import mediatype
from buildlib.oci.config import ImageConfig
from buildlib.oci.document import MAX_BYTES
from buildlib.oci.index import Index
from buildlib.oci.manifest import Manifest
from buildlib.oci.platform import Platform
from buildlib.transports import Blob, PackingSource
from buildlib.transports.conversion import FORMATS, ImagePlan, LayerStep, Wanted, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from buildlib.content import Readable
    from buildlib.events import Sink
    from buildlib.oci.descriptor import Descriptor
    from buildlib.oci.digest import Digest
    from buildlib.transports import ImageDestination, ImageSource

PARALLEL = 4
"""Blobs on their way at once. More do not help: either a network or two processors are busy by then."""
MAX_NESTING = 4
"""Indexes within indexes."""


def copy(
    source: ImageSource,
    destination: ImageDestination,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    names: Sequence[str] = (),
    format: str | None = None,
    compression: str | None = None,
    level: int | None = None,
    preserve_digests: bool = False,
    parallel: int = PARALLEL,
    progress: Sink = silent,
) -> Descriptor:
    """Copy an image and return the descriptor of what the destination now has.

    Of an index, the image that ``platform`` (by default this machine) runs best is copied, or with ``all_platforms``
    everything. ``names`` are what the destination shall call it, by default what it was opened with. ``format``
    ("oci", "docker") and ``compression`` ("keep", "compress", "none", "gzip", "zstd"; ``level`` as the format has it)
    overrule the destination's own form. What needs no change keeps its digest; ``preserve_digests`` makes it an error
    where something needs one. ``progress`` is called from several threads.

    The caller closes source and destination, see :func:`buildlib.transports.writing`. Raises what the transports
    raise, :class:`DigestMismatch`, and :class:`NotFound` where there is no image for the platform.
    """
    wanted = Wanted(format, compression)
    wanted.check()
    if parallel < 1:
        raise UsageError(f"parallel must be at least 1, not {parallel}")
    driver = _Copy(source, destination, wanted, level, preserve_digests, parallel, progress)
    root = driver.document(source.resolve())
    if isinstance(root, Index) and not all_platforms:
        root = driver.select(root, platform or Platform.host())
    elif isinstance(root, Index) and not destination.form.indexes:
        raise TransportError(
            f"{destination.name}: can't hold an image for several platforms", hint="choose one platform"
        )
    document, _ = driver.move(root, 0)
    destination.finish(document, names)
    return document.descriptor


class _Copy:
    """One run of the driver."""

    def __init__(
        self,
        source: ImageSource,
        destination: ImageDestination,
        wanted: Wanted,
        level: int | None,
        preserve_digests: bool,
        parallel: int,
        progress: Sink,
    ) -> None:
        self.source = source
        self.destination = destination
        self.wanted = wanted
        self.level = level
        self.preserve_digests = preserve_digests
        self.parallel = 1 if destination.form.ordered else parallel
        self.progress = progress
        self._stop = threading.Event()

    # --- documents ----------------------------------------------------------------------------------------------------

    def read(self, descriptor: Descriptor) -> bytes:
        """The bytes of a small document, verified."""
        if descriptor.size > MAX_BYTES:
            raise FormatError(f"{descriptor.digest}: {descriptor.size} bytes are more than the {MAX_BYTES} allowed")
        stream = self.source.open(descriptor)
        with VerifiedReader(stream, descriptor.digest, descriptor.size) as reader:
            return reader.readall()

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        """The manifest or index of a descriptor."""
        raw = self.read(descriptor)
        if mediatype.is_index(descriptor.media_type):
            return Index.parse(raw, descriptor.media_type)
        return Manifest.parse(raw, descriptor.media_type)

    def select(self, index: Index, platform: Platform) -> Manifest:
        """The manifest for the platform, through nested indexes."""
        for _ in range(MAX_NESTING):
            found = self.document(index.select(platform))
            if isinstance(found, Manifest):
                return found
            index = found
        raise FormatError(f"{self.source.name}: indexes nested more than {MAX_NESTING} deep")

    def move(self, document: Manifest | Index, depth: int) -> tuple[Manifest | Index, dict[Digest, Descriptor]]:
        """Move all that a document refers to; the document as the destination takes it, and what became of others."""
        if isinstance(document, Manifest):
            return self.image(document), {}
        if depth >= MAX_NESTING:
            raise FormatError(f"{self.source.name}: indexes nested more than {MAX_NESTING} deep")
        return self.index(document, depth)

    def index(self, index: Index, depth: int) -> tuple[Index, dict[Digest, Descriptor]]:
        """Move every image of an index."""
        became: dict[Digest, Descriptor] = {}
        for entry in index.manifests:
            if entry.digest in became:
                continue
            child, below = self.move(self.document(entry), depth + 1)
            self.destination.put(child)
            became |= below
            became[entry.digest] = child.descriptor
        target = self._index_type(index)
        if target == index.media_type and all(old == new.digest for old, new in became.items()):
            return index, became
        self._changing("the index")
        renamed = {str(old): str(new.digest) for old, new in became.items()}
        entries = []
        for entry in index.manifests:
            new = became[entry.digest]
            # An attestation names the manifest that it is about (vnd.docker.reference.digest).
            notes = {key: renamed.get(value, value) for key, value in entry.annotations.items()}
            entries.append(
                attrs.evolve(
                    entry, media_type=new.media_type, digest=new.digest, size=new.size, annotations=notes, extra={}
                )
            )
        notes = {} if target == mediatype.DOCKER_LIST else index.annotations
        return attrs.evolve(index, manifests=tuple(entries), media_type=target, annotations=notes), became

    def _index_type(self, index: Index) -> str:
        pairs = {mediatype.OCI_INDEX: mediatype.OCI_MANIFEST, mediatype.DOCKER_LIST: mediatype.DOCKER_MANIFEST}
        form = self.destination.form.manifests
        if self.wanted.format is not None:
            manifest = FORMATS[self.wanted.format]
        else:
            manifest = pairs[index.media_type] if pairs[index.media_type] in form else form[0]
        return next(i for i, m in pairs.items() if m == manifest)

    def image(self, manifest: Manifest) -> Manifest:
        """Move layers and config of one image."""
        config = None
        opener: Callable[[], Readable] = lambda: self.source.open(manifest.config)  # noqa: E731
        if mediatype.is_config(manifest.config.media_type):
            raw = self.read(manifest.config)
            config = ImageConfig.parse(raw)
            opener = lambda: io.BytesIO(raw)  # noqa: E731
        steps = plan(manifest, config, self.destination.form, self.wanted, self.destination.name)
        if steps.changes:
            self._changing(f"the manifest {manifest.digest}")
        layers = self.layers(steps)
        self.send(manifest.config, opener)
        return steps.converted(layers)

    def _changing(self, what: str) -> None:
        if self.preserve_digests:
            raise TransportError(
                f"{self.destination.name}: {what} would have to be changed",
                hint="ask for no other format and compression, or do not preserve digests",
            )

    # --- blobs --------------------------------------------------------------------------------------------------------

    def layers(self, steps: ImagePlan) -> list[Descriptor]:
        """Move the layers, equal ones once; what they became, in order."""
        todo = {step.layer.digest: step for step in steps.layers}
        done = dict(zip(todo, self._each(self.layer, todo.values()), strict=True))
        return [done[step.layer.digest] for step in steps.layers]

    def _each(self, work: Callable[[LayerStep], Descriptor], steps: Iterable[LayerStep]) -> list[Descriptor]:
        """``work`` on each step, several at once; the first error stops the others and is raised."""
        steps = list(steps)
        if self.parallel == 1 or len(steps) < 2:
            return [work(step) for step in steps]
        from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

        with ThreadPoolExecutor(min(self.parallel, len(steps)), "blob") as pool:
            try:
                futures = [pool.submit(self._or_stop, work, step) for step in steps]
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        self._stop.clear()
        failures = [f.exception() for f in futures if not f.cancelled() and f.exception()]
        for failure in sorted(failures, key=lambda e: isinstance(e, Cancelled)):
            if failure is not None:
                raise failure
        return [future.result() for future in futures]

    def _or_stop(self, work: Callable[[LayerStep], Descriptor], step: LayerStep) -> Descriptor:
        try:
            return work(step)
        except BaseException:
            self._stop.set()
            raise

    def layer(self, step: LayerStep) -> Descriptor:
        """Move one layer, in the compression that was planned."""
        layer = step.layer
        if step.skip:
            return layer
        if step.compression is None:
            return self.send(layer, lambda: self.source.open(layer))
        if step.compression == "none":
            return self._send(Blob(mediatype.OCI_LAYER, lambda: self._plain(layer), step.diff_id), layer)
        media_type = mediatype.layer(step.compression)
        if isinstance(self.source, PackingSource) and mediatype.compression_of(layer.media_type) == "none":
            packing = self.source
            known = packing.packed(layer, step.compression)
            if known is not None:
                return self.send(known, lambda: self.source.open(known))
            compression = step.compression
            return self._send(Blob(media_type, lambda: packing.pack(layer, compression, self.level)), layer)
        return self._send(Blob(media_type, lambda: self._repacked(step)), layer)

    def _plain(self, layer: Descriptor) -> Readable:
        from buildlib.transports.packing import unpacked

        return unpacked(VerifiedReader(self.source.open(layer), layer.digest, layer.size))

    def _repacked(self, step: LayerStep) -> Readable:
        from buildlib.transports.packing import packed

        assert step.compression is not None
        return packed(VerifiedReader(self._plain(step.layer), step.diff_id), step.compression, self.level)

    def send(self, descriptor: Descriptor, opener: Callable[[], Readable]) -> Descriptor:
        """Push a blob as it is, unless the destination has it."""
        if self.destination.has(descriptor):
            self.progress(BytesMoved(str(descriptor.digest), descriptor.size, descriptor.size))
            return descriptor
        return self._send(Blob(descriptor.media_type, opener, descriptor.digest, descriptor.size), descriptor)

    def _send(self, blob: Blob, layer: Descriptor) -> Descriptor:
        done = 0

        def moved(count: int) -> None:
            nonlocal done
            if self._stop.is_set():
                raise Cancelled("another blob failed")
            done += count
            self.progress(BytesMoved(str(layer.digest), done, blob.size))

        blob.watch(moved)
        self.destination.push(blob)
        return blob.descriptor
