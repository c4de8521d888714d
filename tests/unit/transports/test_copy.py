"""The driver: order, skipping, conversion, verification, failure; on a source and a destination in memory."""

import gzip
import io
import threading

import pytest

from buildlib.errors import Cancelled, DigestMismatch, FormatError, NotFound, TransportError, UsageError
from buildlib.events import BytesMoved
from buildlib.oci import Descriptor, Digest, Index, Manifest, Platform, mediatype
from buildlib.transports import Blob, Form
from buildlib.transports.copy import copy

from .images import Memory, Sink

OCI = Form((mediatype.OCI_MANIFEST,), compression="compress")
PLAIN = Form((mediatype.DOCKER_MANIFEST,), indexes=False, compression="none", ordered=True)


@pytest.fixture
def memory():
    return Memory()


@pytest.mark.parametrize("pretty", [False, True])
def test_what_needs_no_change_keeps_its_bytes(memory, pretty):
    manifest = memory.image("a", "b", annotations={"k": "v"}, pretty=pretty)
    sink = Sink(OCI)
    assert copy(memory, sink, preserve_digests=True) == manifest.descriptor
    assert sink.finished.raw == manifest.raw
    assert {d: memory.content[d] for d in sink.content} == sink.content


def test_layers_come_first_then_the_config_then_the_manifest(memory):
    memory.image("a", "b", "c")
    sink = Sink()
    copy(memory, sink)
    kinds = [kind for _, kind in sink.calls]
    assert kinds == [mediatype.OCI_LAYER_GZIP] * 3 + [mediatype.OCI_CONFIG, mediatype.OCI_MANIFEST]
    assert [call for call, _ in sink.calls] == ["push"] * 4 + ["finish"]


def test_an_ordered_destination_gets_the_layers_in_the_order_of_the_image(memory):
    manifest = memory.image(*"abcdefgh")
    sink = Sink(Form(ordered=True))
    copy(memory, sink)
    assert [d.digest for d in sink.pushed[:-1]] == [layer.digest for layer in manifest.layers]


def test_what_is_there_is_not_sent_and_equal_layers_are_sent_once(memory):
    manifest = memory.image("a", "b", "a", "a")
    sink = Sink()
    sink.content[manifest.layers[1].digest] = b""
    events = []
    copy(memory, sink, progress=events.append)
    assert [d.digest for d in sink.pushed] == [manifest.layers[0].digest, manifest.config.digest]
    assert manifest.layers[1].digest not in memory.opened
    whole = {e.what for e in events if e.done == e.total}
    assert whole == {str(d.digest) for d in (*manifest.layers, manifest.config)}


def test_progress_counts_bytes(memory):
    manifest = memory.image("a", size=300)
    events = []
    copy(memory, Sink(), progress=events.append)
    layer = manifest.layers[0]
    mine = [e for e in events if e.what == layer.digest]
    assert mine[-1] == BytesMoved(str(layer.digest), layer.size, layer.size)
    assert [e.done for e in mine] == sorted(e.done for e in mine)


# --- conversion -------------------------------------------------------------------------------------------------------


def test_docker_becomes_oci_and_back_without_touching_content(memory):
    manifest = memory.image("a", docker=True)
    oci = Sink(OCI)
    copy(memory, oci)
    assert oci.finished.media_type == mediatype.OCI_MANIFEST
    assert oci.finished.config.media_type == mediatype.OCI_CONFIG
    assert [x.media_type for x in oci.finished.layers] == [mediatype.OCI_LAYER_GZIP]
    assert [x.digest for x in oci.finished.layers] == [x.digest for x in manifest.layers]
    back = Memory()
    back.content = dict(oci.content)
    back.root = back.keep(oci.finished.raw, oci.finished.media_type)
    docker = Sink()
    assert copy(back, docker, format="docker").digest == manifest.digest


def test_annotations_do_not_survive_the_docker_format(memory):
    memory.image("a", annotations={"k": "v"})
    sink = Sink()
    copy(memory, sink, format="docker")
    assert b"annotations" not in sink.finished.raw


