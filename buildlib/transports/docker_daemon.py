"""``docker-daemon:NAME:TAG`` (to read, also ``docker-daemon:sha256:ID``): the images of a docker daemon, over its API.

What ``docker save`` and ``docker load`` do. Coming in, an archive is spooled to an unnamed file, for its table of
contents is at its end. Going out, it is streamed while it is made; only what is converted on the way, so that its size
is not known before it is done, is spooled. An image is loaded when its archive is complete, or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from buildlib.errors import NotFound, TransportError, UsageError, from_os_error
from buildlib.oci.reference import Reference
from buildlib.oci.value import frozen
from buildlib.transports.archive import Archive
from buildlib.transports.archive_writer import BLOCK, PIECE, member_header
from buildlib.transports.docker_archive import DockerArchiveDestination, DockerArchiveSource, member_name

if TYPE_CHECKING:
    import http.client
    import ssl
    from collections.abc import Callable
    from typing import BinaryIO

    from buildlib.content import Readable
    from buildlib.transports import Blob

HOST = "unix:///var/run/docker.sock"
_SPOOL = "/var/tmp"  # noqa: S108 - for unnamed files only, which may be too large for a /tmp in memory
_IDS = ("sha256:", "sha512:")


def source(
    rest: str,
    *,
    daemon_host: str = HOST,
    cert_dir: str | None = None,
    tls_verify: bool = True,
    tmp: str | None = None,
) -> DockerDaemonSource:
    """An image of the daemon at ``daemon_host`` (``unix://``, ``http://``, ``https://`` or ``tcp://``, which is TLS).

    ``cert_dir`` holds ca.pem, cert.pem and key.pem for TLS, as docker has them; ``tmp`` is for the archive.
    """
    wanted = rest if rest.startswith(_IDS) else str(Reference.parse(rest, "latest"))
    return DockerDaemonSource(wanted, Daemon(daemon_host, cert_dir, tls_verify), tmp or _SPOOL)


def destination(
    rest: str,
    *,
    daemon_host: str = HOST,
    cert_dir: str | None = None,
    tls_verify: bool = True,
    tmp: str | None = None,
) -> DockerDaemonDestination:
    """A daemon that takes the image as ``rest``; the other arguments as for :func:`source`."""
    if rest.startswith(_IDS):
        raise UsageError(f"'docker-daemon:{rest}' is an id to read by, not a name to write to")
    return DockerDaemonDestination(rest, Daemon(daemon_host, cert_dir, tls_verify), tmp or _SPOOL)


@frozen
class Daemon:
    """Where a daemon listens."""

    host: str = HOST
    cert_dir: str | None = None
    tls_verify: bool = True

    def connect(self) -> http.client.HTTPConnection:
        """A new connection. Raises :class:`TransportError` when nobody answers, :class:`UsageError`."""
        from http.client import HTTPConnection, HTTPSConnection

        kind, mark, place = self.host.partition("://")
        if not mark or not place:
            raise UsageError(f"docker-daemon: {self.host!r} is no address of a daemon", hint=f"write it like {HOST}")
        connection: HTTPConnection
        if kind == "unix":
            connection = _unix_connection(place)
        elif kind == "http":
            connection = HTTPConnection(place.rstrip("/"))
        elif kind in ("https", "tcp"):
            connection = HTTPSConnection(place.rstrip("/"), context=self._tls())
        else:
            hint = "forward the daemon's socket and name it with unix://" if kind == "ssh" else None
            raise UsageError(f"docker-daemon: no way to reach a daemon by {kind}://", hint=hint)
        try:
            connection.connect()
        except OSError as error:
            what = f"no docker daemon answers at {self.host}: {error.strerror or error}"
            raise TransportError(what, hint="is docker running? Another address is given as daemon host") from error
        return connection

    def _tls(self) -> ssl.SSLContext:
        import ssl

        context = ssl.create_default_context()
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        with suppress(FileNotFoundError):
            if self.cert_dir:
                context.load_verify_locations(f"{self.cert_dir}/ca.pem")
                context.load_cert_chain(f"{self.cert_dir}/cert.pem", f"{self.cert_dir}/key.pem")
        return context


def _unix_connection(path: str) -> http.client.HTTPConnection:
    import socket
    from http.client import HTTPConnection

    class Connection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(path)

    return Connection("docker")


class DockerDaemonSource(DockerArchiveSource):
    """The image ``wanted`` of a daemon, as it is in an archive that the daemon makes of it."""

    def __init__(self, wanted: str, daemon: Daemon, tmp: str) -> None:
        name = f"docker-daemon:{wanted}"
        self.reference = None if wanted.startswith(_IDS) else Reference.parse(wanted)
        """What the image is called."""
        try:
            with tempfile.TemporaryFile(dir=tmp, buffering=0) as file:
                _fetch(daemon, wanted, file, name)
                archive = Archive(f"/proc/self/fd/{file.fileno()}")
        except OSError as error:
            raise from_os_error(error, f"copying {name} to {tmp}") from error
        archive.path = name
        try:
            super().__init__(name, archive, None)
        except BaseException:
            archive.close()
            raise


def _fetch(daemon: Daemon, wanted: str, file: BinaryIO, name: str) -> None:
    """Write what ``docker save`` gives to a file."""
    from http.client import HTTPException
    from urllib.parse import quote

    connection = daemon.connect()
    try:
        connection.request("GET", f"/images/{quote(wanted, safe='/:@')}/get")
        reply = connection.getresponse()
        if reply.status == 404:
            raise NotFound(f"{name}: {_message(reply)}", hint="see `docker images`", kind="image", name=wanted)
        if reply.status != 200:
            raise TransportError(f"{name}: {_message(reply)}")
        while data := reply.read(PIECE):
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
        if reply.length:
            raise TransportError(f"{name}: the daemon at {daemon.host} broke off {reply.length} bytes too early")
    except HTTPException as error:
        raise TransportError(f"{name}: the daemon at {daemon.host} broke off: {error!r}") from error
    finally:
        connection.close()


class DockerDaemonDestination(DockerArchiveDestination):
    """Makes an archive of the images and lets the daemon load it when it is closed."""

    _writer: _Load

    def __init__(self, wanted: str, daemon: Daemon, tmp: str) -> None:
        name = f"docker-daemon:{wanted}"
        super().__init__(name, wanted, lambda: _Load(daemon, tmp, name))

    def push(self, blob: Blob) -> None:
        """Send a layer or a config."""
        if blob.digest is None or blob.size is None:
            super().push(blob)
            return
        with blob.open() as reader:
            self._writer.send(member_name(blob.descriptor), blob.size, reader)


class _Load:
    """One ``docker load``: an archive that is sent while it is made. Raises :class:`TransportError`."""

    def __init__(self, daemon: Daemon, tmp: str, name: str) -> None:
        self.names: set[str] = set()
        self._tmp = tmp
        self._name = name
        self._connection = daemon.connect()
        self._began = False

    def add(self, name: str, data: bytes) -> None:
        """A small file."""
        import io

        self.send(name, len(data), io.BytesIO(data))

    def add_stream(self, stream: Readable, name: Callable[[], str]) -> None:
        """A file whose size is known when it has ended: it waits on disk until then."""
        try:
            with tempfile.TemporaryFile(dir=self._tmp, buffering=0) as file:
                while data := stream.read(PIECE):
                    view = memoryview(data)
                    while view:
                        view = view[file.write(view) :]
                size = file.seek(0, os.SEEK_CUR)
                file.seek(0)
                if name() not in self.names:
                    self.send(name(), size, file)
        except OSError as error:
            raise from_os_error(error, f"copying a layer to {self._tmp}") from error

    def send(self, name: str, size: int, stream: Readable) -> None:
        """A file."""
        if not self._began:
            self._began = True
            self._connection.putrequest("POST", "/images/load?quiet=1", skip_accept_encoding=True)
            self._connection.putheader("Content-Type", "application/x-tar")
            self._connection.putheader("Transfer-Encoding", "chunked")
            self._try(self._connection.endheaders)
        self._chunk(member_header(name, size))
        while data := stream.read(PIECE):
            self._chunk(data)
        self._chunk(bytes(-size % BLOCK))
        self.names.add(name)

    def _chunk(self, data: bytes) -> None:
        if data:
            self._try(lambda: self._connection.send(b"%x\r\n%b\r\n" % (len(data), data)))

    def _try(self, send: Callable[[], object]) -> None:
        try:
            send()
        except OSError as error:
            # A daemon that has seen enough answers and hangs up before it has read everything.
            message = self._answer() or f"the daemon hung up: {error.strerror}"
            raise TransportError(f"{self._name}: {message}") from error

    def finish(self) -> None:
        """End the archive, and wait until it is loaded."""
        self._chunk(bytes(2 * BLOCK))
        self._try(lambda: self._connection.send(b"0\r\n\r\n"))
        if problem := self._answer():
            raise TransportError(f"{self._name}: {problem}")

    def _answer(self) -> str | None:
        """What the daemon says is wrong, if anything."""
        from http.client import HTTPException

        try:
            reply = self._connection.getresponse()
            return _message(reply) if reply.status != 200 else _problem(reply.read())
        except (HTTPException, OSError) as error:
            return f"the daemon broke off: {error!r}"

    def close(self) -> None:
        """Hang up. What was not finished is not loaded."""
        self._connection.close()


def _message(reply: http.client.HTTPResponse) -> str:
    """The error in an answer."""
    raw = reply.read(1 << 16)
    with suppress(ValueError, AttributeError):
        return str(json.loads(raw).get("message") or f"status {reply.status}")
    return f"status {reply.status}"


def _problem(raw: bytes) -> str | None:
    """The error in a stream of messages, lines of JSON, if there is one."""
    for line in raw.splitlines():
        with suppress(ValueError):
            found: Any = json.loads(line)
            if isinstance(found, dict) and found.get("error"):
                return str(found["error"])
    return None
