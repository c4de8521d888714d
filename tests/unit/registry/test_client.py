"""The client against a registry in this process: every endpoint, every fault, and what is said then."""

from __future__ import annotations

import io
import os
import time

import pytest

from buildlib.errors import DigestMismatch, FormatError, NotFound, TransportError
from buildlib.oci import Digest, mediatype
from buildlib.registry.auth import Authenticator, Credential
from buildlib.registry.client import MAX_MANIFEST, RegistryClient
from buildlib.registry.http import Http
from buildlib.testing import serve_registry
from buildlib.testing.faults import break_upload, cut, damage, drop, expire_tokens, lie, on, redirect, status

from .conftest import connect
from .suite import Suite, put_image

DATA = os.urandom(3_000_000)
DIGEST = Digest.of(DATA)


class TestSuite(Suite):
    @pytest.fixture
    def repository(self):
        return "team/site"


class TestSuiteWithoutTheReferrersApi(TestSuite):
    @pytest.fixture
    def registry(self):
        with serve_registry(referrers_api=False) as served:
            yield served


class TestSuiteBehindBearerTokens(TestSuite):
    @pytest.fixture
    def registry(self):
        with serve_registry(auth="bearer", users={"ann": "secret"}) as served:
            yield served

    @pytest.fixture
    def client(self, registry, waits):
        return connect(registry, waits, Credential("ann", "secret"))


class TestSuiteBehindABasicPassword(TestSuiteBehindBearerTokens):
    @pytest.fixture
    def registry(self):
        with serve_registry(auth="basic", users={"ann": "secret"}) as served:
            yield served


@pytest.fixture
def blob(registry):
    """The digest of a blob of three million bytes in the repository x."""
    registry.repository("x").blobs[DIGEST] = DATA
    return DIGEST


def send(client, data=DATA, known=True):
    upload = client.upload("x", lambda offset: io.BytesIO(data[offset:]), len(data) if known else None)
    upload.send()
    upload.finish(Digest.of(data))


# --- broken connections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_broke(registry, client, blob, ranges):
    registry.ranges = ranges
    registry.faults = [on("GET .*/blobs/", cut(1_200_000)), on("GET .*/blobs/", cut(900_000), skip=1)]
    with client.blob("x", blob, len(DATA)) as stream:
        assert stream.read() == DATA
    asked = [seen.get("range") for seen, line in zip(registry.seen, registry.log, strict=True) if "/blobs/" in line]
    if ranges:
        assert asked == [None, "bytes=1200000-", "bytes=2100000-"]
    else:
        # Each time it sends it all, and breaks off earlier than it came before.
        assert len(asked) == 3


def test_a_download_that_breaks_for_ever_is_given_up(registry, client, blob, waits):
    registry.faults = [on("GET .*/blobs/", cut(1000), times=None)]
    with client.blob("x", blob, len(DATA)) as stream, pytest.raises(TransportError, match="only 6000 of 3000000 bytes"):
        stream.read()
    assert len(waits) == 5
    assert waits == sorted(waits)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("after", [1, 65_536, 1_500_000])
def test_an_upload_goes_on_where_it_broke(registry, client, after, known):
    registry.faults = [on("PATCH", break_upload(after))]
    send(client, known=known)
    assert registry.repository("x").blobs[DIGEST] == DATA
    assert len(registry.requests("PATCH")) == 2
    second = [seen for seen, line in zip(registry.seen, registry.log, strict=True) if line.startswith("PATCH")][1]
    if known and after > 1:
        assert second["content-range"] == f"{after}-{len(DATA) - 1}"
    # Of one byte and of none a registry says the same: then a new upload is begun.
    assert len(registry.requests("POST")) == (2 if after == 1 else 1)


def test_an_upload_that_breaks_for_ever_is_given_up_and_forgotten(registry, client):
    registry.faults = [on("PATCH", break_upload(1000), times=None)]
    upload = client.upload("x", lambda offset: io.BytesIO(DATA[offset:]), len(DATA))
    with pytest.raises(TransportError):
        upload.send()
    upload.cancel()
    assert registry.uploads == {}
    assert len(registry.requests("PATCH")) == 6


def test_a_source_that_fails_is_not_sent_again(registry, client):
    class Damaged(io.BytesIO):
        def read(self, size=-1, /):
            data = super().read(size)
            if not data:
                raise TransportError("the source is damaged")
            return data

    upload = client.upload("x", lambda offset: Damaged(b"abc"), 10)
    with pytest.raises(TransportError, match="the source is damaged"):
        upload.send()
    assert len(registry.requests("PATCH")) <= 1, "the connection may be gone before the registry has looked"


@pytest.mark.parametrize("fault", [drop(), status(503)])
def test_a_small_blob_is_sent_anew_from_its_beginning(registry, client, fault):
    registry.faults = [on("PUT .*/blobs/", fault)]
    client.put_blob("x", Digest.of(b"small"), b"small")
    assert registry.repository("x").blobs[Digest.of(b"small")] == b"small"
    assert len(registry.requests("POST")) == 2


