"""One method an endpoint of the OCI distribution specification 1.1. Values and streams in and out, no policy."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from buildlib.errors import BuildlibError, DigestMismatch, FormatError, NotFound, TransportError
from buildlib.oci import Digest, mediatype
from buildlib.oci.value import frozen
from buildlib.registry.blobs import MAX_RESUMES, BlobReader, Upload
from buildlib.registry.http import RETRIED
from buildlib.registry.message import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.registry.blobs import Opener
    from buildlib.registry.http import Http, Reply

MAX_MANIFEST = 4 << 20
"""Bytes; the limit that the specification asks registries to accept at least, and more than any real manifest."""
ACCEPT = ", ".join((mediatype.OCI_INDEX, mediatype.OCI_MANIFEST, mediatype.DOCKER_LIST, mediatype.DOCKER_MANIFEST))


@frozen
class Fetched:
    """A manifest or index as the registry sent it."""

    raw: bytes
    media_type: str
    digest: Digest


class RegistryClient:
    """The API of one registry at ``base`` ("https://host[:port]"). Thread-safe as far as its ``http`` is.

    With ``writing`` it asks for the right to write from the first request on, and so needs one token, not two.
    """

    def __init__(self, base: str, http: Http, *, writing: bool = False) -> None:
        self.base = base.rstrip("/")
        self.http = http
        self.chunked = False
        """Whether blobs are uploaded in chunks; :class:`Upload` finds out that they have to be."""
        self._reading = push if writing else pull

    # --- the API itself ---------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Raise unless a registry answers here (end-1)."""
        with self._send("GET", "/v2/") as reply:
            if reply.status not in (200, 401):
                raise self._refusal(reply, "its API")

    def authenticate(self) -> None:
        """Raise unless the registry takes the login that this client has; TransportError with status 401 if not."""
        with self._send("GET", "/v2/") as reply:
            if reply.status != 200:
                raise self._refusal(reply, self.base.partition("://")[2])

    def manifest(self, repository: str, reference: str) -> Fetched:
        """Manifest or index by tag or digest (end-3). NotFound, DigestMismatch, FormatError when it is too large."""
        shown = self._shown(repository, reference)
        path = f"/v2/{repository}/manifests/{reference}"
        reply = self._send("GET", path, self._reading(repository), {"accept": ACCEPT})
        if reply.status == 404:
            reply.close()
            raise NotFound(f"{shown}: not in the registry", kind="image", name=reference)
        if reply.status != 200:
            raise self._refusal(reply, shown)
        if (reply.length or 0) > MAX_MANIFEST:
            reply.close()
            raise FormatError(f"{shown}: a manifest of more than {MAX_MANIFEST} bytes")
        raw = reply.whole(MAX_MANIFEST)
        # What the registry says of a tag is checked too: a cache on the way may have cut the document off.
        told = reference if ":" in reference else reply.headers.get("docker-content-digest")
        expected = Digest(told) if told else Digest.of(raw)
        actual = Digest.of(raw, expected.algorithm)
        if actual != expected:
            raise DigestMismatch(
                f"{shown}: expected {expected}, the registry sent {actual}", expected=expected, actual=actual
            )
        return Fetched(raw, reply.headers.get("content-type", "").partition(";")[0].strip(), expected)

    def manifest_digest(self, repository: str, reference: str) -> Digest | None:
        """The digest behind a tag without fetching the manifest, None when there is none (end-3 by HEAD)."""
        path = f"/v2/{repository}/manifests/{reference}"
        with self._send("HEAD", path, self._reading(repository), {"accept": ACCEPT}) as reply:
            if reply.status == 404:
                return None
            if reply.status != 200:
                raise self._refusal(reply, self._shown(repository, reference))
            told = reply.headers.get("docker-content-digest")
        return Digest(told) if told else self.manifest(repository, reference).digest

    def put_manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> Reply:
        """Store a manifest under a tag or its digest (end-7)."""
        headers = {"content-type": media_type}
        reply = self._send("PUT", f"/v2/{repository}/manifests/{reference}", push(repository), headers, raw)
        if reply.status not in (201, 202):
            raise self._refusal(reply, f"storing {self._shown(repository, reference)}")
        reply.close()
        return reply

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Delete a manifest by digest, or only a tag where the registry knows how (end-9)."""
        with self._send("DELETE", f"/v2/{repository}/manifests/{reference}", delete(repository)) as reply:
            if reply.status == 404:
                raise NotFound(f"{self._shown(repository, reference)}: no such manifest", kind="image", name=reference)
            if reply.status not in (200, 202):
                raise self._refusal(reply, f"deleting {self._shown(repository, reference)}")

    # --- blobs -----------------------------------------------------------------------------------------------------

    def has_blob(self, repository: str, digest: str) -> int | None:
        """The blob's size (-1 if the registry does not tell), or None when the repository has none (end-2 by HEAD)."""
        with self._send("HEAD", f"/v2/{repository}/blobs/{digest}", self._reading(repository)) as reply:
            if reply.status == 404:
                return None
            if reply.status != 200:
                raise self._refusal(reply, self._shown(repository, digest))
            return -1 if reply.length is None else reply.length

    def blob(self, repository: str, digest: str, size: int) -> BlobReader:
        """The blob as a stream that resumes by itself after a broken connection (end-2, RFC 9110 ranges)."""
        return BlobReader(self, repository, digest, size)

    def open_blob(self, repository: str, digest: str, offset: int) -> Reply:
        """One GET of a blob from ``offset`` on; the body is on the wire."""
        headers = {"range": f"bytes={offset}-"} if offset else {}
        reply = self._send("GET", f"/v2/{repository}/blobs/{digest}", self._reading(repository), headers)
        if reply.status == 404:
            reply.close()
            raise NotFound(f"{self._shown(repository, digest)}: no such blob", kind="blob", name=digest)
        if reply.status not in (200, 206):
            raise self._refusal(reply, self._shown(repository, digest))
        return reply

    def mount(self, repository: str, digest: str, source: str) -> str | None:
        """Ask for a blob of another repository of this registry (end-11): None when it is there now.

        Otherwise the location of an upload, which a registry that does not mount has begun; "" where even that failed.
        """
        query = urlencode({"mount": digest, "from": source})
        scope = f"{push(repository)} {pull(source)}"
        with self._send("POST", f"/v2/{repository}/blobs/uploads/?{query}", scope, {"content-length": "0"}) as reply:
            if reply.status == 201:
                return None
            location = reply.headers.get("location") if reply.status == 202 else None
            return urljoin(reply.url, location) if location else ""

    def start_upload(self, repository: str) -> str:
        """Begin an upload; the URL to send the bytes to (end-4a)."""
        headers = {"content-length": "0"}
        with self._send("POST", f"/v2/{repository}/blobs/uploads/", push(repository), headers) as reply:
            return self._location(reply, 202, repository)

    def append(self, repository: str, location: str, data: Any, offset: int, size: int | None) -> str:
        """Send bytes from ``offset`` on (end-5); ``size`` None streams until ``data`` ends. The next URL."""
        headers = {"content-type": "application/octet-stream"}
        if size is not None:
            headers |= {"content-length": str(size)}
        if size and (offset or self.chunked):
            headers |= {"content-range": f"{offset}-{offset + size - 1}"}
        with self._request("PATCH", location, push(repository), headers, data) as reply:
            return self._location(reply, 202, repository)

    def uploaded(self, repository: str, location: str) -> tuple[int, str]:
        """How many bytes have arrived (0 also for one), and where to go on (end-13)."""
        with self._request("GET", location, push(repository), {}) as reply:
            onward = self._location(reply, 204, repository)
            arrived = re.fullmatch(r"(?:bytes=)?0-(\d+)", reply.headers.get("range", ""))
        # Registries say "0-0" both for nothing and for one byte.
        return (int(arrived[1]) + 1 if arrived and arrived[1] != "0" else 0), onward

    def finish_upload(self, repository: str, location: str, digest: str) -> None:
        """Close an upload: the blob exists from here on (end-6)."""
        url = location + ("&" if "?" in location else "?") + urlencode({"digest": digest})
        with self._request("PUT", url, push(repository), {"content-length": "0"}) as reply:
            if reply.status == 404 and self.has_blob(repository, digest) is not None:
                return  # the answer to a first try was lost
            if reply.status not in (201, 204):
                raise self._refusal(reply, f"storing {self._shown(repository, digest)}")

    def put_blob(self, repository: str, digest: str, data: bytes, location: str | None = None) -> None:
        """Upload a small blob in one go (end-4a, end-6)."""
        for attempt in range(MAX_RESUMES + 1):
            url = location or self.start_upload(repository)
            url += ("&" if "?" in url else "?") + urlencode({"digest": digest})
            headers = {"content-type": "application/octet-stream", "content-length": str(len(data))}
            try:
                # Not tried again at the same place: the registry may have kept a part.
                reply = self.http.send(Request("PUT", url, headers, data), push(repository), retries=0)
                if reply.status in (201, 204):
                    reply.close()
                    return
                raise self._refusal(reply, f"storing {self._shown(repository, digest)}")
            except TransportError as error:
                if attempt == MAX_RESUMES or (error.status is not None and error.status not in RETRIED):
                    raise
                self.http.pause(attempt, error.retry_after)
                location = None

    def cancel_upload(self, repository: str, location: str) -> None:
        """Forget an upload; a registry that does not know how, or does not answer, keeps it for a while (end-14)."""
        with suppress(BuildlibError):
            self.http.send(Request("DELETE", location), push(repository), retries=0).close()

    def upload(self, repository: str, opener: Opener, size: int | None = None, location: str | None = None) -> Upload:
        """An upload that is streamed and resumed; see :class:`Upload`."""
        return Upload(self, repository, opener, size, location)

    # --- lists -----------------------------------------------------------------------------------------------------

    def tags(self, repository: str) -> Iterator[str]:
        """All tags, page by page (end-8)."""
        for page in self._pages(f"/v2/{repository}/tags/list?n=1000", self._reading(repository), repository):
            yield from page.get("tags") or ()

    def repositories(self) -> Iterator[str]:
        """All repositories, where the registry tells (Docker's catalog API)."""
        for page in self._pages("/v2/_catalog?n=1000", "registry:catalog:*", "the catalog"):
            yield from page.get("repositories") or ()

    def referrers(self, repository: str, digest: str, artifact_type: str | None = None) -> list[dict[str, Any]]:
        """Descriptors of what refers to ``digest`` (end-12), by the tag schema where the API is missing."""
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        path = f"/v2/{repository}/referrers/{digest}{query}"
        try:
            pages = list(self._pages(path, self._reading(repository), f"{repository}@{digest}"))
        except (NotFound, TransportError) as error:
            if isinstance(error, TransportError) and error.status not in (400, 404, 405):
                raise
            try:
                raw = self.manifest(repository, digest.replace(":", "-")).raw
            except NotFound:
                return []
            pages = [parse(raw, f"the referrers of {digest}")]
        found = [entry for page in pages for entry in page.get("manifests") or () if isinstance(entry, dict)]
        return [each for each in found if not artifact_type or each.get("artifactType") == artifact_type]

    def add_referrer(self, repository: str, subject: str, raw: bytes, media_type: str) -> None:
        """Enter a manifest in the index under the subject's tag, for registries without the referrers API.

        Specification, "Referrers Tag Schema". Two writers at once may lose one entry: the schema has no lock.
        """
        document, digest = parse(raw, "a manifest"), Digest.of(raw)
        kind = document.get("artifactType") or (document.get("config") or {}).get("mediaType")
        tag = subject.replace(":", "-")
        try:
            index = parse(self.manifest(repository, tag).raw, f"the referrers of {subject}")
        except NotFound:
            index = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []}
        if any(each.get("digest") == digest for each in index["manifests"]):
            return
        entry = {"mediaType": media_type, "digest": digest, "size": len(raw), "artifactType": kind}
        if annotations := document.get("annotations"):
            entry["annotations"] = annotations
        index["manifests"].append(entry)
        self.put_manifest(repository, tag, json.dumps(index).encode(), mediatype.OCI_INDEX)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _pages(self, path: str, scope: str, what: str) -> Iterator[dict[str, Any]]:
        url: str | None = self.base + path
        seen: set[str] = set()
        while url and url not in seen:
            seen.add(url)
            reply = self._request("GET", url, scope, {})
            if reply.status == 404:
                reply.close()
                raise NotFound(f"{self.base}/{what}: no such repository", kind="repository", name=what)
            if reply.status != 200:
                raise self._refusal(reply, what)
            onward = re.search(r'<([^>]*)>\s*;\s*rel="?next"?', reply.headers.get("link", ""))
            yield parse(reply.whole(), what)
            # Only where on this registry: behind a proxy some call themselves by another name.
            target = urlsplit(urljoin(url, onward[1])) if onward else None
            url = f"{self.base}{target.path}?{target.query}" if target else None

    def _send(self, method: str, path: str, scope: str = "", headers: Any = None, body: Any = None) -> Reply:
        return self._request(method, self.base + quote(path, safe="/:?=&%@+,~._-"), scope, headers or {}, body)

    def _request(self, method: str, url: str, scope: str, headers: Any, body: Any = None) -> Reply:
        return self.http.send(Request(method, url, headers, body), scope)

    def _location(self, reply: Reply, expected: int, repository: str) -> str:
        location = reply.headers.get("location")
        if reply.status not in (expected, 201, 202, 204) or not location:
            raise self._refusal(reply, f"uploading to {self._shown(repository)}")
        return urljoin(reply.url, location)

    def _shown(self, repository: str, reference: str = "") -> str:
        joiner = ("@" if ":" in reference else ":") if reference else ""
        return f"{self.base.partition('://')[2]}/{repository}{joiner}{reference}"

    def _refusal(self, reply: Reply, what: str) -> TransportError:
        said, body = "", b""
        try:
            body = reply.whole(1 << 16)
            said = "; ".join(str(e.get("message") or e.get("code")) for e in json.loads(body).get("errors", []))
        except (ValueError, AttributeError, TypeError, BuildlibError):
            said = body[:200].decode(errors="replace").strip()
        host = self.base.partition("://")[2]
        hint = f"run `buildlib login {host}`" if reply.status in (401, 403) else None
        if reply.status == 429:
            hint = "the registry wants fewer requests: try again later, or log in"
        return TransportError(
            f"{what}: HTTP {reply.status}{': ' + said if said else ''}",
            hint=hint,
            status=reply.status,
            retry_after=reply.retry_after,
        )


def pull(repository: str) -> str:
    """The token scope for reading a repository."""
    return f"repository:{repository}:pull"


def push(repository: str) -> str:
    """The token scope for writing a repository."""
    return f"repository:{repository}:pull,push"


def delete(repository: str) -> str:
    """The token scope for deleting from a repository."""
    return f"repository:{repository}:delete,pull,push"


def parse(raw: bytes, what: str) -> dict[str, Any]:
    """A JSON object, or a FormatError that says of what."""
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise FormatError(f"{what}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise FormatError(f"{what}: not a JSON object")
    return document
