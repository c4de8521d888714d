"""A registry in this process, for tests: the distribution specification 1.1 in memory, with faults on demand.

It keeps everything in memory and trusts its caller; it is no registry to run a business on. Faults are made by
:mod:`buildlib.testing.faults`.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from attrs import Factory, define, field

from buildlib import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = r"(?P<name>[a-z0-9]+(?:[._/-][a-z0-9]+)*)"
PAGE = 1000
DEFAULT_TYPE = "application/vnd.oci.image.manifest.v1+json"

Fault = Callable[["Exchange"], bool]
"""Called before each request is answered; True means that it answered (or broke) the exchange itself.

It may also set what spoils the answer to come: :attr:`Exchange.cut`, ``told``, ``damage``, ``take``.
"""


@define
class Repository:
    """What one repository holds: blobs, manifests with their media types, tags."""

    blobs: dict[str, bytes] = Factory(dict)
    manifests: dict[str, tuple[str, bytes]] = Factory(dict)
    tags: dict[str, str] = Factory(dict)


@define
class Registry:
    """The state of the registry, open to a test's eyes and hands.

    ``host`` is host:port. ``auth`` is None, ``"basic"`` or ``"bearer"``; ``users`` maps names to passwords. ``log``
    collects ``"METHOD /path"`` of every request, ``seen`` its headers, ``connections``
    who came. ``faults`` are asked in turn before a request is
    answered. ``ranges``, ``mounts`` and ``referrers_api`` say whether the registry knows how to.
    """

    host: str = ""
    auth: str | None = None
    users: dict[str, str] = Factory(dict)
    referrers_api: bool = True
    ranges: bool = True
    mounts: bool = True
    repositories: dict[str, Repository] = Factory(dict)
    uploads: dict[str, bytearray] = Factory(dict)
    tokens: set[str] = Factory(set)
    log: list[str] = Factory(list)
    seen: list[dict[str, str]] = Factory(list)
    connections: set[Any] = Factory(set)
    faults: list[Fault] = Factory(list)
    lock: Any = field(factory=threading.RLock, repr=False)

    def repository(self, name: str) -> Repository:
        """The repository, made when it is not there."""
        with self.lock:
            return self.repositories.setdefault(name, Repository())

    def requests(self, pattern: str) -> list[str]:
        """The logged requests that ``pattern`` (a regular expression) matches from their start."""
        return [each for each in self.log if re.match(pattern, each)]


@contextmanager
def serve_registry(
    *,
    auth: str | None = None,
    users: dict[str, str] | None = None,
    referrers_api: bool = True,
    certificate: str | None = None,
) -> Iterator[Registry]:
    """Serve a registry on a free port of the loopback for the length of the block.

    It speaks plain HTTP, or TLS with ``certificate``, a PEM file that holds the key as well::

        with serve_registry(auth="bearer", users={"ann": "secret"}) as registry:
            image.push(f"docker://{registry.host}/site:1", access=Access(tls_verify=False, …))
            assert "1" in registry.repository("site").tags
    """
    registry = Registry(auth=auth, users=users or {}, referrers_api=referrers_api)
    server = _Server(("127.0.0.1", 0), type("Handler", (Exchange,), {"registry": registry}))
    if certificate is not None:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.context = context
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Shakes hands in the thread of the connection, not in the one that accepts; keeps quiet about broken ones."""

    daemon_threads = True
    context: Any = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer the requests of one connection."""
        if self.context is not None:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up, or do not trust us, are part of the tests."""


