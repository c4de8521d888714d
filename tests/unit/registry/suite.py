"""What every registry must answer: the endpoints of the specification, one by one, through our client.

A class inherits it and gives ``client`` and ``repository`` as fixtures; so it runs against registries of several makes.
"""

from __future__ import annotations

import io
import json
import os

import pytest

from buildlib.errors import NotFound, TransportError
from buildlib.oci import Digest, mediatype


def put_blob(client, repository, data):
    digest = Digest.of(data)
    client.put_blob(repository, digest, data)
    return {"mediaType": mediatype.OCTET_STREAM, "digest": digest, "size": len(data)}


def put_image(client, repository, reference, text=b"layer", **more):
    """A manifest with one layer, as an artifact that needs no real config; its digest."""
    config = put_blob(client, repository, b"{}") | {"mediaType": mediatype.OCI_CONFIG}
    layer = put_blob(client, repository, text)
    document = {
        "schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "config": config, "layers": [layer], **more,
    }  # fmt: skip
    raw = json.dumps(document).encode()
    client.put_manifest(repository, reference or Digest.of(raw), raw, mediatype.OCI_MANIFEST)
    return Digest.of(raw), raw


class Suite:
    def test_the_api_is_there(self, client):
        client.ping()

    def test_a_manifest_comes_back_by_tag_and_by_digest(self, client, repository):
        digest, raw = put_image(client, repository, "v1")
        assert client.manifest(repository, "v1").raw == raw
        fetched = client.manifest(repository, digest)
        assert (fetched.raw, fetched.media_type, fetched.digest) == (raw, mediatype.OCI_MANIFEST, digest)
        assert client.manifest_digest(repository, "v1") == digest

    def test_what_is_not_there_is_not_found(self, client, repository):
        put_image(client, repository, "v1")
        nothing = Digest.of(b"nothing")
        with pytest.raises(NotFound, match="v2: not in the registry"):
            client.manifest(repository, "v2")
        with pytest.raises(NotFound):
            client.manifest(repository, nothing)
        assert client.manifest_digest(repository, "v2") is None
        assert client.has_blob(repository, nothing) is None
        with pytest.raises(NotFound, match="no such blob"):
            client.blob(repository, nothing, 10)
        with pytest.raises(NotFound):
            client.delete_manifest(repository, nothing)

    @pytest.mark.parametrize("size", [0, 1, 100, (1 << 20) + 17, 5 << 20])
    @pytest.mark.parametrize("known", [True, False])
    def test_a_blob_is_streamed_up_and_down(self, client, repository, size, known):
        data = os.urandom(size)
        upload = client.upload(repository, lambda offset: io.BytesIO(data[offset:]), size if known else None)
        upload.send()
        upload.finish(Digest.of(data))
        assert client.has_blob(repository, Digest.of(data)) == size
        with client.blob(repository, Digest.of(data), size) as blob:
            assert blob.read() == data

    def test_a_blob_can_be_read_from_the_middle(self, client, repository):
        data = os.urandom(100_000)
        client.put_blob(repository, Digest.of(data), data)
        with client.open_blob(repository, Digest.of(data), 60_000) as reply:
            assert reply.status == 206
            assert reply.read(100_000) == data[60_000:]

    def test_an_upload_goes_on_where_it_was(self, client, repository):
        data = os.urandom(300_000)
        location = client.start_upload(repository)
        location = client.append(repository, location, io.BytesIO(data[:200_000]), 0, 200_000)
        offset, location = client.uploaded(repository, location)
        assert offset == 200_000
        location = client.append(repository, location, io.BytesIO(data[offset:]), offset, 100_000)
        client.finish_upload(repository, location, Digest.of(data))
        with client.blob(repository, Digest.of(data), len(data)) as blob:
            assert blob.read() == data

    def test_an_upload_that_is_given_up_leaves_no_blob(self, client, repository):
        data = os.urandom(1000)
        upload = client.upload(repository, lambda offset: io.BytesIO(data[offset:]), 1000)
        upload.send()
        upload.cancel()
        assert client.has_blob(repository, Digest.of(data)) is None
        with pytest.raises(TransportError):
            upload.finish(Digest.of(data))

    def test_a_blob_under_a_wrong_digest_is_refused(self, client, repository):
        with pytest.raises(TransportError, match="HTTP 400") as caught:
            client.put_blob(repository, Digest.of(b"other"), b"data")
        assert caught.value.status == 400
        assert client.has_blob(repository, Digest.of(b"other")) is None

    def test_a_blob_of_another_repository_is_mounted(self, client, repository):
        data = os.urandom(1000)
        client.put_blob(f"{repository}/one", Digest.of(data), data)
        assert client.mount(f"{repository}/two", Digest.of(data), f"{repository}/one") is None
        assert client.has_blob(f"{repository}/two", Digest.of(data)) == 1000

    def test_what_can_not_be_mounted_can_be_uploaded_at_once(self, client, repository):
        data = os.urandom(1000)
        location = client.mount(repository, Digest.of(data), f"{repository}/none")
        assert location
        client.put_blob(repository, Digest.of(data), data, location)
        assert client.has_blob(repository, Digest.of(data)) == 1000

    def test_all_tags_are_listed(self, client, repository):
        wanted = {f"v{number}" for number in range(5)}
        for tag in wanted:
            put_image(client, repository, tag)
        assert set(client.tags(repository)) == wanted
        assert repository in set(client.repositories())
        with pytest.raises(NotFound, match="no such repository"):
            list(client.tags(f"{repository}/never"))

    def test_a_manifest_is_deleted_by_digest(self, client, repository):
        digest, _ = put_image(client, repository, "v1", b"one")
        other, _ = put_image(client, repository, "v2", b"two")
        client.delete_manifest(repository, digest)
        assert client.manifest_digest(repository, digest) is None
        assert client.manifest_digest(repository, "v1") is None
        assert client.manifest_digest(repository, "v2") == other

    def test_referrers_are_found_by_the_api_or_by_the_tag(self, client, repository):
        digest, raw = put_image(client, repository, "v1")
        subject = {"mediaType": mediatype.OCI_MANIFEST, "digest": digest, "size": len(raw)}
        assert client.referrers(repository, digest) == []
        for kind in ("application/x-one", "application/x-two"):
            _, document = put_image(client, repository, None, subject=subject, artifactType=kind)
            client.add_referrer(repository, digest, document, mediatype.OCI_MANIFEST)
            client.add_referrer(repository, digest, document, mediatype.OCI_MANIFEST)  # twice is once
        found = client.referrers(repository, digest)
        assert sorted(each["artifactType"] for each in found) == ["application/x-one", "application/x-two"]
        assert len(client.referrers(repository, digest, "application/x-two")) == 1
