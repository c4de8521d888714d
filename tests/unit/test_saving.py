"""Archives of several images: what is saved is loaded again, names and all, whatever kind of archive it is."""

from __future__ import annotations

import gzip
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from buildlib import transports
from buildlib.errors import TransportError, UsageError
from buildlib.manifest_list import ManifestList
from buildlib.remote import list_images
from buildlib.saving import load, save
from buildlib.store import Store
from buildlib.testing import tiny_image

sys.path.insert(0, str(Path(__file__).parent))
from transports.images import Memory
from transports.test_multi_arch import AMD, ARM

from buildlib.transports.copy import copy

pytestmark = pytest.mark.root


@pytest.fixture
def images(store):
    one, two = tiny_image(store, "one:1", {"a": b"1"}), tiny_image(store, "two:2", {"a": b"2"})
    one.tag("one:latest")
    return one, two


@pytest.fixture
def other(tmp_path):
    with Store.open(str(tmp_path / "other")) as opened:
        yield opened


@pytest.mark.parametrize("format", ["docker-archive", "oci-archive", "oci-dir"])
def test_several_images_go_through_one_archive(images, other, tmp_path, format):
    one, two = images
    path = str(tmp_path / "saved")
    save({one: one.names, two: two.names}, path, format)
    loaded = load(other, path)
    assert {image.id for image, _ in loaded} == {one.id, two.id}
    assert other.image("one:1") == other.image("one:latest")
    assert [i.id for i in (other.image("one"), other.image("two:2"))] == [one.id, two.id]
    assert {name for _, names in loaded for name in names} == {*one.names, *two.names}
    assert other.check(diff_ids=True) == []


def test_a_folder_holds_one_image_without_a_name(images, other, tmp_path):
    one, two = images
    save({one: one.names}, str(tmp_path / "d"), "docker-dir")
    assert [(i.id, n) for i, n in load(other, str(tmp_path / "d"))] == [(one.id, ())]
    with pytest.raises(UsageError, match="holds one image"):
        save({one: (), two: ()}, str(tmp_path / "d"), "docker-dir")


def test_an_archive_may_be_compressed_and_come_from_a_pipe(images, tmp_path):
    save({image: image.names for image in images}, str(tmp_path / "a.tar"))
    packed = gzip.compress((tmp_path / "a.tar").read_bytes())
    code = (
        "import sys; from buildlib import Store; from buildlib.saving import load\n"
        "with Store.open(sys.argv[1]) as store: print(*[n for _, names in load(store, '-') for n in names])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "piped"], input=packed, capture_output=True, check=True
    )
    assert set(done.stdout.decode().split()) == {name for image in images for name in image.names}
    assert list((tmp_path / "piped/tmp").iterdir()) == []


def test_an_archive_may_be_written_to_a_pipe(images, tmp_path):
    one, _ = images
    code = "import sys; sys.path[:0] = sys.argv[3:]\nfrom buildlib import Store; from buildlib.saving import save\n"
    code += "with Store.open(sys.argv[1]) as s: save({s.image(sys.argv[2]): ['x:1']}, '/dev/stdout')"
    done = subprocess.run([sys.executable, "-c", code, one.store.root, one.id], capture_output=True, check=True)
    (tmp_path / "piped.tar").write_bytes(done.stdout)
    assert list_images(f"docker-archive:{tmp_path}/piped.tar") == (("docker.io/library/x:1",),)


def test_an_index_is_saved_whole_where_the_archive_can_hold_it(store, other, tmp_path):
    memory = Memory()
    memory.index(AMD, ARM)
    with transports.writing(transports.destination(f"oci:{tmp_path}/l:1")) as destination:
        copy(memory, destination, multi_arch="all")
    pulled = store.pull_all(f"oci:{tmp_path}/l:1", names=["many:1"])
    save({pulled: pulled.names}, str(tmp_path / "o.tar"), "oci-archive")
    ((loaded, names),) = load(other, str(tmp_path / "o.tar"))
    assert isinstance(loaded, ManifestList)
    assert (loaded.digest, names) == (pulled.digest, ("localhost/many:1",))
    save({pulled: ("x:1",)}, str(tmp_path / "d.tar"), "docker-archive")
    with closing(transports.source(f"docker-archive:{tmp_path}/d.tar")) as source:
        assert source.images[0].names == ("docker.io/library/x:1",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b"nothing"), "no archive of images"),
        (lambda path: path.write_bytes(b""), "no archive of images"),
        (lambda path: path.mkdir(), "neither an OCI image layout"),
    ],
)
def test_what_is_no_archive_of_images_is_refused(store, tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(TransportError, match=message):
        load(store, str(tmp_path / "x"))


def test_a_root_file_system_is_no_archive_of_images(store, busybox_tar):
    with pytest.raises(TransportError, match="no archive of images") as caught:
        load(store, busybox_tar)
    assert "tarball:" in caught.value.hint


def test_an_unknown_format_is_refused(images, tmp_path):
    with pytest.raises(UsageError, match="zip"):
        save({images[0]: ()}, str(tmp_path / "x"), "zip")
    assert not (tmp_path / "x").exists()