class Exchange(BaseHTTPRequestHandler):
    """One connection. ``ROUTES`` maps method and path to the methods below, in the order of the specification."""

    registry: Registry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    cut: int | None
    """Break the connection after so many bytes of the answer's body."""
    told: int | None
    """The Content-Length to tell instead of the right one."""
    damage: bool
    """Change a byte in the middle of the answer's body."""
    take: int | None
    """Break the connection after so many bytes of the request's body, which are kept as far as it is an upload."""

    # --- plumbing --------------------------------------------------------------------------------------------------

    def log_message(self, *_: object) -> None:
        """Stay silent: ``Registry.log`` is for that."""

    def handle_any(self) -> None:
        """Answer one request of any method."""
        self.cut = self.told = self.take = None
        self.damage = self._drained = False
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        with self.registry.lock:
            self.registry.log.append(f"{self.command} {self.path}")
            self.registry.connections.add(self.client_address)
            self.registry.seen.append({name.lower(): value for name, value in self.headers.items()})
            faults = list(self.registry.faults)
        if any(fault(self) for fault in faults):
            return
        if url.path == "/token":
            self.give_token()
            return
        if not self.allowed():
            return
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, url.path)
            if match and method == self.command:
                answer(self, **match.groupdict())
                return
        self.refuse(404, "UNSUPPORTED", f"no route for {self.command} {url.path}")

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the names that http.server calls

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer; ``content_type=…`` names ``Content-Type``."""
        self.drain()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "content_length" not in headers:
            self.send_header("content-length", str(len(body) if self.told is None else self.told))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.damage:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        self.wfile.write(body if self.cut is None else body[: self.cut])
        if self.cut is not None or self.told is not None:
            self.wfile.flush()
            self.drop()

    def refuse(self, status: int, code: str, message: str = "", **headers: str) -> None:
        """Send an error document of the specification."""
        body = json.dumps({"errors": [{"code": code, "message": message or code}]}).encode()
        self.reply(status, body, content_type="application/json", **headers)

    def drop(self) -> None:
        """Break the connection without an answer."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def pieces(self) -> Iterator[bytes]:
        """The request's body as it comes, of known length or chunked. ConnectionError when it breaks off."""
        self._drained = True
        left = self.take
        for piece in self._chunks() if self._is_chunked() else self._read(int(self.headers.get("content-length") or 0)):
            yield piece if left is None else piece[:left]
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    self.drop()
                    raise ConnectionError("the fault that was asked for")

    def _is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            yield from self._read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _read(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read(min(size, 1 << 16))
            if not piece:
                raise ConnectionError("the client hung up")
            size -= len(piece)
            yield piece

    def body(self) -> bytes:
        """The request's whole body."""
        return b"".join(self.pieces())

    def drain(self) -> None:
        """Read a body that nobody wanted, so that the connection can go on."""
        if not self._drained:
            self.body()

    # --- who may ---------------------------------------------------------------------------------------------------

    def allowed(self) -> bool:
        """Whether the request carries what ``auth`` asks for; answers 401 itself otherwise."""
        given = self.headers.get("authorization", "")
        if self.registry.auth is None:
            return True
        if self.registry.auth == "basic":
            if self.known_user(given):
                return True
            challenge = 'Basic realm="test"'
        else:
            if given.removeprefix("Bearer ") in self.registry.tokens:
                return True
            challenge = f'Bearer realm="http://{self.registry.host}/token",service="test"'
        self.refuse(401, "UNAUTHORIZED", www_authenticate=challenge)
        return False

    def known_user(self, header: str) -> bool:
        """Whether a Basic header names a user with the right password; anyone may come where there are no users."""
        if not self.registry.users:
            return True
        try:
            user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        except ValueError:
            return False
        return self.registry.users.get(user) == password

    def give_token(self) -> None:
        """The token server of the ``bearer`` mode."""
        form = parse_qs(self.body().decode())
        refreshed = form.get("refresh_token", [""])[0] in self.registry.users.values() and bool(form)
        if not refreshed and not self.known_user(self.headers.get("authorization", "")):
            self.refuse(401, "UNAUTHORIZED", "wrong user name or password")
            return
        token = secrets.token_hex(8)
        self.registry.tokens.add(token)
        self.reply(200, json.dumps({"token": token, "expires_in": 300}).encode(), content_type="application/json")

    # --- end-1, end-8: the API and its lists -----------------------------------------------------------------------

    def ping(self) -> None:
        """Answer that this is a registry."""
        self.reply(200, b"{}", content_type="application/json")

    def list_tags(self, name: str) -> None:
        """Tags, in pages of ``n``."""
        if name not in self.registry.repositories:
            self.refuse(404, "NAME_UNKNOWN")
            return
        self.page(sorted(self.registry.repository(name).tags), f"/v2/{name}/tags/list", "tags", name=name)

    def catalog(self) -> None:
        """Repositories, in pages of ``n``."""
        self.page(sorted(self.registry.repositories), "/v2/_catalog", "repositories")

    def page(self, items: list[str], path: str, key: str, **more: str) -> None:
        """One page of a list, with the link to the next."""
        size = int(self.query.get("n", PAGE))
        rest = [each for each in items if each > self.query.get("last", "")]
        headers = {}
        if len(rest) > size:
            headers["link"] = f'<{path}?n={size}&last={rest[size - 1]}>; rel="next"'
        body = json.dumps({**more, key: rest[:size]}).encode()
        self.reply(200, body, content_type="application/json", **headers)

    # --- end-3, end-7, end-9, end-12: manifests ----------------------------------------------------------------------

    def get_manifest(self, name: str, reference: str) -> None:
        """A manifest by tag or digest."""
        repository = self.registry.repository(name)
        digest = repository.tags.get(reference, reference)
        if digest not in repository.manifests:
            self.refuse(404, "MANIFEST_UNKNOWN")
            return
        media_type, raw = repository.manifests[digest]
        self.reply(
            200, raw if self.command == "GET" else b"", content_type=media_type, docker_content_digest=digest,
            content_length=str(len(raw)),
        )  # fmt: skip

    def put_manifest(self, name: str, reference: str) -> None:
        """Store a manifest whose blobs (or manifests) are here already."""
        raw = self.body()
        repository, digest = self.registry.repository(name), str(Digest.of(raw))
        document = json.loads(raw)
        needed = [each["digest"] for each in [document.get("config"), *(document.get("layers") or [])] if each]
        missing = [each for each in needed if each not in repository.blobs]
        members = [each["digest"] for each in document.get("manifests") or []]
        missing += [each for each in members if each not in repository.manifests]
        if missing:
            self.refuse(400, "MANIFEST_BLOB_UNKNOWN", f"unknown: {missing[0]}")
            return
        if ":" in reference and reference != digest:
            self.refuse(400, "DIGEST_INVALID")
            return
        media_type = self.headers.get("content-type") or document.get("mediaType") or DEFAULT_TYPE
        with self.registry.lock:
            repository.manifests[digest] = (media_type, raw)
            if ":" not in reference:
                repository.tags[reference] = digest
        subject = (document.get("subject") or {}).get("digest")
        headers = {"oci_subject": subject} if subject and self.registry.referrers_api else {}
        self.reply(201, location=f"/v2/{name}/manifests/{digest}", docker_content_digest=digest, **headers)

    def delete_manifest(self, name: str, reference: str) -> None:
        """Delete by digest, or a tag alone."""
        repository = self.registry.repository(name)
        with self.registry.lock:
            found = repository.tags.pop(reference, None) or repository.manifests.pop(reference, None)
            repository.tags = {tag: digest for tag, digest in repository.tags.items() if digest != reference}
        if found is None:
            self.refuse(404, "MANIFEST_UNKNOWN")
        else:
            self.reply(202)

    def referrers(self, name: str, digest: str) -> None:
        """What has ``digest`` as its subject, as an index."""
        if not self.registry.referrers_api:
            self.refuse(404, "UNSUPPORTED")
            return
        found = []
        for own, (media_type, raw) in self.registry.repository(name).manifests.items():
            document = json.loads(raw)
            if (document.get("subject") or {}).get("digest") == digest:
                kind = document.get("artifactType") or (document.get("config") or {}).get("mediaType")
                found.append({"mediaType": media_type, "digest": own, "size": len(raw), "artifactType": kind})
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found}
        self.reply(200, json.dumps(index).encode(), content_type="application/vnd.oci.image.index.v1+json")

    # --- end-2, end-4, end-5, end-6, end-11, end-13: blobs -----------------------------------------------------------

    def get_blob(self, name: str, digest: str) -> None:
        """A blob, or from an offset on."""
        data = self.registry.repository(name).blobs.get(digest)
        if data is None:
            self.refuse(404, "BLOB_UNKNOWN")
            return
        headers = {"docker_content_digest": digest, "content_type": "application/octet-stream"}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if asked and self.registry.ranges:
            start = int(asked[1])
            headers["content_range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.reply(206, data[start:], **headers)
        else:
            self.reply(200, data, **headers)

    def delete_blob(self, name: str, digest: str) -> None:
        """Delete a blob."""
        if self.registry.repository(name).blobs.pop(digest, None) is None:
            self.refuse(404, "BLOB_UNKNOWN")
        else:
            self.reply(202)

    def start_upload(self, name: str) -> None:
        """Mount a blob of another repository, take it whole, or open an upload."""
        mounted, source = self.query.get("mount"), self.query.get("from", "")
        known = self.registry.repositories.get(source)
        if mounted and known and mounted in known.blobs and self.registry.mounts:
            self.registry.repository(name).blobs[mounted] = known.blobs[mounted]
            self.reply(201, location=f"/v2/{name}/blobs/{mounted}")
            return
        upload = secrets.token_hex(8)
        with self.registry.lock:
            self.registry.uploads[upload] = bytearray()
        if digest := self.query.get("digest"):
            self.keep(name, upload, digest)
        else:
            self.reply(202, location=f"/v2/{name}/blobs/uploads/{upload}")

    def append(self, name: str, upload: str) -> None:
        """Take the next piece of an upload; pieces come in order."""
        data = self.registry.uploads.get(upload)
        if data is None:
            self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
            return
        placed = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("content-range", ""))
        if placed and int(placed[1]) != len(data):
            self.refuse(416, "RANGE_INVALID", location=f"/v2/{name}/blobs/uploads/{upload}")
            return
        for piece in self.pieces():
            data += piece
        self.progress(name, upload, 202)

    def progress(self, name: str, upload: str, status: int = 204) -> None:
        """Say how much of an upload has come."""
        data = self.registry.uploads.get(upload)
        if data is None:
            self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        else:
            self.reply(status, location=f"/v2/{name}/blobs/uploads/{upload}", range=f"0-{max(len(data) - 1, 0)}")

    def finish_upload(self, name: str, upload: str) -> None:
        """Close an upload under a digest."""
        if upload not in self.registry.uploads:
            self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        else:
            self.keep(name, upload, self.query.get("digest", ""))

    def keep(self, name: str, upload: str, digest: str) -> None:
        """Check what came against its digest and keep it."""
        data = bytes(self.registry.uploads.pop(upload, b"")) + self.body()
        if str(Digest.of(data)) != digest:
            self.refuse(400, "DIGEST_INVALID")
            return
        self.registry.repository(name).blobs[digest] = data
        self.reply(201, location=f"/v2/{name}/blobs/{digest}", docker_content_digest=digest)

    def cancel(self, name: str, upload: str) -> None:
        """Forget an upload."""
        self.registry.uploads.pop(upload, None)
        self.reply(204)


ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("GET", "/v2/", Exchange.ping),
    ("GET", "/v2/_catalog", Exchange.catalog),
    ("GET", f"/v2/{NAME}/tags/list", Exchange.list_tags),
    ("GET", f"/v2/{NAME}/manifests/(?P<reference>[^/]+)", Exchange.get_manifest),
    ("HEAD", f"/v2/{NAME}/manifests/(?P<reference>[^/]+)", Exchange.get_manifest),
    ("PUT", f"/v2/{NAME}/manifests/(?P<reference>[^/]+)", Exchange.put_manifest),
    ("DELETE", f"/v2/{NAME}/manifests/(?P<reference>[^/]+)", Exchange.delete_manifest),
    ("GET", f"/v2/{NAME}/referrers/(?P<digest>[^/]+)", Exchange.referrers),
    ("GET", f"/v2/{NAME}/blobs/(?P<digest>sha[^/]+)", Exchange.get_blob),
    ("HEAD", f"/v2/{NAME}/blobs/(?P<digest>sha[^/]+)", Exchange.get_blob),
    ("DELETE", f"/v2/{NAME}/blobs/(?P<digest>sha[^/]+)", Exchange.delete_blob),
    ("POST", f"/v2/{NAME}/blobs/uploads/?", Exchange.start_upload),
    ("PATCH", f"/v2/{NAME}/blobs/uploads/(?P<upload>[^/]+)", Exchange.append),
    ("GET", f"/v2/{NAME}/blobs/uploads/(?P<upload>[^/]+)", Exchange.progress),
    ("PUT", f"/v2/{NAME}/blobs/uploads/(?P<upload>[^/]+)", Exchange.finish_upload),
    ("DELETE", f"/v2/{NAME}/blobs/uploads/(?P<upload>[^/]+)", Exchange.cancel),
)