@pytest.mark.parametrize(
    ("have", "asked", "form", "become"),
    [
        ("none", None, "compress", "gzip"),
        ("gzip", None, "compress", "gzip"),
        ("zstd", None, "compress", "zstd"),
        ("none", None, "keep", "none"),
        ("gzip", None, "none", "none"),
        ("zstd", None, "none", "none"),
        ("gzip", "zstd", "keep", "zstd"),
        ("zstd", "gzip", "keep", "gzip"),
        ("none", "zstd", "compress", "zstd"),
        ("gzip", "keep", "none", "gzip"),
        ("gzip", "none", "compress", "none"),
    ],
)
def test_layers_get_the_compression_that_is_wanted(memory, have, asked, form, become):
    manifest = memory.image("a", "b", compression=have)
    sink = Sink(Form(compression=form))
    copy(memory, sink, compression=asked)
    assert [x.media_type for x in sink.finished.layers] == [mediatype.layer(become)] * 2
    assert (sink.finished == manifest) == (have == become)
    assert sink.finished.config == manifest.config
    for layer in sink.finished.layers:
        data = sink.content[layer.digest]
        assert (Digest.of(data), len(data)) == (layer.digest, layer.size)


def test_docker_has_no_zstd(memory):
    memory.image("a", compression="zstd")
    sink = Sink()
    copy(memory, sink, format="docker")
    assert sink.finished.layers[0].media_type == mediatype.DOCKER_LAYER_GZIP
    gzip.decompress(sink.content[sink.finished.layers[0].digest])


def test_a_change_is_an_error_where_digests_must_stay(memory):
    memory.image("a", docker=True)
    with pytest.raises(TransportError, match="would have to be changed"):
        copy(memory, Sink(OCI), preserve_digests=True)


def test_annotations_about_compressed_bytes_go_with_them(memory):
    manifest = memory.image("a")
    import attrs

    notes = {"containerd.io/snapshot/stargz/toc.digest": "x", "mine": "y"}
    layer = attrs.evolve(manifest.layers[0], annotations=notes)
    changed = attrs.evolve(manifest, layers=(layer,))
    memory.root = memory.keep(changed.raw, changed.media_type)
    kept, repacked = Sink(), Sink()
    copy(memory, kept)
    copy(memory, repacked, compression="zstd")
    assert kept.finished.layers[0].annotations == notes
    assert repacked.finished.layers[0].annotations == {"mine": "y"}


def test_a_foreign_layer_stays_where_it_is(memory):
    manifest = memory.image("a", "b", docker=True)
    import attrs

    foreign = attrs.evolve(manifest.layers[0], media_type=mediatype.DOCKER_FOREIGN_LAYER + ".gzip", urls=("http://x/",))
    changed = attrs.evolve(manifest, layers=(foreign, manifest.layers[1]))
    memory.root = memory.keep(changed.raw, changed.media_type)
    sink = Sink(OCI)
    copy(memory, sink)
    assert sink.finished.layers[0].media_type == mediatype.OCI_FOREIGN_LAYER + "+gzip"
    assert sink.finished.layers[0].urls == ("http://x/",)
    assert foreign.digest not in sink.content


# --- packing sources --------------------------------------------------------------------------------------------------


class Packing(Memory):
    """A source like the store: plain layers, packed on request."""

    def __init__(self):
        super().__init__()
        self.known = {}
        self.packing = []

    def packed(self, layer, compression, level=None):
        return self.known.get((layer.digest, compression))

    def pack(self, layer, compression, level):
        self.packing.append((layer.digest, compression, level))
        return io.BytesIO(gzip.compress(self.content[layer.digest], level or 1, mtime=0))


def test_a_packing_source_packs_and_the_digest_comes_last():
    source = Packing()
    manifest = source.image("a", "b", compression="none")
    sink = Sink(OCI)
    copy(source, sink, level=5)
    assert sorted(source.packing) == sorted((x.digest, "gzip", 5) for x in manifest.layers)
    assert [gzip.decompress(sink.content[x.digest]) for x in sink.finished.layers] == [
        source.content[x.digest] for x in manifest.layers
    ]


def test_a_form_that_is_known_is_looked_for_before_it_is_made():
    source = Packing()
    manifest = source.image("a", compression="none")
    layer = manifest.layers[0]
    known = source.keep(gzip.compress(source.content[layer.digest], mtime=0), mediatype.OCI_LAYER_GZIP)
    source.known[layer.digest, "gzip"] = known
    sink = Sink(OCI)
    sink.content[known.digest] = b""
    copy(source, sink)
    assert source.packing == []
    assert known.digest not in source.opened
    assert sink.finished.layers == (known,)


# --- indexes ----------------------------------------------------------------------------------------------------------


