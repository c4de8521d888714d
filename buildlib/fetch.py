"""Fetching files by HTTP: a body becomes a blob of the store, and what the server said of it is remembered.

What is remembered is asked for again with conditions (RFC 9110, section 13), so that an unchanged file costs one small
answer; with a checksum that fits it costs nothing. It never unpacks, and knows nothing of containers.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from buildlib.content import PIECE, temporary
from buildlib.errors import DigestMismatch, FormatError, TransportError, UsageError, from_os_error
from buildlib.oci.digest import Digest
from buildlib.registry.auth import Authenticator, Credential
from buildlib.registry.http import Http, Tls, reason
from buildlib.registry.message import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import BinaryIO

    from buildlib.registry.access import Access
    from buildlib.registry.http import Reply
    from buildlib.registry.message import Response
    from buildlib.store import Store

UNNAMED = "__unnamed__"
"""What a file is called whose URL ends with a slash; docker's word."""


class Download(NamedTuple):
    """A file that was fetched, now or earlier."""

    url: str
    digest: str
    """Of its bytes, which are a blob of the store."""
    modified: float | None
    """When the server says it was changed, in seconds since 1970."""

    @property
    def name(self) -> str:
        """What the file is called: the last part of the URL's path."""
        return file_name(self.url)


def is_url(source: str) -> bool:
    """Whether a source is to be fetched by HTTP."""
    return source.startswith(("http://", "https://"))


