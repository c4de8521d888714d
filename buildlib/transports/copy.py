"""The one driver that moves images between transports: it looks at all documents, then moves blobs, then names them.

Blobs go several at a time, those of all images of an index together, equal ones once. The driver verifies all that it
moves, skips what the destination has, and converts only what must be; it knows no transport.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

from buildlib.content import VerifiedReader
from buildlib.errors import Cancelled, FormatError, TransportError, UsageError
from buildlib.events import BytesMoved, silent
from buildlib.oci import mediatype
from buildlib.oci.config import ImageConfig
from buildlib.oci.document import MAX_BYTES
from buildlib.oci.index import Index
from buildlib.oci.manifest import Manifest
from buildlib.oci.platform import Platform
from buildlib.oci.value import evolve, frozen
from buildlib.transports import Blob, PackingSource
from buildlib.transports.conversion import FORMATS, ImagePlan, LayerStep, Wanted, chosen, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from buildlib.content import Readable
    from buildlib.events import Sink
    from buildlib.oci.descriptor import Descriptor
    from buildlib.oci.digest import Digest
    from buildlib.transports import ImageDestination, ImageSource

    T = TypeVar("T")
    R = TypeVar("R")

PARALLEL = 4
"""Blobs on their way at once. More do not help: either a network or two processors are busy by then."""
MAX_NESTING = 4
"""Indexes within indexes."""
SYSTEM, ALL, INDEX_ONLY = "system", "all", "index-only"


def copy(
    source: ImageSource,
    destination: ImageDestination,
    *,
    platform: Platform | None = None,
    multi_arch: str | Sequence[Platform] = SYSTEM,
    names: Sequence[str] = (),
    format: str | None = None,
    compression: str | None = None,
    level: int | None = None,
    preserve_digests: bool = False,
    parallel: int = PARALLEL,
    progress: Sink = silent,
) -> Descriptor:
    """Copy an image and return the descriptor of what the destination now has.

    ``multi_arch`` says what becomes of an index: of ``"system"`` the image is copied that ``platform`` (by default this
    machine) runs best, of ``"all"`` everything; of a list of platforms an index of those alone (with
    ``preserve_digests`` the whole index, but only their images); of ``"index-only"`` the index without its images,
    which the destination must have. ``names`` are what the destination shall call it, by default what it was opened
    with. ``format`` ("oci", "docker") and ``compression`` ("keep", "compress", "none", "gzip", "zstd"; ``level`` as the
    format has it) overrule the destination's own form. What needs no change keeps its digest; ``preserve_digests``
    makes it an error where something needs one. ``progress`` is called from several threads.

    The caller closes source and destination, see :func:`buildlib.transports.writing`. Raises what the transports
    raise, :class:`DigestMismatch`, and :class:`NotFound` where there is no image for the platform.
    """
    wanted = Wanted(format, compression)
    wanted.check()
    if parallel < 1:
        raise UsageError(f"parallel must be at least 1, not {parallel}")
    driver = _Copy(source, destination, wanted, level, preserve_digests, parallel, progress)
    root = driver.choose(driver.document(source.resolve()), multi_arch, platform or Platform.host())
    if isinstance(root, Index) and not destination.form.indexes:
        raise TransportError(
            f"{destination.name}: can't hold an image for several platforms", hint="choose one platform"
        )
    document = driver.run(root, multi_arch)
    destination.finish(document, names)
    return document.descriptor


@frozen
class Node:
    """A document that is to be copied, with what is to be done with it and below it."""

    document: Manifest | Index
    plan: ImagePlan | None = None
    """Of a manifest."""
    config: bytes | None = None
    """Of a manifest of an image that can run."""
    children: tuple[Node, ...] = ()
    """Of an index, each once."""


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
        self._platforms: Sequence[Platform] = ()
        self._moved: dict[tuple[Digest, str | None], Descriptor] = {}

    # --- what to copy -------------------------------------------------------------------------------------------------

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

    def choose(self, root: Manifest | Index, multi_arch: str | Sequence[Platform], host: Platform) -> Manifest | Index:
        """The document to copy, of all that ``root`` lists."""
        if isinstance(multi_arch, str) and multi_arch not in (SYSTEM, ALL, INDEX_ONLY):
            raise UsageError(f"no choice of platforms {multi_arch!r}", hint=f"{SYSTEM}, {ALL}, {INDEX_ONLY} or a list")
        if isinstance(root, Manifest) or multi_arch in (ALL, INDEX_ONLY):
            return root
        if multi_arch == SYSTEM:
            return self._select(root, host)
        self._platforms = [each for each in multi_arch if isinstance(each, Platform)]
        kept = chosen(root, self._platforms)
        if self.preserve_digests or len(kept) == len(root.manifests):
            return root
        return evolve(root, manifests=kept)

    def _select(self, index: Index, platform: Platform) -> Manifest:
        """The manifest for the platform, through nested indexes."""
        for _ in range(MAX_NESTING):
            found = self.document(index.select(platform))
            if isinstance(found, Manifest):
                return found
            index = found
        raise FormatError(f"{self.source.name}: indexes nested more than {MAX_NESTING} deep")

    def run(self, root: Manifest | Index, multi_arch: str | Sequence[Platform]) -> Manifest | Index:
        """Move all that ``root`` refers to; the document as the destination takes it."""
        if multi_arch == INDEX_ONLY and isinstance(root, Index):
            if self._index_type(root) != root.media_type:
                raise TransportError(f"{self.destination.name}: an index alone can't be converted")
            return root
        node = self.survey(root)
        self.blobs(node)
        document, _ = self.put_together(node)
        return document

    def survey(self, document: Manifest | Index, depth: int = 0) -> Node:
        """Read and plan everything below a document before anything is moved."""
        if isinstance(document, Manifest):
            return self._image(document)
        if depth >= MAX_NESTING:
            raise FormatError(f"{self.source.name}: indexes nested more than {MAX_NESTING} deep")
        entries = chosen(document, self._platforms) if self._platforms else document.manifests
        unique = list({entry.digest: entry for entry in entries}.values())
        children = self._each(lambda entry: self.survey(self.document(entry), depth + 1), unique)
        return Node(document, children=tuple(children))

    def _image(self, manifest: Manifest) -> Node:
        raw = config = None
        if mediatype.is_config(manifest.config.media_type):
            raw = self.read(manifest.config)
            config = ImageConfig.parse(raw)
        steps = plan(manifest, config, self.destination.form, self.wanted, self.destination.name)
        if steps.changes:
            self._changing(f"the manifest {manifest.digest}")
        return Node(manifest, steps, raw)

    def _changing(self, what: str) -> None:
        if self.preserve_digests:
            raise TransportError(
                f"{self.destination.name}: {what} would have to be changed",
                hint="ask for no other format and compression, or do not preserve digests",
            )

    def _index_type(self, index: Index) -> str:
        pairs = {mediatype.OCI_INDEX: mediatype.OCI_MANIFEST, mediatype.DOCKER_LIST: mediatype.DOCKER_MANIFEST}
        form = self.destination.form.manifests
        if self.wanted.format is not None:
            manifest = FORMATS[self.wanted.format]
        else:
            manifest = pairs[index.media_type] if pairs[index.media_type] in form else form[0]
        return next(i for i, m in pairs.items() if m == manifest)

    # --- blobs --------------------------------------------------------------------------------------------------------

    def blobs(self, node: Node) -> None:
        """Move the layers of all images below a node, then their configs, equal ones once."""
        layers: dict[tuple[Digest, str | None], LayerStep] = {}
        images: dict[Digest, Node] = {}
        for image in _images(node):
            assert image.plan is not None
            images.setdefault(image.plan.manifest.config.digest, image)
            for step in image.plan.layers:
                layers.setdefault((step.layer.digest, step.compression), step)
        self._moved = dict(zip(layers, self._each(self.layer, list(layers.values())), strict=True))
        self._each(self._config, list(images.values()))

    def _config(self, image: Node) -> Descriptor:
        assert image.plan is not None
        config, raw = image.plan.manifest.config, image.config
        return self.send(config, lambda: self.source.open(config) if raw is None else io.BytesIO(raw))

    def _each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """``work`` on each item, several at once; the first error stops the others and is raised."""
        if self.parallel == 1 or len(items) < 2:
            return [work(item) for item in items]
        from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

        with ThreadPoolExecutor(min(self.parallel, len(items)), "blob") as pool:
            try:
                futures = [pool.submit(self._or_stop, work, item) for item in items]
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

    def _or_stop(self, work: Callable[[T], R], item: T) -> R:
        try:
            return work(item)
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
            known = packing.packed(layer, step.compression, self.level)
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
        if self._stop.is_set():
            raise Cancelled("another blob failed")
        if self.destination.has(descriptor):
            self.progress(BytesMoved(str(descriptor.digest), descriptor.size, descriptor.size, skipped=True))
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

    # --- documents ----------------------------------------------------------------------------------------------------

    def put_together(self, node: Node) -> tuple[Manifest | Index, dict[Digest, Descriptor]]:
        """The document of a node as the destination takes it, and what became of those below it, which are put."""
        if node.plan is not None:
            keys = [(step.layer.digest, step.compression) for step in node.plan.layers]
            return node.plan.converted([self._moved[key] for key in keys]), {}
        index = node.document
        assert isinstance(index, Index)
        became: dict[Digest, Descriptor] = {}
        for child in node.children:
            document, below = self.put_together(child)
            self.destination.put(document)
            became |= below
            became[child.document.digest] = document.descriptor
        target = self._index_type(index)
        if target == index.media_type and all(old == new.digest for old, new in became.items()):
            return index, became
        self._changing("the index")
        return _replaced(index, target, became), became


def _images(node: Node) -> Iterator[Node]:
    """All images at and below a node."""
    if node.plan is not None:
        yield node
    for child in node.children:
        yield from _images(child)


def _replaced(index: Index, target: str, became: dict[Digest, Descriptor]) -> Index:
    """The index with its entries replaced by what became of them."""
    renamed = {str(old): str(new.digest) for old, new in became.items()}
    entries = []
    for entry in index.manifests:
        new = became[entry.digest]
        # An attestation names the manifest that it is about (vnd.docker.reference.digest).
        notes = {key: renamed.get(value, value) for key, value in entry.annotations.items()}
        entries.append(
            evolve(entry, media_type=new.media_type, digest=new.digest, size=new.size, annotations=notes, extra={})
        )
    notes = {} if target == mediatype.DOCKER_LIST else index.annotations
    return evolve(index, manifests=tuple(entries), media_type=target, annotations=notes)