def test_one_platform_of_an_index_by_default_and_all_on_request(memory):
    index = memory.index("linux/amd64", "linux/arm64/v8")
    one = Sink()
    copy(memory, one, platform=Platform.parse("linux/arm64"))
    assert one.finished.digest == index.manifests[1].digest
    everything = Sink()
    assert copy(memory, everything, multi_arch="all").digest == index.digest
    assert everything.finished.raw == index.raw
    assert set(everything.documents) == {entry.digest for entry in index.manifests}
    assert everything.calls[-1][0] == "finish"
    with pytest.raises(NotFound, match="linux/s390x"):
        copy(memory, Sink(), platform=Platform.parse("linux/s390x"))


def test_an_index_is_rewritten_when_its_images_are(memory):
    index = memory.index("linux/amd64", "linux/arm64/v8", docker=True)
    sink = Sink(OCI)
    copy(memory, sink, multi_arch="all")
    assert isinstance(sink.finished, Index)
    assert sink.finished.media_type == mediatype.OCI_INDEX
    for entry, old in zip(sink.finished.manifests, index.manifests, strict=True):
        assert entry.media_type == mediatype.OCI_MANIFEST
        assert entry.platform == old.platform
        assert sink.documents[entry.digest].descriptor.size == entry.size


def test_an_attestation_follows_the_manifest_it_is_about(memory):
    import attrs

    memory.image("a", docker=True)
    about = memory.root
    memory.image("b", docker=True, platform="linux/arm64")
    attestation = attrs.evolve(
        memory.root, annotations={"vnd.docker.reference.digest": str(about.digest)}, platform=None
    )
    index = Index.build([about, attestation], media_type=mediatype.OCI_INDEX)
    memory.root = memory.keep(index.raw, index.media_type)
    sink = Sink(OCI)
    copy(memory, sink, multi_arch="all")
    first, second = sink.finished.manifests
    assert first.digest != about.digest
    assert second.annotations == {"vnd.docker.reference.digest": str(first.digest)}


def test_an_index_may_nest_but_not_without_end(memory):
    memory.image("a")
    platform = memory.root.platform
    for _ in range(2):
        index = Index.build([Descriptor(memory.root.media_type, memory.root.digest, memory.root.size, platform)])
        memory.root = memory.keep(index.raw, index.media_type)
    sink = Sink()
    copy(memory, sink, platform=platform)
    assert isinstance(sink.finished, Manifest)
    copy(memory, Sink(), multi_arch="all")
    for _ in range(6):
        index = Index.build([Descriptor(memory.root.media_type, memory.root.digest, memory.root.size, platform)])
        memory.root = memory.keep(index.raw, index.media_type)
    for options in ({"platform": platform}, {"multi_arch": "all"}):
        with pytest.raises(FormatError, match="nested"):
            copy(memory, Sink(), **options)


def test_what_a_destination_can_not_hold_is_said(memory):
    memory.index("linux/amd64")
    with pytest.raises(TransportError, match="several platforms"):
        copy(memory, Sink(PLAIN), multi_arch="all")
    memory.image("a")
    with pytest.raises(TransportError, match="format docker"):
        copy(memory, Sink(OCI), format="docker")
    artifact = Manifest(
        memory.keep(b"{}", mediatype.OCI_EMPTY), (memory.keep(b"x", "text/plain"),), artifact_type="example/thing"
    )
    memory.root = memory.keep(artifact.raw, artifact.media_type)
    with pytest.raises(TransportError, match="artifact of type example/thing"):
        copy(memory, Sink(PLAIN))


def test_an_artifact_is_copied_as_it_is(memory):
    artifact = Manifest(memory.keep(b"{}", mediatype.OCI_EMPTY), (memory.keep(b"x", "text/plain"),))
    memory.root = memory.keep(artifact.raw, artifact.media_type)
    sink = Sink(OCI)
    assert copy(memory, sink, compression="zstd", preserve_digests=True).digest == artifact.digest


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "none", "zstd"])
def test_a_damaged_layer_is_found_and_no_name_appears(memory, compression):
    manifest = memory.image("a", "b", size=400)
    layer = manifest.layers[1]
    data = bytearray(memory.content[layer.digest])
    data[4] ^= 1  # the time in gzip's header: only the digest of the compressed bytes sees it
    memory.content[layer.digest] = bytes(data)
    sink = Sink()
    with pytest.raises(DigestMismatch) as caught:
        copy(memory, sink, compression=compression)
    assert caught.value.expected == layer.digest
    assert caught.value.actual == Digest.of(bytes(data))
    assert sink.finished is None