def file_name(url: str) -> str:
    """The last part of the path of ``url``.

    >>> file_name("https://example.com/a/tool%20x.tar?raw=1"), file_name("https://example.com/")
    ('tool x.tar', '__unnamed__')
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    return UNNAMED if name in ("", ".", "..") or "\0" in name else name


def fetch(
    store: Store,
    url: str,
    *,
    checksum: str | None = None,
    authorization: str | None = None,
    check: Callable[[], None] | None = None,
    access: Access | None = None,
) -> Download:
    """Get the file at ``url``, as far as it is not known that the one fetched last is still it.

    ``checksum`` is the digest ("sha256:…", "sha512:…") that it must have; ``authorization`` is sent as the header of
    that name, to that server only. ``check`` is called between pieces and may raise. ``access`` brings trust in
    certificates, proxies and patience; its logins are not for this. Raises :class:`TransportError`,
    :class:`DigestMismatch`, :class:`UsageError`, :class:`StoreFull`.
    """
    expected = None if checksum is None else _digest(checksum)
    plain, authorization = _split_user(url, authorization)
    row = store.db.row("SELECT digest, etag, modified FROM fetched WHERE url = ?", (plain,))
    if row is not None and expected is not None and row[0] == expected and store.blobs.has(row[0]):
        return Download(plain, row[0], _seconds(row[2]))
    http = _client(authorization, access)
    try:
        # A checksum of another kind than what is remembered needs the bytes.
        known = row is not None and store.blobs.has(row[0]) and (expected is None or expected.algorithm == "sha256")
        conditions = _conditions(row[1], row[2]) if known else {}
        request = Request("GET", plain, {"accept-encoding": "identity", **conditions})
        with http.send(request) as reply:
            if row is not None and conditions and _unchanged(reply, row[1]):
                found = Download(plain, row[0], _seconds(row[2]))
                _remember(store, found, row[1], row[2])
            else:
                found = _receive(store, plain, reply, expected, check)
    finally:
        http.close()
    if expected is not None and expected.algorithm == "sha256" and found.digest != expected:
        raise _mismatch(plain, expected, found.digest)  # it is what it was before, and that was never right
    return found


def _client(authorization: str | None, access: Access | None) -> Http:
    if access is None:
        return Http(_Given(authorization))
    tls = Tls(access.tls_verify, access.cert_dir)
    return Http(_Given(authorization), tls, retries=access.retries, delay=access.retry_delay, proxies=access.proxies)


class _Given(Authenticator):
    """No dance as with registries: the header that the caller gave, or none."""

    def __init__(self, authorization: str | None) -> None:
        super().__init__(lambda _: None)
        self._authorization = authorization

    def flow(self, request: Request, scope: str) -> Generator[Request, Response, Response]:
        """One request, one response."""
        given = self._authorization
        return (yield request.with_headers(authorization=given) if given else request)


def without_login(url: str) -> str:
    """``url`` without name and password, as it may be shown. Raises :class:`UsageError` for what is no URL."""
    return _split_user(url, None)[0]


def _digest(text: str) -> Digest:
    try:
        return Digest(text)
    except FormatError:
        hint = "write sha256: or sha512: and the digits"
        raise UsageError(f"{text[:100]!r} is not a checksum", hint=hint) from None


def _split_user(url: str, authorization: str | None) -> tuple[str, str | None]:
    """The URL without name and password in it, which become a header: they are to be in no message and no table."""
    parts = urlsplit(url)
    try:
        where = parts.netloc.rpartition("@")[2]
        if not parts.hostname or (parts.port or 1) > 65535:
            raise ValueError(url)
    except ValueError:
        raise UsageError(f"{url[:200]!r} is not a URL that can be fetched") from None
    if parts.username is not None and authorization is None:
        authorization = Credential(unquote(parts.username), unquote(parts.password or "")).basic()
    return parts._replace(netloc=where, fragment="").geturl(), authorization


def _conditions(etag: str | None, modified: str | None) -> dict[str, str]:
    found = {"if-none-match": etag, "if-modified-since": modified}
    return {name: value for name, value in found.items() if value}


def _unchanged(reply: Reply, etag: str | None) -> bool:
    # Some servers know no conditions but say the same strong tag again.
    same = etag is not None and not etag.startswith("W/") and reply.headers.get("etag") == etag
    return reply.status == 304 or (reply.status == 200 and same)


def _receive(
    store: Store, url: str, reply: Reply, expected: Digest | None, check: Callable[[], None] | None
) -> Download:
    if reply.status != 200:
        hint = "it wants a login" if reply.status in (401, 403) else None
        raise TransportError(f"{url}: the server answered {reply.status}", hint=hint)
    actual = hashlib.new(expected.algorithm if expected is not None else "sha256")
    with store.blobs.writer() as writer:
        while data := _read(reply, url):
            if check is not None:
                check()
            actual.update(data)
            writer.write(data)
        if expected is not None and actual.hexdigest() != expected.hex:
            raise _mismatch(url, expected, f"{actual.name}:{actual.hexdigest()}")
        etag, modified = reply.headers.get("etag"), reply.headers.get("last-modified")
        with store.db.transaction():  # so that nobody collects the blob before its row refers to it
            found = Download(url, writer.commit().digest, _seconds(modified))
            _remember(store, found, etag, modified)
    return found


def _read(reply: Reply, url: str) -> bytes:
    import urllib3

    try:
        return reply.read(PIECE)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise TransportError(f"{url}: the connection broke: {reason(error)}", hint="try again") from error


def _mismatch(url: str, expected: str, actual: str) -> DigestMismatch:
    hint = "the file is not the one that was meant; if it is, change the checksum"
    return DigestMismatch(f"{url}: expected {expected}, got {actual}", hint=hint, expected=expected, actual=actual)


def _remember(store: Store, found: Download, etag: str | None, modified: str | None) -> None:
    with store.db.transaction() as conn:
        row = (found.url, found.digest, etag, modified, time.time())
        conn.execute("INSERT OR REPLACE INTO fetched VALUES (?, ?, ?, ?, ?)", row)


def _seconds(header: str | None) -> float | None:
    from email.utils import parsedate_to_datetime

    if header:
        with suppress(ValueError, OverflowError):
            return parsedate_to_datetime(header).timestamp()
    return None


@contextmanager
def as_file(store: Store, found: Download, mode: int = 0o600) -> Iterator[str]:
    """A folder, for the length of the block, that holds the file under its name, with ``mode`` and its time.

    That is 1970 where the server tells none, as docker has it. Raises :class:`NotFound` if the blob was collected
    meanwhile, :class:`StoreFull`.
    """
    from buildlib.snapshot.tree import remove_tree

    folder = temporary(store.tmp)
    try:
        _write(store, found, folder, mode)
        yield folder
    finally:
        remove_tree(folder)


def _write(store: Store, found: Download, folder: str, mode: int) -> None:
    path = f"{folder}/{found.name}"
    try:
        with store.blobs.open(found.digest) as source:
            os.mkdir(folder, 0o700)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as target:
                _copy(source, target)
                os.fchmod(target.fileno(), mode)
        when = found.modified or 0.0
        os.utime(path, (when, when))
    except OSError as error:
        raise from_os_error(error, f"writing {path}") from error


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    """In the kernel where it can, which may even share the bytes."""
    import shutil

    try:
        while os.copy_file_range(source.fileno(), target.fileno(), 1 << 30):
            pass
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV):
            raise
        shutil.copyfileobj(source, target, PIECE)