def test_the_end_of_an_upload_whose_answer_was_lost_is_no_failure(registry, client):
    class Lost:
        """The registry does it, and then the connection breaks before it can say so."""

        def __call__(self, exchange):
            exchange.cut = 0
            exchange.told = 10
            return False

    registry.faults = [on("PUT .*/blobs/", Lost())]
    send(client)
    assert registry.repository("x").blobs[DIGEST] == DATA


def test_a_name_that_is_not_known_is_not_tried_again(waits):
    client = RegistryClient("http://registry.invalid", Http(Authenticator(lambda host: None), sleep=waits.append))
    with pytest.raises(TransportError, match=r"registry\.invalid") as caught:
        client.ping()
    assert waits == []
    assert "name of the registry" in caught.value.hint


def test_a_refused_connection_is_tried_again(waits):
    client = RegistryClient("http://127.0.0.1:1", Http(Authenticator(lambda host: None), sleep=waits.append))
    with pytest.raises(TransportError, match="Connection refused"):
        client.ping()
    assert len(waits) == 3


# --- busy registries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_registry_is_asked_again(registry, client, waits, code):
    put_image(client, "x", "v1")
    registry.faults = [on("GET .*/manifests/", status(code), times=2)]
    client.manifest("x", "v1")
    assert len(waits) == 2
    assert 0.3 < waits[0] < 0.7
    assert 0.7 < waits[1] < 1.3


def test_a_busy_registry_says_how_long_to_wait(registry, client, waits):
    put_image(client, "x", "v1")
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    registry.faults = [
        on("GET .*/manifests/", status(429, retry_after="7")),
        on("GET .*/manifests/", status(503, retry_after=later)),
        on("GET .*/manifests/", status(503, retry_after="86400")),
    ]
    client.manifest("x", "v1")
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    assert waits[2] == 60, "nobody waits for a day"


def test_a_registry_that_stays_busy_is_named_with_its_status(registry, client):
    registry.faults = [on("GET", status(429, message="too many pulls"), times=None)]
    with pytest.raises(TransportError, match="x:v1: HTTP 429: too many pulls") as caught:
        client.manifest("x", "v1")
    assert caught.value.status == 429
    assert "log in" in caught.value.hint


@pytest.mark.parametrize("code", [429, 503])
def test_an_upload_to_a_busy_registry_waits_and_goes_on(registry, client, waits, code):
    registry.faults = [on("PATCH", status(code, retry_after="3"))]
    send(client)
    assert registry.repository("x").blobs[DIGEST] == DATA
    assert waits == [3]


@pytest.mark.parametrize("known", [True, False])
def test_a_proxy_that_takes_no_large_requests_gets_chunks(registry, client, known):
    limit = 10 << 20

    def proxy(exchange):
        if "content-length" in exchange.headers and int(exchange.headers["content-length"]) <= limit:
            return False
        exchange.refuse(413, "SIZE_INVALID", "too large")
        return True

    registry.faults = [on("PATCH", proxy, times=None)]
    data = os.urandom(20_000_000)
    send(client, data, known=known)
    assert registry.repository("x").blobs[Digest.of(data)] == data
    ranges = [seen.get("content-range") for seen in registry.seen if seen.get("content-range")]
    if known:
        ranges = ranges[-3:]
    assert ranges == ["0-8388607", "8388608-16777215", "16777216-19999999"]
    send(client, os.urandom(9_000_000), known=known)
    assert len(registry.requests("PATCH")) == 6, "it is known from now on"
    assert registry.uploads == {}


def test_chunks_that_break_go_on_where_they_were(registry, client):
    client.chunked = True
    registry.faults = [on("PATCH", break_upload(5_000_000), skip=1)]
    data = os.urandom(20_000_000)
    send(client, data)
    assert registry.repository("x").blobs[Digest.of(data)] == data


@pytest.mark.parametrize("code", [403, 404])
def test_an_upload_that_is_refused_is_not_tried_again(registry, client, code):
    registry.faults = [on("PATCH", status(code, message="no"), times=None)]
    with pytest.raises(TransportError, match=f"HTTP {code}: no"):
        send(client)
    assert len(registry.requests("PATCH")) == 1


# --- lies -----------------------------------------------------------------------------------------------------------


def test_a_blob_of_another_size_is_refused_at_once(registry, client, blob):
    with pytest.raises(TransportError, match="has 3000000 bytes of it, the manifest says 5"):
        client.blob("x", blob, 5)


@pytest.mark.parametrize("length", [1000, 4_000_000])
def test_a_lie_about_the_length_is_found(registry, client, blob, length):
    registry.faults = [on("GET .*/blobs/", lie(length), times=None)]
    with pytest.raises(TransportError, match=f"has {length} bytes of it"):
        client.blob("x", blob, len(DATA))


def test_a_manifest_that_is_not_what_was_asked_for_is_refused(registry, client):
    digest, _ = put_image(client, "x", "v1")
    registry.faults = [on("GET .*/manifests/", damage(), times=None)]
    for reference in (digest, "v1"):
        with pytest.raises(DigestMismatch, match=f"expected {digest}, the registry sent sha256:"):
            client.manifest("x", reference)


