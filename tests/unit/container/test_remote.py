"""ADD from elsewhere: files of the web, git repositories; asked for each time, fetched and added only once."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import DigestMismatch, NotCached, TransportError, UsageError
from buildlib.oci import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.image import Image
    from buildlib.store import Store
    from tests.unit.upstream import Upstream
    from tests.unit.web import Web

pytestmark = pytest.mark.root
WHEN = "Wed, 21 Oct 2015 07:28:00 GMT"


def look(store: Store, busybox_image: Image, image: Image, *paths: str) -> str:
    """Mode, owner, time and name of files in an image."""
    with store.from_image(busybox_image) as container:
        container.copy("/", dest="/i", from_=image)
        argv = ["stat", "-c", "%a %u:%g %Y %n", *(f"/i{path}" for path in paths)]
        return container.run(argv, capture=True).stdout.replace("/i/", "/")


def test_a_file_of_the_web(store: Store, busybox_image: Image, web: Web) -> None:
    web.put("/dir/tool", "content", last_modified=WHEN, etag='"1"')
    with store.from_image("scratch", cache=True) as container:
        assert container.add(f"{web.url}/dir/tool", dest="/bin/") is False
        assert container.add(f"{web.url}/dir/tool", dest="/renamed", chmod="755", chown="5:6") is False
        image = container.commit()
        assert container.read_file("/bin/tool") == b"content"
    assert web.sent == len("content")
    assert look(store, busybox_image, image, "/bin/tool", "/renamed").splitlines() == [
        "600 0:0 1445412480 /bin/tool",
        "755 5:6 1445412480 /renamed",
    ]


def test_the_same_content_is_added_once(store: Store, web: Web) -> None:
    def build() -> bool:
        with store.from_image("scratch", cache=True) as container:
            return container.add(f"{web.url}/f", dest="/d/")

    web.put("/f", "content", etag='"1"')
    assert [build(), build()] == [False, True]
    web.put("/f", "content", last_modified=WHEN)
    assert build() is True
    web.put("/f", "changed")
    assert build() is False
    store.gc(everything=True)
    assert build() is False


def test_a_container_asks_each_time_but_not_when_it_tries_again(store: Store, web: Web) -> None:
    url = web.put("/f", "content")
    with store.from_image("scratch", cache=True) as container:
        container.only_cached = True
        with pytest.raises(NotCached):
            container.add(url, dest="/f")
        container.only_cached = False
        container.add(url, dest="/f")
        assert len(web.log) == 1
        web.put("/f", "changed")
        container.add(url, dest="/f")
        assert container.read_file("/f") == b"changed"


def test_another_name_or_mode_is_another_step(store: Store, web: Web) -> None:
    web.put("/f", "content")
    web.put("/g", "content")
    for name, dest, chmod, cached in [
        ("f", "/d/", None, False),
        ("g", "/d/", None, False),
        ("f", "/d/", "644", False),
        ("g", "/d/", None, True),
    ]:
        with store.from_image("scratch", cache=True) as container:
            assert container.add(f"{web.url}/{name}", dest=dest, chmod=chmod) is cached


def test_an_archive_is_unpacked_only_when_it_is_said(store: Store, web: Web) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("inner"))
    web.put("/a.tgz", gzip.compress(out.getvalue()))
    with store.from_image("scratch") as container:
        container.add(f"{web.url}/a.tgz", dest="/kept/")
        container.add(f"{web.url}/a.tgz", dest="/unpacked", unpack=True)
        assert {change.path for change in container.diff()} >= {"/kept/a.tgz", "/unpacked/inner"}


def test_sources_of_several_places_go_in_order(store: Store, web: Web, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    (tmp_path / "g").write_text("mine")
    web.put("/f", "theirs")
    web.put("/g", "theirs")
    with store.from_image("scratch", cache=True) as container:
        sources = ("f", f"{web.url}/f", f"{web.url}/g", "g")
        container.add(*sources, dest="/d", context=str(tmp_path), contents={"h": "given"})
        assert len(container.layers) == 1
        assert [container.read_file(f"/d/{name}") for name in "fgh"] == [b"theirs", b"mine", b"given"]
    with store.from_image("scratch", cache=True) as container:
        assert container.add(*sources, dest="/d", context=str(tmp_path), contents={"h": "given"}) is True
        assert container.add(f"{web.url}/f", dest="/e", contents={"h": "given"}) is False
        assert container.read_file("/e/f") == b"theirs"


def test_a_checksum_is_insisted_on(store: Store, web: Web) -> None:
    url = web.put("/f", "content")
    for cache in (False, True):
        with store.from_image("scratch", cache=cache) as container:
            with pytest.raises(DigestMismatch):
                container.add(url, dest="/f", checksum=str(Digest.of(b"other")))
            container.add(url, dest="/f", checksum=str(Digest.of(b"content")))
            assert container.read_file("/f") == b"content"


def test_a_file_that_is_not_there_is_named(store: Store, web: Web) -> None:
    with (
        store.from_image("scratch") as container,
        pytest.raises(TransportError, match="/nope: the server answered 404"),
    ):
        container.add(f"{web.url}/nope", dest="/f")


@pytest.mark.parametrize(
    ("sources", "options"),
    [
        (["f"], {"checksum": "sha256:" + "0" * 64}),
        (["http://h/a", "http://h/b"], {"checksum": "sha256:" + "0" * 64}),
        (["http://h/a"], {"checksum": "sha256:short"}),
        (["http://h/a"], {"keep_git_dir": True}),
        (["git://h/a"], {"checksum": "sha256:" + "0" * 64}),
        (["ftp://h/a"], {}),
    ],
)
def test_what_can_not_be_meant_is_refused(store: Store, sources: list[str], options: dict) -> None:
    with store.from_image("scratch") as container, pytest.raises(UsageError):
        container.add(*sources, dest="/d/", **options)


def test_a_git_repository(store: Store, busybox_image: Image, upstream: Upstream) -> None:
    url = upstream.repository("a")
    first = upstream.commit("a", f="1", d__g="x", d__h="y")
    with store.from_image("scratch", cache=True) as container:
        assert container.add(url, dest="/src") is False
        assert container.add(f"{url}#main:d", dest="/sub", exclude=["h"], chown="5:6") is False
        assert container.add(url, dest="/kept", keep_git_dir=True, checksum=first[:12]) is False
        image = container.commit()
        paths = {change.path for change in container.diff()}
    assert {"/src/f", "/src/d/g", "/sub/g", "/kept/f", "/kept/.git/HEAD"} <= paths
    assert not paths & {"/src/.git", "/sub/h", "/sub/f"}
    assert look(store, busybox_image, image, "/sub/g").split()[1] == "5:6"
    with store.from_image("scratch", cache=True) as container:
        assert container.add(url, dest="/src") is True
        upstream.commit("a", f="2")
        assert container.add(f"{url}#main:d", dest="/sub", exclude=["h"], chown="5:6") is False
        with pytest.raises(DigestMismatch, match=first[:12]):
            container.add(url, dest="/kept", keep_git_dir=True, checksum=first[:12])
        container.add(f"{url}#{first}", dest="/old")
        assert container.read_file("/old/f") == b"1"
