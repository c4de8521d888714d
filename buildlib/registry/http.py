"""One HTTP exchange at a time on ``urllib3``: TLS, redirects, retries. It knows nothing of registries' endpoints."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from buildlib.errors import FormatError, TransportError
from buildlib.oci.value import frozen
from buildlib.registry.message import Request, Response, origin
from buildlib.registry.proxy import Proxies

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Any

    from urllib3 import BaseHTTPResponse, PoolManager, Timeout

    from buildlib.registry.auth import Authenticator

USER_AGENT = "buildlib"
RETRIED = frozenset({429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 10
MAX_WAIT = 60.0
"""Seconds: neither our own back-off nor a registry's Retry-After makes us wait longer between two tries."""
CONNECT_SECONDS, READ_SECONDS = 15.0, 120.0
DRAINED = 1 << 16
"""Bytes: so much unread answer is read away to keep a connection."""
CERTIFICATES_HINT = "a folder of certificates has *.crt for authorities, *.cert and *.key of one name for ours"
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

        if self.verify:
            context = ssl.create_default_context()
        else:  # without the authorities of the machine, which take longer to load than a small image to move
            import urllib3

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            # Whoever asked for it knows.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        folder = Path(self.directory) if self.directory else None
        for path in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
            try:
                if path.suffix == ".crt":
                    context.load_verify_locations(path)
                elif path.suffix == ".cert":
                    context.load_cert_chain(path, path.with_suffix(".key"))
            except OSError as error:  # ssl.SSLError is one too
                what = error.strerror or error
                raise FormatError(f"{path}: not to be used as a certificate: {what}", hint=CERTIFICATES_HINT) from error
        return context