def test_a_manifest_is_found_by_other_digests(registry, client):
    _, raw = put_image(client, "x", "v1")
    digest = Digest.of(raw, "sha512")
    registry.repository("x").manifests[digest] = (mediatype.OCI_MANIFEST, raw)
    assert client.manifest("x", digest).digest == digest


@pytest.mark.parametrize("told", [True, False])
def test_an_oversized_manifest_is_not_read(registry, client, told):
    raw = b" " * (MAX_MANIFEST + 1)
    registry.repository("x").manifests[Digest.of(raw)] = (mediatype.OCI_MANIFEST, raw)
    if not told:  # it streams without end, and nobody knows how long it will be

        def stream(exchange):
            exchange.send_response(200)
            exchange.end_headers()
            exchange.wfile.write(raw)
            exchange.drop()
            return True

        registry.faults = [on("GET .*/manifests/", stream)]
    with pytest.raises(FormatError, match=r"4194304 bytes|larger than 4194304"):
        client.manifest("x", Digest.of(raw))


def test_a_token_that_ended_is_renewed_even_in_the_middle_of_an_upload(waits):
    with serve_registry(auth="bearer") as registry:
        client = connect(registry, waits)
        registry.faults = [on("PATCH", expire_tokens())]
        send(client)
        assert registry.repository("x").blobs[DIGEST] == DATA
        assert waits == []


def test_a_wrong_password_is_said_to_be_wrong(waits):
    for auth, message in (("basic", "HTTP 401"), ("bearer", "refused a token .* as 'ann': HTTP 401")):
        with serve_registry(auth=auth, users={"ann": "secret"}) as registry:
            client = connect(registry, waits, Credential("ann", "guess"))
            with pytest.raises(TransportError, match=message) as caught:
                client.manifest("x", "v1")
            assert caught.value.status == 401


def test_without_a_login_the_hint_says_how_to(waits):
    for auth in ("basic", "bearer"):
        with serve_registry(auth=auth, users={"ann": "secret"}) as registry:
            with pytest.raises(TransportError) as caught:
                connect(registry, waits).manifest("x", "v1")
            assert f"buildlib login {registry.host}" in caught.value.hint


# --- redirects and pages ----------------------------------------------------------------------------------------------


def test_a_redirect_to_another_host_does_not_take_the_password_along(waits):
    with serve_registry(auth="basic", users={"ann": "secret"}) as registry, serve_registry() as storage:
        client = connect(registry, waits, Credential("ann", "secret"))
        storage.repository("x").blobs[DIGEST] = DATA
        registry.repository("x").blobs[DIGEST] = b""
        registry.faults = [on("GET .*/blobs/", redirect(f"http://{storage.host}"), skip=1, times=None)]
        with client.blob("x", DIGEST, len(DATA)) as stream:
            assert stream.read() == DATA
        assert "authorization" in registry.seen[-1]
        assert all("authorization" not in seen for seen in storage.seen)


def test_redirects_in_a_circle_end(registry, client):
    registry.faults = [on("GET", redirect(f"http://{registry.host}"), times=None)]
    with pytest.raises(TransportError, match="more than 10 redirects"):
        client.manifest("x", "v1")


def test_tags_and_repositories_come_in_pages(registry, client):
    registry.repository("x").tags = {f"v{number:04}": str(DIGEST) for number in range(2500)}
    for number in range(1200):
        registry.repository(f"r{number:04}")
    assert len(list(client.tags("x"))) == 2500
    assert len(registry.requests("GET /v2/x/tags/list")) == 3
    assert len(list(client.repositories())) == 1201


def test_a_link_to_another_host_is_followed_on_this_one(registry, client):
    def page(exchange):
        if "last" in exchange.path:
            exchange.reply(200, b'{"tags": ["b"]}')
        else:
            exchange.reply(200, b'{"tags": ["a"]}', link='<http://else.invalid/v2/x/tags/list?last=a>; rel="next"')
        return True

    registry.faults = [on("GET .*/tags/list", page, times=None)]
    assert list(client.tags("x")) == ["a", "b"]


def test_pages_that_lead_back_to_themselves_end(registry, client):
    def page(exchange):
        exchange.reply(200, b'{"tags": ["a"]}', link=f'<{exchange.path}>; rel="next"')
        return True

    registry.faults = [on("GET .*/tags/list", page, times=None)]
    assert list(client.tags("x")) == ["a"]


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b"\xff"])
def test_an_answer_that_is_no_document_is_an_error(registry, client, body):
    def answer(exchange):
        exchange.reply(200, body)
        return True

    registry.faults = [on("GET .*/tags/list", answer)]
    with pytest.raises(FormatError, match="x: not"):
        list(client.tags("x"))


def test_connections_are_used_again(registry, client, blob):
    for _ in range(5):
        client.has_blob("x", blob)
        client.ping()
    with client.blob("x", blob, len(DATA)) as stream:
        stream.read()
    client.ping()
    with pytest.raises(NotFound):
        client.manifest("x", "v1")
    assert len(registry.connections) == 1
