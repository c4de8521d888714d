"""Requests and responses as values: what the auth flow and the client speak, before any socket is involved."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from buildlib.oci.value import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

    Body = bytes | BinaryIO | Iterable[bytes] | None

DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Request:
    """One HTTP request. ``headers`` keys are lower case."""

    method: str
    url: str
    headers: Mapping[str, str] = field(factory=dict)
    body: Body = None

    @property
    def origin(self) -> tuple[str, str, int]:
        """(scheme, host, port): credentials never leave it."""
        return origin(self.url)

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent again: a stream is used up by the first time."""
        return self.body is None or isinstance(self.body, bytes)

    def with_headers(self, **headers: str) -> Request:
        """The same request with more headers; ``content_type=…`` names ``content-type``."""
        added = {name.replace("_", "-"): value for name, value in headers.items()}
        return Request(self.method, self.url, {**self.headers, **added}, self.body)


@frozen
class Response:
    """What came back: ``headers`` keys are lower case; ``body`` is whole only for small answers."""

    status: int
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of ``url``, ports spelled out (RFC 6454)."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(scheme, 0)