class Reply:
    """A response whose body is still on the wire. Close it, or read it to its end."""

    __slots__ = ("_body", "_method", "_raw", "headers", "status", "url")

    def __init__(self, request: Request, raw: BaseHTTPResponse) -> None:
        self.status = raw.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in raw.headers.items()}
        self.url = request.url
        self._method = request.method
        self._raw = raw
        self._body: bytes | None = None

    @property
    def length(self) -> int | None:
        """What the Content-Length says, None where there is none to be understood."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isascii() and told.isdigit() else None

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait that a busy registry asks for (RFC 9110); None where it does not."""
        told = self.headers.get("retry-after")
        if not told:
            return None
        with suppress(ValueError):
            return max(float(told), 0.0)
        from email.utils import parsedate_to_datetime

        with suppress(ValueError):
            return max(parsedate_to_datetime(told).timestamp() - time.time(), 0.0)
        return None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, empty at the end; what breaks on the way is an OSError or an urllib3 HTTPError."""
        return self._raw.read(size)

    def whole(self, limit: int = SMALL_BODY) -> bytes:
        """The whole body. Raises :class:`FormatError` when it is larger than ``limit`` bytes."""
        import urllib3

        if self._body is not None:
            return self._body
        parts, total = [], 0
        with self:
            try:
                while data := self._raw.read(1 << 16):
                    total += len(data)
                    if total > limit:
                        raise FormatError(f"{self.url}: the answer is larger than {limit} bytes")
                    parts.append(data)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise TransportError(f"{self._method} {self.url}: {reason(error)}") from error
        self._body = b"".join(parts)
        return self._body

    def close(self) -> None:
        """Give the connection back; one on which much is still to come, or nobody knows how much, is dropped."""
        if self._method == "HEAD" or self.status == 204 or (self.length is not None and self.length <= DRAINED):
            self._raw.drain_conn()
            self._raw.release_conn()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Drop the connection."""
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
        proxies: Proxies | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._authenticator = authenticator
        self._tls = tls or Tls()
        self._retries = retries
        self._delay = delay
        self._sleep = sleep
        self._connections = connections
        self._proxies = proxies or Proxies()
        self._pools: dict[tuple[bool, str | None], PoolManager] = {}
        self._lock = threading.Lock()

    def _pool(self, url: str) -> PoolManager:
        """Connections to where ``url`` leads, by a proxy if need be."""
        secure, proxy = url.startswith("https:"), self._proxies.find(url)
        with self._lock:
            pool = self._pools.get((secure, proxy))
            if pool is None:
                import urllib3

                options: dict[str, Any] = {"maxsize": self._connections, "retries": False}
                if secure:
                    options["ssl_context"] = self._tls.context()
                pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
                self._pools[secure, proxy] = pool
            return pool

    def send(self, request: Request, scope: str = "", *, retries: int | None = None) -> Reply:
        """Send with authentication, redirects and retries; any final status is returned, none raised."""
        retries = self._retries if retries is None else retries
        flow = self._authenticator.flow(request, scope)
        outgoing = next(flow)
        answer: Reply | None = None
        while True:
            reply = self._follow(outgoing, retries)
            try:
                # The flow looks into the body of a 401 or of a token only; everything else stays on the wire.
                ours = outgoing.url == request.url
                answer = reply if ours or answer is None else answer
                body = b"" if ours and reply.status != 401 else reply.whole()
                outgoing = flow.send(Response(reply.status, reply.headers, body))
            except StopIteration:
                assert answer is not None
                return answer
            except BaseException:
                reply.close()
                raise

    def probe(self, url: str) -> None:
        """Whether anything speaks HTTP there: TransportError unless an answer of any status comes."""
        self._exchange(Request("GET", url)).close()

    def pause(self, attempt: int, retry_after: float | None = None) -> None:
        """Wait before the next attempt: ``retry_after`` seconds, or by exponential back-off; a minute at most."""
        spread: float = random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing
        seconds = self._delay * 2**attempt * spread if retry_after is None else retry_after
        self._sleep(min(seconds, MAX_WAIT))

    def _follow(self, request: Request, retries: int) -> Reply:
        for _ in range(MAX_REDIRECTS):
            reply = self._persist(request, retries)
            target = reply.headers.get("location")
            if reply.status not in REDIRECTS or not target or request.method not in ("GET", "HEAD"):
                return reply
            reply.close()
            request = redirected(request, urljoin(request.url, target))
        raise TransportError(f"{request.url}: more than {MAX_REDIRECTS} redirects")

    def _persist(self, request: Request, retries: int) -> Reply:
        for attempt in range(retries if request.repeatable else 0):
            try:
                reply = self._exchange(request)
            except TransportError as error:
                if is_final(error.__cause__):
                    raise
                self.pause(attempt)
                continue
            if reply.status not in RETRIED:
                return reply
            reply.close()
            self.pause(attempt, reply.retry_after)
        return self._exchange(request)

    def _exchange(self, request: Request) -> Reply:
        import urllib3

        try:
            raw = self._pool(request.url).urlopen(
                request.method,
                request.url,
                body=request.body,
                headers={"user-agent": USER_AGENT, **request.headers},
                timeout=_timeout(),
                preload_content=False,
                decode_content=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransportError(f"{request.method} {request.url}: {reason(error)}", hint=advice(error)) from error
        return Reply(request, raw)

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.clear()


def _timeout() -> Timeout:
    import urllib3

    return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)


def redirected(request: Request, url: str) -> Request:
    """The request to follow a redirect to ``url``: another origin never sees the Authorization header."""
    if request.origin[0] == "https" and origin(url)[0] != "https":
        raise TransportError(f"{request.url}: redirects from TLS to {url}")
    headers = dict(request.headers)
    if origin(url) != request.origin:
        headers.pop("authorization", None)
    return Request(request.method, url, headers, request.body)


def is_final(error: BaseException | None) -> bool:
    """Whether to try again is no use: the name is not known, or the certificate is not trusted."""
    import urllib3

    return isinstance(error, (urllib3.exceptions.NameResolutionError, urllib3.exceptions.SSLError))


def reason(error: BaseException) -> str:
    """The innermost cause in a few words."""
    inner: BaseException = error
    while isinstance(deeper := getattr(inner, "reason", None) or inner.__cause__, BaseException):
        inner = deeper
    text = (inner.strerror if isinstance(inner, OSError) else "") or str(inner) or type(inner).__name__
    return text.rpartition(": ")[2] if "object at 0x" in text else text


def advice(error: BaseException) -> str | None:
    """What to do about a connection that failed, where something can be done."""
    text = reason(error).lower()
    if "certificate" in text:
        return "give the registry's authority with --cert-dir, or accept any certificate with --tls-verify=false"
    if "wrong version number" in text or "record layer" in text:
        return "the registry speaks plain HTTP: --tls-verify=false permits that"
    if "name or service not known" in text or "name resolution" in text or "no address associated" in text:
        return "check the name of the registry, and the network"
    return None
