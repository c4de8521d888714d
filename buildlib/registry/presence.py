"""Whether a registry has an image already, asked with next to nothing: a few HEAD requests on a bare socket.

The client of this package takes as long to import as all these requests together. This asks over plain HTTP only, and
without a login; whatever is not plain and simple (a redirect, a 401, TLS, an odd header) is no answer, and then the
client does the work.
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS = 5.0
MOST_BYTES = 1 << 16
"""Of the headers of an answer."""
_TYPES = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


def has_all(host: str, repository: str, tag: str, digest: str, blobs: Iterable[tuple[str, int]]) -> bool:
    """Whether ``tag`` means the manifest ``digest`` there, and all ``blobs`` (digest, size) are there too.

    ``host`` is host[:port]. False also means: not known.
    """
    try:
        connection = _connect(host)
    except (OSError, ValueError):
        return False
    try:
        asker = _Asker(connection, host, repository)
        if asker.head(f"manifests/{tag}").get("docker-content-digest") != digest:
            return False
        return all(asker.head(f"blobs/{blob}").get("content-length") == str(size) for blob, size in blobs)
    except (OSError, ValueError):
        return False
    finally:
        connection.close()


def _connect(host: str) -> _socket.socket:
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, "80"
    # As bytes, so that no codec for names in other scripts is loaded.
    found = _socket.getaddrinfo(name.strip("[]").encode("ascii"), int(port), 0, _socket.SOCK_STREAM)
    failure = OSError()
    for family, kind, protocol, _, address in found:
        connection = _socket.socket(family, kind, protocol)
        try:
            connection.settimeout(SECONDS)
            connection.connect(address)
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


class _Asker:
    """Asks one question after the other on one connection."""

    def __init__(self, connection: _socket.socket, host: str, repository: str) -> None:
        self._connection = connection
        self._host = host
        self._repository = repository

    def head(self, what: str) -> dict[str, str]:
        """The headers of an answer with status 200, names in lower case; ValueError for any other answer."""
        request = (
            f"HEAD /v2/{self._repository}/{what} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"User-Agent: buildlib\r\nAccept: {_TYPES}\r\n\r\n"
        )
        self._connection.sendall(request.encode("ascii"))
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._connection.recv(4096)
            if not piece or len(data) > MOST_BYTES:
                raise ValueError("no whole answer")
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        if rest or not status.startswith(("HTTP/1.1 200", "HTTP/1.0 200")):
            raise ValueError(status)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("connection", "").lower() == "close":
            raise ValueError("it hangs up")
        return headers