def test_a_config_that_lies_about_a_layer_is_found_when_it_is_unpacked(memory):
    import attrs

    from buildlib.oci import ImageConfig

    manifest = memory.image("a")
    config = ImageConfig.parse(memory.content[manifest.config.digest]).evolve(diff_ids=(Digest.of(b"lie"),))
    changed = attrs.evolve(manifest, config=memory.keep(config.encode(), mediatype.OCI_CONFIG))
    memory.root = memory.keep(changed.raw, changed.media_type)
    with pytest.raises(DigestMismatch):
        copy(memory, Sink(PLAIN))
    config = config.evolve(diff_ids=())
    changed = attrs.evolve(manifest, config=memory.keep(config.encode(), mediatype.OCI_CONFIG))
    memory.root = memory.keep(changed.raw, changed.media_type)
    with pytest.raises(FormatError, match="1 layers, but its config lists 0"):
        copy(memory, Sink())


@pytest.mark.parametrize("what", ["manifest", "config"])
def test_a_damaged_document_is_found(memory, what):
    manifest = memory.image("a")
    digest = manifest.digest if what == "manifest" else manifest.config.digest
    memory.content[digest] = memory.content[digest].replace(b"sha256", b"sha512")
    with pytest.raises(DigestMismatch):
        copy(memory, Sink())


def test_a_document_that_claims_to_be_huge_is_not_read(memory):
    memory.image("a")
    memory.root = Descriptor(memory.root.media_type, memory.root.digest, 1 << 40)
    with pytest.raises(FormatError, match="more than the"):
        copy(memory, Sink())
    assert memory.opened == []


def test_a_missing_blob_is_named(memory):
    manifest = memory.image("a", "b", "c")
    del memory.content[manifest.layers[2].digest]
    with pytest.raises(NotFound) as caught:
        copy(memory, Sink())
    assert caught.value.name == manifest.layers[2].digest


def test_one_failure_stops_the_other_blobs(memory):
    """The first layer waits for the failure of the second, then must not be read any further."""
    manifest = memory.image("a", "b", size=3000, compression="none")  # long enough not to end by itself
    failed = threading.Event()
    seen = []

    class Slow(io.BytesIO):
        def read(self, size=-1):
            assert failed.wait(10)
            return super().read(10)

    def open(descriptor):
        if descriptor.digest == manifest.layers[0].digest:
            return Slow(memory.content[descriptor.digest])
        if descriptor.digest == manifest.layers[1].digest:
            raise NotFound("gone", kind="blob", name="x")
        return io.BytesIO(memory.content[descriptor.digest])

    memory.open = open

    class Watching(Sink):
        def push(self, blob):
            try:
                super().push(blob)
            except Cancelled:
                seen.append("cancelled")
                raise
            except NotFound:
                failed.set()
                raise

    with pytest.raises(NotFound, match="gone"):
        copy(memory, Watching(), parallel=2)
    assert seen == ["cancelled"]
    assert [t for t in threading.enumerate() if t.name.startswith("blob")] == []


@pytest.mark.parametrize("options", [{"format": "squashfs"}, {"compression": "lz4"}, {"parallel": 0}])
def test_options_that_can_not_be_meant_are_refused(memory, options):
    memory.image("a")
    with pytest.raises(UsageError):
        copy(memory, Sink(), **options)


# --- blobs ------------------------------------------------------------------------------------------------------------


def test_a_blob_can_be_resumed_in_the_middle_and_is_still_verified():
    data = bytes(range(256)) * 20_000
    blob = Blob("x", lambda: io.BytesIO(data), Digest.of(data), len(data))
    reader = blob.open(2_000_000)
    assert reader.readall() == data[2_000_000:]
    assert reader.complete
    wrong = Blob("x", lambda: io.BytesIO(b"\1" + data[1:]), Digest.of(data), len(data))
    with pytest.raises(DigestMismatch):
        wrong.open(3_000_000).readall()


def test_a_blob_knows_its_digest_at_the_end():
    blob = Blob("x", lambda: io.BytesIO(b"data"))
    with pytest.raises(TransportError):
        blob.descriptor  # noqa: B018
    blob.open().readall()
    assert blob.descriptor == Descriptor("x", Digest.of(b"data"), 4)
