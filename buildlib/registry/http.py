"""One HTTP exchange at a time on ``urllib3``: TLS, redirects, retries. It knows nothing of registries' endpoints."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from attrs import field, frozen

from buildlib.errors import TransportError
from buildlib.registry.message import Request, Response, origin

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from urllib3 import BaseHTTPResponse, PoolManager

    from buildlib.registry.auth import Authenticator

RETRIED = frozenset({429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 10
MAX_WAIT = 60.0
"""Seconds: neither our own back-off nor a registry's Retry-After makes us wait longer between two tries."""
DRAINED = 1 << 16
"""Bytes: so much unread answer is read away to keep a connection."""
SMALL_BODY = 16 << 20
"""Bytes: an answer that is read whole may not be larger; blobs are streamed."""


@frozen
class Tls:
    """How to trust a registry: ``verify=False`` accepts any certificate and permits plain HTTP."""

    verify: bool = True
    directory: str | None = None
    """A folder as in containers-certs.d(5): ``*.crt`` are authorities, ``*.cert`` with ``*.key`` are ours."""

    def context(self) -> ssl.SSLContext:
        """The TLS context that follows from the settings."""
        import ssl
        from pathlib import Path

        context = ssl.create_default_context()
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        folder = Path(self.directory) if self.directory else None
        for path in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif path.suffix == ".cert":
                context.load_cert_chain(path, path.with_suffix(".key"))
        return context


@frozen
class Reply:
    """A response whose body is still on the wire. Close it, or read it to its end."""

    status: int
    headers: Mapping[str, str]
    url: str
    _raw: BaseHTTPResponse = field(repr=False)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, empty at the end; what breaks on the way is an OSError or an urllib3 HTTPError."""
        return self._raw.read(size)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill ``buffer`` as far as the body goes; the number of bytes, 0 at the end."""
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def whole(self, limit: int = SMALL_BODY) -> bytes:
        """The whole body, refused when it is larger than ``limit`` bytes."""
        parts, total = [], 0
        with self:
            while data := self._raw.read(1 << 16):
                total += len(data)
                if total > limit:
                    raise TransportError(f"{self.url}: the answer is larger than {limit} bytes")
                parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back; one on which much is still to come is dropped instead."""
        if int(self.headers.get("content-length") or 0) <= DRAINED:
            self._raw.drain_conn()
            self._raw.release_conn()
        else:
            self._raw.close()

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Http:
    """Sends requests of one registry, with its TLS settings, through the authentication flow.

    ``retries`` is how often a request whose body can be sent again is repeated after a broken connection or one of
    the statuses in :data:`RETRIED`, with exponential back-off, or as ``Retry-After`` says. Thread-safe.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        tls: Tls | None = None,
        *,
        retries: int = 3,
        delay: float = 0.5,
        connections: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._authenticator = authenticator
        self._tls = tls or Tls()
        self._retries = retries
        self._delay = delay
        self._sleep = sleep
        self._connections = connections
        self._made: PoolManager | None = None

    @property
    def _pool(self) -> PoolManager:
        if self._made is None:
            import urllib3

            self._made = urllib3.PoolManager(
                maxsize=self._connections,
                retries=False,
                timeout=urllib3.Timeout(connect=15.0, read=120.0),
                ssl_context=self._tls.context(),
                headers={"user-agent": "buildlib"},
            )
        return self._made

    def send(self, request: Request, scope: str = "") -> Reply:
        """Send with authentication, redirects and retries; any final status is returned, none raised."""
        flow = self._authenticator.flow(request, scope)
        outgoing = next(flow)
        while True:
            reply = self._follow(outgoing)
            try:
                # The flow looks into the body of a 401 or of a token only; everything else stays on the wire.
                ours = outgoing.url == request.url
                body = b"" if ours and reply.status != 401 else reply.whole()
                outgoing = flow.send(Response(reply.status, reply.headers, body))
            except StopIteration:
                return reply
            except BaseException:
                reply.close()
                raise

    def probe(self, url: str) -> None:
        """Whether anything speaks HTTP there: TransportError unless an answer of any status comes."""
        self._exchange(Request("GET", url)).close()

    def _follow(self, request: Request) -> Reply:
        for _ in range(MAX_REDIRECTS):
            reply = self._persist(request)
            target = reply.headers.get("location")
            if reply.status not in REDIRECTS or not target or request.method not in ("GET", "HEAD"):
                return reply
            reply.close()
            request = redirected(request, urljoin(request.url, target))
        raise TransportError(f"{request.url}: more than {MAX_REDIRECTS} redirects")

    def _persist(self, request: Request) -> Reply:
        again = request.body is None or isinstance(request.body, bytes)
        for attempt in range(self._retries + 1 if again else 1):
            last = attempt == self._retries or not again
            try:
                reply = self._exchange(request)
            except TransportError:
                if last:
                    raise
                self._sleep(self._backoff(attempt, None))
                continue
            if reply.status not in RETRIED or last:
                return reply
            reply.close()
            self._sleep(self._backoff(attempt, reply.headers.get("retry-after")))
        raise AssertionError("the last attempt returns or raises")

    def _exchange(self, request: Request) -> Reply:
        import urllib3

        try:
            raw = self._pool.urlopen(
                request.method,
                request.url,
                body=request.body,
                headers={"user-agent": "buildlib", **request.headers},
                preload_content=False,
                decode_content=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransportError(f"{request.method} {request.url}: {reason(error)}", hint=advice(error)) from error
        headers = {name.lower(): value for name, value in raw.headers.items()}
        return Reply(raw.status, headers, request.url, raw)

    def _backoff(self, attempt: int, retry_after: str | None) -> float:
        if retry_after:
            with suppress(ValueError):
                return min(max(float(retry_after), 0.0), MAX_WAIT)
            from email.utils import parsedate_to_datetime

            with suppress(ValueError):
                return min(max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0), MAX_WAIT)
        spread: float = random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing
        return float(min(self._delay * 2**attempt * spread, MAX_WAIT))

    def close(self) -> None:
        """Close all idle connections."""
        if self._made is not None:
            self._made.clear()
            self._made = None


def redirected(request: Request, url: str) -> Request:
    """The request to follow a redirect to ``url``: another origin never sees the Authorization header."""
    if request.origin[0] == "https" and origin(url)[0] != "https":
        raise TransportError(f"{request.url}: redirects from TLS to {url}")
    headers = dict(request.headers)
    if origin(url) != request.origin:
        headers.pop("authorization", None)
    return Request(request.method, url, headers, request.body)


def reason(error: BaseException) -> str:
    """The innermost cause in a few words."""
    inner: BaseException = error
    while isinstance(deeper := getattr(inner, "reason", None) or inner.__cause__, BaseException):
        inner = deeper
    text = str(inner) or type(inner).__name__
    return text.rpartition(": ")[2] if "object at 0x" in text else text


def advice(error: BaseException) -> str | None:
    """What to do about a connection that failed, where something can be done."""
    text = reason(error).lower()
    if "certificate" in text:
        return "give the registry's authority with --cert-dir, or accept any certificate with --tls-verify=false"
    if "wrong version number" in text or "record layer" in text:
        return "the registry speaks plain HTTP: --tls-verify=false permits that"
    return None
