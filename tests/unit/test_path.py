"""Paths of containers and images, used as those of pathlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildlib.errors import CopyError, NotFound, UsageError
from buildlib.path import Path

if TYPE_CHECKING:
    from buildlib.image import Image
    from buildlib.store import Store

pytestmark = pytest.mark.root


def test_a_file_is_written_read_and_described(store: Store, busybox_image: Image) -> None:
    with store.from_image(busybox_image) as c:
        path = c.path("/srv/app.conf")
        assert not path.exists()
        path.write_text("größe = 1\n")
        assert path.read_text() == "größe = 1\n"
        assert (path.stat().size, path.stat().mode, path.stat().uid) == (12, 0o100644, 0)
        assert (path.name, path.suffix, str(path.parent)) == ("app.conf", ".conf", "/srv")
        assert path.is_file()
        assert path.parent.is_dir()
        assert [each.name for each in c.path("/srv")] == ["app.conf"]
        with path.open() as file:
            assert file.read(6) == "größ".encode()
        (c.path("/srv") / "deep/er").mkdir()
        assert c.path("/srv/deep/er").is_dir()


def test_links_never_lead_out(store: Store, busybox_image: Image) -> None:
    with store.from_image(busybox_image) as c:
        c.run("ln -s ../../../../../proc/self/environ /out; ln -s /nowhere /broken; echo in > /in; ln -s in /link")
        assert c.path("/link").read_text() == "in\n"
        assert c.path("/link").readlink() == "in"
        assert not c.path("/out").exists()
        assert not c.path("/broken").exists()
        assert c.path("/../../in").is_file()
        with pytest.raises(NotFound, match="/out"):
            c.path("/out").read_bytes()
        with pytest.raises(UsageError, match="symbolic link"):
            c.path("/in").readlink()


def test_what_is_not_there_says_so(store: Store, busybox_image: Image) -> None:
    with store.from_image(busybox_image) as c:
        with pytest.raises(NotFound, match="/nothing: no such file"):
            c.path("/nothing").stat()
        with pytest.raises(NotFound, match="no such directory"):
            c.path("/nothing").iterdir()
        with pytest.raises(CopyError, match="not a directory"):
            c.path("/bin/busybox").iterdir()
        with pytest.raises(CopyError, match="/bin"):
            c.path("/bin").read_bytes()


def test_an_image_is_read_only(store: Store, busybox_image: Image) -> None:
    with busybox_image.open("/bin/busybox", "rb") as file:
        assert file.read(4) == b"\x7fELF"
    assert busybox_image.path("/bin").is_dir()
    with pytest.raises(UsageError, match="never changes"):
        busybox_image.path("/bin/new").write_text("")
    with pytest.raises(UsageError, match="'w'"):
        busybox_image.open("/bin/busybox", "w")
    assert busybox_image.path("/a") == busybox_image.path("/b/../a") != busybox_image.path("/b")
    assert repr(Path(store, "a", ())) == "Path('/a')"


def test_an_image_runs_a_command_and_is_left_as_it_was(store: Store, busybox_image: Image) -> None:
    result = busybox_image.run("echo $GREETING > /made; cat /made", env={"GREETING": "hello"})
    assert (result.stdout, result.exit_code) == ("hello\n", 0)
    assert store.containers() == []
    with pytest.raises(NotFound):
        busybox_image.open("/made")
