"""Indexes through the copy driver: one platform, some, all, or the index alone; shared blobs once, images at once."""

from __future__ import annotations

import json
import threading

import attrs
import pytest

from buildlib.errors import NotFound, TransportError, UsageError
from buildlib.events import BytesMoved
from buildlib.oci import Digest, Index, Platform, mediatype
from buildlib.transports import Form
from buildlib.transports.copy import copy

from .images import Memory, Sink

AMD, ARM, RISCV = "linux/amd64", "linux/arm64", "linux/riscv64"


def platforms(*names):
    return [Platform.parse(name) for name in names]


@pytest.fixture
def memory():
    made = Memory()
    made.index(AMD, ARM, RISCV)
    return made


def with_attestation(memory):
    """The index of ``memory`` with what BuildKit adds: a manifest that is about the first image."""
    index = Index.parse(memory.content[memory.root.digest])
    about = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": index.manifests[0].digest,
    }
    config = memory.keep(b"{}", mediatype.OCI_CONFIG)
    statement = memory.keep(b'{"statement": true}', "application/vnd.in-toto+json")
    document = {
        "schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST,
        "config": config.to_dict() | {"mediaType": "application/x-nothing"}, "layers": [statement.to_dict()],
    }  # fmt: skip
    entry = memory.keep(json.dumps(document).encode(), mediatype.OCI_MANIFEST)
    entry = attrs.evolve(entry, platform=Platform("unknown", "unknown"), annotations=about)
    grown = Index.build((*index.manifests, entry))
    memory.root = memory.keep(grown.raw, grown.media_type)
    return grown


def test_some_platforms_become_an_index_of_those(memory):
    whole = with_attestation(memory)
    sink = Sink()
    copied = copy(memory, sink, multi_arch=platforms(RISCV, AMD))
    assert copied.digest == sink.finished.digest != whole.digest
    assert [str(entry.platform) for entry in sink.finished.manifests] == [AMD, RISCV, "unknown/unknown"]
    assert sink.finished.manifests == (whole.manifests[0], whole.manifests[2], whole.manifests[3])
    assert set(sink.documents) == {entry.digest for entry in sink.finished.manifests}
    other = copy(memory, Sink(), multi_arch=platforms(ARM))
    assert other.digest not in (whole.digest, copied.digest)


def test_with_their_digests_preserved_the_index_stays_whole(memory):
    whole = Index.parse(memory.content[memory.root.digest])
    sink = Sink()
    assert copy(memory, sink, multi_arch=platforms(ARM), preserve_digests=True).digest == whole.digest
    assert list(sink.documents) == [whole.manifests[1].digest]


def test_all_the_platforms_that_there_are_change_nothing(memory):
    assert copy(memory, Sink(), multi_arch=platforms(ARM, AMD, RISCV)).digest == memory.root.digest


def test_a_platform_that_is_not_there_is_named(memory):
    with pytest.raises(NotFound, match="no image for linux/s390x") as caught:
        copy(memory, Sink(), multi_arch=platforms(AMD, "linux/s390x"))
    assert ARM in caught.value.hint


def test_the_index_alone_moves_no_image(memory):
    sink = Sink()
    assert copy(memory, sink, multi_arch="index-only").digest == memory.root.digest
    assert sink.calls == [("finish", mediatype.OCI_INDEX)]
    assert memory.opened == [memory.root.digest]
    with pytest.raises(TransportError, match="can't be converted"):
        copy(memory, Sink(), multi_arch="index-only", format="docker")


def test_an_image_that_is_no_index_is_copied_whatever_was_chosen():
    memory = Memory()
    manifest = memory.image("a")
    for choice in ("system", "all", "index-only", platforms(ARM)):
        assert copy(memory, Sink(), multi_arch=choice).digest == manifest.digest


def test_an_unknown_choice_is_refused(memory):
    with pytest.raises(UsageError, match="everything"):
        copy(memory, Sink(), multi_arch="everything")


def test_a_destination_for_one_image_refuses_an_index(memory):
    for choice in ("all", "index-only", platforms(AMD)):
        with pytest.raises(TransportError, match="can't hold an image for several platforms"):
            copy(memory, Sink(Form(indexes=False)), multi_arch=choice)


def test_the_blobs_of_several_images_are_on_their_way_together(memory):
    meeting = threading.Barrier(3, timeout=30)

    class Meeting(Sink):
        def push(self, blob):
            if mediatype.is_layer(blob.media_type):
                meeting.wait()  # breaks unless the layers of all three images are pushed at the same time
            super().push(blob)

    copy(memory, Meeting(), multi_arch="all", parallel=3)


def test_what_images_share_is_moved_once(memory):
    shared = Memory()
    entries = []
    for platform in (AMD, ARM):
        shared.image("same", platform=platform)
        entries.append(shared.root)
    index = Index.build(entries)
    shared.root = shared.keep(index.raw, index.media_type)
    sink = Sink()
    copy(shared, sink, multi_arch="all")
    assert len([kind for what, kind in sink.calls if what == "push" and mediatype.is_layer(kind)]) == 1
    assert len(sink.pushed) == 3


def test_a_converted_attestation_is_about_the_converted_image(memory):
    whole = with_attestation(memory)
    sink = Sink()
    copy(memory, sink, multi_arch="all", compression="zstd")
    about = sink.finished.manifests[3].annotations["vnd.docker.reference.digest"]
    assert about == sink.finished.manifests[0].digest != whole.manifests[0].digest


def test_what_is_there_is_said_to_be_skipped(memory):
    sink, events = Sink(), []
    copy(memory, sink, multi_arch="all")
    copy(memory, sink, multi_arch="all", progress=events.append)
    assert len(events) == 6
    assert all(event == BytesMoved(event.what, event.total, event.total, skipped=True) for event in events)
    assert {Digest(event.what) for event in events} == set(sink.content)
