"""Files from the web: fetched once, asked for again with conditions, believed only as far as their digest goes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import Cancelled, DigestMismatch, NotFound, TransportError, UsageError
from buildlib.fetch import as_file, fetch, file_name
from buildlib.oci import Digest

if TYPE_CHECKING:
    from buildlib.store import Store
    from tests.unit.web import Web

WHEN = "Wed, 21 Oct 2015 07:28:00 GMT"


def test_a_file_becomes_a_blob(store: Store, web: Web) -> None:
    found = fetch(store, web.put("/dir/tool.txt", "content", last_modified=WHEN))
    assert found.digest == Digest.of(b"content")
    assert (found.name, found.modified) == ("tool.txt", 1445412480.0)
    assert store.blobs.read(found.digest) == b"content"
    with as_file(store, found) as folder:
        path = Path(folder) / "tool.txt"
        assert (path.read_bytes(), path.stat().st_mtime, path.stat().st_mode & 0o777) == (b"content", 1445412480, 0o600)
    assert not Path(folder).exists()


def test_a_server_that_tells_no_time_means_1970(store: Store, web: Web) -> None:
    found = fetch(store, web.put("/x", "content"))
    with as_file(store, found) as folder:
        assert (Path(folder) / "x").stat().st_mtime == 0


@pytest.mark.parametrize("header", ["etag", "last_modified"])
def test_what_has_not_changed_is_not_sent_again(store: Store, web: Web, header: str) -> None:
    url = web.put("/x", "content", **{header: '"one"' if header == "etag" else WHEN})
    first = fetch(store, url)
    assert fetch(store, url) == first
    assert web.sent == len("content")
    web.put("/x", "changed", etag='"two"')
    assert fetch(store, url).digest == Digest.of(b"changed")


def test_a_body_that_was_collected_is_fetched_anew(store: Store, web: Web) -> None:
    url = web.put("/x", "content", etag='"one"')
    found = fetch(store, url)
    store.gc()
    assert store.blobs.has(found.digest)
    store.gc(everything=True)
    assert not store.blobs.has(found.digest)
    with pytest.raises(NotFound), as_file(store, found):
        pass
    fetch(store, url)
    assert store.blobs.has(found.digest)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_checksum_is_insisted_on(store: Store, web: Web, algorithm: str) -> None:
    url = web.put("/x", "content", etag='"one"')
    right = f"{algorithm}:{hashlib.new(algorithm, b'content').hexdigest()}"
    wrong = f"{algorithm}:{hashlib.new(algorithm, b'other').hexdigest()}"
    for _ in range(2):
        with pytest.raises(DigestMismatch, match=wrong) as caught:
            fetch(store, url, checksum=wrong)
        assert caught.value.actual == right
        assert fetch(store, url, checksum=right).digest == Digest.of(b"content")


def test_with_a_checksum_what_is_here_needs_no_server(store: Store, web: Web) -> None:
    url = web.put("/x", "content")
    fetch(store, url)
    assert fetch(store, url, checksum=str(Digest.of(b"content"))).name == "x"
    assert len(web.log) == 1


def test_a_login_is_sent_and_not_kept(store: Store, web: Web) -> None:
    url = web.put("/x", "content").replace("http://", "http://me:s%40cret@")
    found = fetch(store, url)
    assert web.log[0][1]["authorization"] == "Basic bWU6c0BjcmV0"
    assert "cret" not in found.url
    assert "cret" not in str(store.db.rows("SELECT * FROM fetched"))
    fetch(store, url, authorization="Bearer token")
    assert web.log[1][1]["authorization"] == "Bearer token"


def test_a_login_does_not_follow_to_another_server(store: Store, web: Web) -> None:
    from tests.unit.web import Page, serve

    with serve() as other:
        other.put("/there", "content")
        web.pages["/x"] = Page(b"", {"location": other.url + "/there"}, 302)
        found = fetch(store, f"{web.url}/x", authorization="Bearer token")
        assert "authorization" not in other.log[0][1]
    assert found.name == "x"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/x", TransportError),
        ("https:///x", UsageError),
        ("http://host:port/x", UsageError),
    ],
)
def test_what_can_not_be_fetched_says_so(store: Store, url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        fetch(store, url)


def test_a_status_other_than_ok_is_an_error(store: Store, web: Web) -> None:
    with pytest.raises(TransportError, match="answered 404"):
        fetch(store, f"{web.url}/missing")


def test_a_connection_that_breaks_leaves_nothing(store: Store, web: Web) -> None:
    url = web.put("/x", "x" * 100_000)
    web.pages["/x"].cut = 50_000
    with pytest.raises(TransportError, match="broke"):
        fetch(store, url)
    assert list(store.blobs.walk()) == []
    assert list(Path(store.tmp).iterdir()) == []


def test_a_cancelled_download_leaves_nothing(store: Store, web: Web) -> None:
    def check() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fetch(store, web.put("/x", "content"), check=check)
    assert list(Path(store.tmp).iterdir()) == []


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/b.tar.gz", "b.tar.gz"),
        ("https://h/a/b?c=d/e#f", "b"),
        ("https://h", "__unnamed__"),
        ("https://h/a/", "__unnamed__"),
        ("https://h/a/..", "__unnamed__"),
        ("https://h/a/%2e%2e", "__unnamed__"),
        ("https://h/a%2Fb", "b"),
        ("https://h/a%00b", "__unnamed__"),
    ],
)
def test_names(url: str, name: str) -> None:
    assert file_name(url) == name
