"""One method an endpoint of the OCI distribution specification 1.1. Values and streams in and out, no policy."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urljoin

from attrs import frozen

from buildlib.errors import DigestMismatch, FormatError, NotFound, TransportError
from buildlib.oci import Digest, mediatype
from buildlib.registry.blobs import BlobReader, Upload
from buildlib.registry.message import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import RawIOBase
    from typing import IO

    from buildlib.registry.http import Http, Reply

MAX_MANIFEST = 4 << 20
"""Bytes; the limit that the specification asks registries to accept at least, and more than any real manifest."""
ACCEPT = ", ".join(
    (mediatype.OCI_INDEX, mediatype.OCI_MANIFEST, mediatype.DOCKER_LIST, mediatype.DOCKER_MANIFEST)
)


@frozen
class Fetched:
    """A manifest or index as the registry sent it."""

    raw: bytes
    media_type: str
    digest: Digest


class RegistryClient:
    """The API of one registry at ``base`` ("https://host[:port]"). Thread-safe as far as its ``http`` is."""

    def __init__(self, base: str, http: Http) -> None:
        self.base = base.rstrip("/")
        self.http = http

    # --- the API itself ---------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Raise unless a registry answers here (end-1)."""
        with self._send("GET", "/v2/") as reply:
            if reply.status not in (200, 401):
                raise self._refusal(reply, "its API")

    def manifest(self, repository: str, reference: str) -> Fetched:
        """Manifest or index by tag or digest (end-3). NotFound, DigestMismatch, FormatError when it is too large."""
        reply = self._send("GET", f"/v2/{repository}/manifests/{reference}", pull(repository), {"accept": ACCEPT})
        if reply.status == 404:
            reply.close()
            raise NotFound(f"{self._shown(repository, reference)}: not in the registry", kind="image", name=reference)
        if reply.status != 200:
            raise self._refusal(reply, f"{repository}:{reference}")
        if int(reply.headers.get("content-length") or 0) > MAX_MANIFEST:
            reply.close()
            raise FormatError(f"{self._shown(repository, reference)}: a manifest of more than {MAX_MANIFEST} bytes")
        raw = reply.whole(MAX_MANIFEST)
        digest = Digest.of(raw)
        if ":" in reference and digest != reference:
            digest = Digest(reference)
            if digest.algorithm != "sha256" or Digest.of(raw) != reference:
                raise DigestMismatch(
                    f"{self._shown(repository, reference)}: the registry sent {Digest.of(raw)} instead",
                    expected=reference,
                    actual=str(Digest.of(raw)),
                )
        return Fetched(raw, reply.headers.get("content-type", "").partition(";")[0].strip(), digest)

    def manifest_digest(self, repository: str, reference: str) -> Digest | None:
        """The digest behind a tag without fetching the manifest, None when there is none (end-3 by HEAD)."""
        path = f"/v2/{repository}/manifests/{reference}"
        with self._send("HEAD", path, pull(repository), {"accept": ACCEPT}) as reply:
            if reply.status == 404:
                return None
            if reply.status != 200:
                raise self._refusal(reply, f"{repository}:{reference}")
            told = reply.headers.get("docker-content-digest")
        return Digest(told) if told else self.manifest(repository, reference).digest

    def put_manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> Reply:
        """Store a manifest under a tag or its digest (end-7)."""
        headers = {"content-type": media_type}
        reply = self._send("PUT", f"/v2/{repository}/manifests/{reference}", push(repository), headers, raw)
        if reply.status not in (201, 202):
            raise self._refusal(reply, f"the manifest {repository}:{reference}")
        reply.close()
        return reply

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Delete a manifest by digest, or only a tag where the registry knows how (end-9)."""
        with self._send("DELETE", f"/v2/{repository}/manifests/{reference}", delete(repository)) as reply:
            if reply.status == 404:
                raise NotFound(f"{self._shown(repository, reference)}: no such manifest", kind="image", name=reference)
            if reply.status not in (200, 202):
                raise self._refusal(reply, f"deleting {repository}:{reference}")

    # --- blobs -----------------------------------------------------------------------------------------------------

    def has_blob(self, repository: str, digest: str) -> int | None:
        """The blob's size, or None when the repository has no such blob (end-2 by HEAD)."""
        with self._send("HEAD", f"/v2/{repository}/blobs/{digest}", pull(repository)) as reply:
            if reply.status == 404:
                return None
            if reply.status != 200:
                raise self._refusal(reply, f"the blob {digest}")
            return int(reply.headers.get("content-length") or 0)

    def blob(self, repository: str, digest: str, size: int) -> BlobReader:
        """The blob as a stream that resumes by itself after a broken connection (end-2, RFC 9110 ranges)."""
        return BlobReader(self, repository, digest, size)

    def open_blob(self, repository: str, digest: str, offset: int) -> Reply:
        """One GET of a blob from ``offset`` on; the body is on the wire."""
        headers = {"range": f"bytes={offset}-"} if offset else {}
        reply = self._send("GET", f"/v2/{repository}/blobs/{digest}", pull(repository), headers)
        if reply.status == 404:
            reply.close()
            raise NotFound(f"{self._shown(repository, digest)}: no such blob", kind="blob", name=digest)
        if reply.status not in (200, 206):
            raise self._refusal(reply, f"the blob {digest}")
        return reply

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Ask for a blob of another repository of this registry (end-11); False means: upload it."""
        query = urlencode({"mount": digest, "from": source})
        scope = f"{push(repository)} {pull(source)}"
        with self._send("POST", f"/v2/{repository}/blobs/uploads/?{query}", scope, {"content-length": "0"}) as reply:
            if reply.status == 202 and (location := reply.headers.get("location")):
                self.cancel_upload(repository, urljoin(reply.url, location))
            return reply.status == 201

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
        if offset and size:
            headers |= {"content-range": f"{offset}-{offset + size - 1}"}
        with self._request("PATCH", location, push(repository), headers, data) as reply:
            return self._location(reply, 202, repository)

    def uploaded(self, repository: str, location: str) -> tuple[int, str]:
        """How many bytes have arrived, and where to go on (end-13)."""
        with self._request("GET", location, push(repository), {}) as reply:
            onward = self._location(reply, 204, repository)
            arrived = re.fullmatch(r"(?:bytes=)?0-(\d+)", reply.headers.get("range", ""))
        # Registries say "0-0" both for nothing and for one byte: sending the first byte again is refused, so
        # nothing is assumed only where no range came at all.
        return (int(arrived[1]) + 1 if arrived and arrived[1] != "0" else 0), onward

    def finish_upload(self, repository: str, location: str, digest: str) -> None:
        """Close an upload: the blob exists from here on (end-6)."""
        url = location + ("&" if "?" in location else "?") + urlencode({"digest": digest})
        with self._request("PUT", url, push(repository), {"content-length": "0"}) as reply:
            if reply.status not in (201, 204):
                raise self._refusal(reply, f"the blob {digest}")

    def cancel_upload(self, repository: str, location: str) -> None:
        """Forget an upload; a registry that doesn't know how keeps it until it expires (end-14)."""
        self._request("DELETE", location, push(repository), {}).close()

    def upload(
        self, repository: str, opener: Callable[[int], IO[bytes] | RawIOBase], size: int | None = None
    ) -> Upload:
        """An upload that is streamed and resumed; see :class:`Upload`."""
        return Upload(self, repository, opener, size)

    # --- lists -----------------------------------------------------------------------------------------------------

    def tags(self, repository: str) -> Iterator[str]:
        """All tags, page by page (end-8)."""
        for page in self._pages(f"/v2/{repository}/tags/list?n=1000", pull(repository), repository):
            yield from page.get("tags") or ()

    def repositories(self) -> Iterator[str]:
        """All repositories, where the registry tells (Docker's catalog API)."""
        for page in self._pages("/v2/_catalog?n=1000", "registry:catalog:*", "the catalog"):
            yield from page.get("repositories") or ()

    def referrers(self, repository: str, digest: str, artifact_type: str | None = None) -> list[dict[str, Any]]:
        """Descriptors of what refers to ``digest`` (end-12), by the tag schema where the API is missing."""
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        path = f"/v2/{repository}/referrers/{digest}{query}"
        reply = self._send("GET", path, pull(repository))
        if reply.status == 200:
            raw = reply.whole(MAX_MANIFEST)
        else:
            reply.close()
            try:
                raw = self.manifest(repository, digest.replace(":", "-")).raw
            except NotFound:
                return []
        found = parse(raw, f"the referrers of {digest}").get("manifests") or []
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
            url = urljoin(url, onward[1]) if onward else None

    def _send(self, method: str, path: str, scope: str = "", headers: Any = None, body: Any = None) -> Reply:
        return self._request(method, self.base + quote(path, safe="/:?=&%@+,~._-"), scope, headers or {}, body)

    def _request(self, method: str, url: str, scope: str, headers: Any, body: Any = None) -> Reply:
        return self.http.send(Request(method, url, headers, body), scope)

    def _location(self, reply: Reply, expected: int, repository: str) -> str:
        location = reply.headers.get("location")
        if reply.status not in (expected, 201, 202, 204) or not location:
            raise self._refusal(reply, f"an upload to {repository}")
        return urljoin(reply.url, location)

    def _shown(self, repository: str, reference: str) -> str:
        joiner = "@" if ":" in reference else ":"
        return f"{self.base.partition('://')[2]}/{repository}{joiner}{reference}"

    def _refusal(self, reply: Reply, what: str) -> TransportError:
        body = reply.whole(1 << 20)
        said = ""
        try:
            said = "; ".join(str(e.get("message") or e.get("code")) for e in json.loads(body).get("errors", []))
        except (ValueError, AttributeError, TypeError):
            said = body[:200].decode(errors="replace").strip()
        host = self.base.partition("://")[2]
        hint = f"run `buildlib login {host}`" if reply.status in (401, 403) else None
        return TransportError(f"{host}: {what}: HTTP {reply.status}{': ' + said if said else ''}", hint=hint)


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


