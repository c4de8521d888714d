"""The files of an image in a folder and in an archive, and those of cache mounts."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

import buildlib
from buildlib.errors import LayerError, NotFound, StoreBusy, UsageError

pytestmark = pytest.mark.root


def _names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture
def image(store, busybox_image):
    with store.from_image(busybox_image, cache=True) as container:
        container.copy(dest="/srv/", contents={"a": b"text", "gone": b"x"}, chown="1000:1000", chmod="4750")
        container.run("rm /srv/gone; ln -s /etc/passwd /srv/link; ln /srv/a /srv/hard; mkdir -m 1777 /srv/sticky")
        return container.commit()


def test_the_files_of_an_image_come_with_owners_and_modes(store, image, tmp_path):
    assert store.export_files(image, str(tmp_path / "out")) > 0
    info = os.lstat(tmp_path / "out/srv/a")
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), info.st_nlink) == (1000, 1000, 0o4750, 2)
    assert (tmp_path / "out/srv/link").readlink() == Path("/etc/passwd")
    assert stat.S_IMODE(os.lstat(tmp_path / "out/srv/sticky").st_mode) == 0o1777
    assert _names(tmp_path / "out/srv") == ["a", "hard", "link", "sticky"]


def test_links_in_the_folder_lead_nowhere(store, image, tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/srv").symlink_to(tmp_path / "victim")
    (tmp_path / "out/mine").write_text("stays")
    with suppress(buildlib.BuildlibError):
        store.export_files(image, str(tmp_path / "out"))
    assert _names(tmp_path / "victim") == []
    assert (tmp_path / "out/mine").read_text() == "stays"


def test_an_archive_of_them_has_no_whiteouts_and_the_times_that_are_wanted(store, image, tmp_path):
    with (tmp_path / "out.tar").open("wb") as file:
        assert store.export_files(image, file.fileno(), timestamp=7) == (tmp_path / "out.tar").stat().st_size
    with tarfile.open(tmp_path / "out.tar") as archive:
        names = archive.getnames()
        assert "srv/a" in names
        assert not [name for name in names if ".wh." in name or "gone" in name]
        assert {member.mtime for member in archive} == {7}


def test_nothing_is_written_into_the_store(store, image):
    with pytest.raises(UsageError, match="within the store"):
        store.export_files(image, f"{store.root}/layers")


def test_an_image_without_layers_gives_an_empty_folder(store, tmp_path):
    with store.from_image("scratch") as container:
        container.config(cmd=["x"])
        store.export_files(container.commit(), str(tmp_path / "out"))
    assert _names(tmp_path / "out") == []


def test_cache_mounts_are_listed_and_carried_over(store, busybox_image, tmp_path):
    mount = buildlib.Cache("/c", id="npm")
    with store.from_image(busybox_image) as container:
        container.run("echo hello > /c/file; chown 5:6 /c/file", mounts=[mount])
    (one,) = store.cache_mounts.all()
    assert one.id == "npm"
    assert one.size > 0
    with (tmp_path / "c.tar").open("wb") as file:
        store.cache_mounts.export("npm", file.fileno())
    assert store.cache_mounts.remove("npm") == [one.folder]
    assert store.cache_mounts.all() == []
    with pytest.raises(NotFound, match="no cache mount 'npm'"):
        store.cache_mounts.export("npm", 1)
    with (tmp_path / "c.tar").open("rb") as file:
        store.cache_mounts.fill("npm", file.fileno())
    with store.from_image(busybox_image) as container:
        result = container.run("stat -c %u:%g /c/file; cat /c/file", mounts=[mount], capture=True)
    assert result.stdout == "5:6\nhello\n"


def test_a_cache_in_use_is_neither_filled_nor_removed(store, busybox_image, tmp_path):
    import fcntl

    with store.from_image(busybox_image) as container:
        container.run("echo a > /c/file", mounts=[buildlib.Cache("/c", id="x")])
    (one,) = store.cache_mounts.all()
    with (tmp_path / "empty.tar").open("w+b") as file, store.lease(f"cache:{one.folder}"):
        tarfile.open(fileobj=file, mode="w").close()
        fd = os.open(f"{store.root}/caches/{one.folder}", os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_SH)
        file.seek(0)
        with pytest.raises(StoreBusy):
            store.cache_mounts.fill("x", file.fileno())
        with pytest.raises(StoreBusy):
            store.cache_mounts.remove("x")
        os.close(fd)
    assert _names(f"{store.root}/caches/{one.folder}") == ["file"]


def test_a_hostile_archive_fills_nothing(store, tmp_path):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../escape"))
    (tmp_path / "bad.tar").write_bytes(raw.getvalue())
    with (tmp_path / "bad.tar").open("rb") as file, pytest.raises(LayerError):
        store.cache_mounts.fill("x", file.fileno())
    assert store.cache_mounts.all() == []
    assert _names(store.tmp) == []
