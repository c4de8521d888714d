"""Images where they are: copied between places, looked at, listed, deleted; and logins to registries."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from buildlib import transports
from buildlib.errors import NotFound, TransportError, UsageError
from buildlib.logins import logged_in, login, logout
from buildlib.oci import Digest, Index, Platform, mediatype
from buildlib.registry.access import Access
from buildlib.registry.auth import Credential
from buildlib.registry.configuration import Configuration
from buildlib.remote import copy_image, delete_image, inspect_image, list_images, list_tags, own_access, read_document
from buildlib.testing import serve_registry
from buildlib.testing.faults import on, status

sys.path.insert(0, str(Path(__file__).parent))
from transports.images import Memory, manifest_of, tars_of
from transports.test_multi_arch import AMD, ARM

from buildlib.transports.copy import copy

ACCESS = Access(tls_verify=False, retries=0)


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


@pytest.fixture
def memory():
    return Memory()


def provide(memory, where, **options):
    with transports.writing(transports.destination(where, access=ACCESS)) as destination:
        copy(memory, destination, multi_arch="all", **options)
    return where


def move(source, destination, **options):
    return copy_image(source, destination, source_access=ACCESS, destination_access=ACCESS, **options)


# --- copying ----------------------------------------------------------------------------------------------------------


PLACES = [
    "docker://{host}/copy:1",
    "oci:{tmp}/l:1",
    "oci-archive:{tmp}/o.tar:1",
    "docker-archive:{tmp}/d.tar:c:1",
    "dir:{tmp}/d",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("origin", PLACES)
def test_an_image_is_copied_from_everywhere_to_everywhere(memory, registry, tmp_path, origin, place):
    memory.image("a", "b")
    (tmp_path / "from").mkdir()
    source = provide(memory, origin.format(host=registry.host, tmp=tmp_path / "from").replace("/copy:", "/origin:"))
    destination = place.format(host=registry.host, tmp=tmp_path)
    move(source, destination)
    with closing(transports.source(destination, access=ACCESS)) as there:
        assert tars_of(there) == tars_of(memory)
        assert manifest_of(there).config.digest == manifest_of(memory).config.digest


def test_within_a_registry_blobs_are_mounted(memory, registry):
    memory.index(AMD, ARM)
    source = provide(memory, f"docker://{registry.host}/team/a:1")
    registry.log.clear()
    copied = move(source, f"docker://{registry.host}/team/b:1", multi_arch="all")
    assert copied.digest == memory.root.digest
    assert registry.requests("GET .*/blobs/") != [], "configs are read"
    assert registry.requests("PATCH") == registry.requests("PUT /v2/team/b/blobs") == []
    assert set(registry.repository("team/b").manifests) == set(registry.repository("team/a").manifests)


def test_a_registry_that_does_not_mount_gets_the_blobs(memory, registry):
    registry.mounts = False
    memory.image("a")
    move(provide(memory, f"docker://{registry.host}/a:1"), f"docker://{registry.host}/b:1")
    assert registry.repository("b").tags
    assert registry.uploads == {}


def test_what_is_there_is_not_moved_again(memory, registry):
    memory.image("a", "b")
    source = provide(memory, f"docker://{registry.host}/a:1")
    with serve_registry() as other:
        move(source, f"docker://{other.host}/b:1")
        registry.log.clear()
        other.log.clear()
        move(source, f"docker://{other.host}/b:2")
        assert len(registry.requests("GET .*/blobs/")) == 1, "the config"
        assert other.requests("POST") == []
        assert set(other.repository("b").tags) == {"1", "2"}


def test_no_half_image_becomes_visible(memory, registry):
    memory.image("a", "b", "c")
    source = provide(memory, f"docker://{registry.host}/a:1")
    blob = next(iter(registry.repository("a").blobs))
    registry.repository("a").blobs[blob] = b"x" * len(registry.repository("a").blobs[blob])
    with serve_registry() as other:
        with pytest.raises(Exception, match="expected sha256"):
            move(source, f"docker://{other.host}/b:1")
        assert other.repository("b").manifests == {}
        assert other.uploads == {}


# --- looking ----------------------------------------------------------------------------------------------------------


def test_an_image_is_inspected_by_three_small_requests(memory, registry):
    memory.image("a", "b")
    provide(memory, f"docker://{registry.host}/team/site:1")
    registry.log.clear()
    found = inspect_image(f"docker://{registry.host}/team/site:1", access=ACCESS)
    config = manifest_of(memory).config.digest
    assert registry.log[-2:] == ["GET /v2/team/site/manifests/1", f"GET /v2/team/site/blobs/{config}"]
    assert found.name == f"{registry.host}/team/site"
    assert (found.raw, found.raw_config) == (memory.content[memory.root.digest], memory.content[config])
    assert found.tags is None
    assert found.config.config.cmd == ("sh",)
    assert inspect_image(f"docker://{registry.host}/team/site:1", access=ACCESS, tags=True).tags == ("1",)


def test_of_an_index_the_image_for_a_platform_is_inspected(memory, tmp_path):
    memory.index(AMD, ARM)
    where = provide(memory, f"oci:{tmp_path}/x:1")
    for name in (AMD, ARM):
        found = inspect_image(where, platform=Platform.parse(name))
        assert str(found.config.platform) == name
        assert found.descriptor.media_type == mediatype.OCI_INDEX
    assert Index.parse(read_document(where)).manifests
    assert found.name == ""


def test_tags_are_listed(memory, registry, tmp_path):
    memory.image("a")
    for tag in ("v2", "v1"):
        provide(memory, f"docker://{registry.host}/x:{tag}")
    assert list_tags(f"docker://{registry.host}/x", access=ACCESS) == ("v1", "v2")
    with pytest.raises(UsageError, match="without tag") as caught:
        list_tags(f"docker://{registry.host}/x:v1", access=ACCESS)
    assert caught.value.hint == f"write {registry.host}/x"
    with pytest.raises(NotFound):
        list_tags(f"docker://{registry.host}/y", access=ACCESS)
    provide(memory, f"docker-archive:{tmp_path}/a.tar:site:1")
    assert list_tags(f"docker-archive:{tmp_path}/a.tar") == ("docker.io/library/site:1",)
    provide(memory, f"oci:{tmp_path}/l:one")
    memory.image("b")
    provide(memory, f"oci:{tmp_path}/l:two")
    assert list_images(f"oci:{tmp_path}/l") == (("one",), ("two",))
    with pytest.raises(UsageError, match="no list of images"):
        list_tags(f"dir:{tmp_path}")


# --- deleting ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_tags(memory, registry):
    memory.image("a")
    for tag in ("v1", "v2"):
        provide(memory, f"docker://{registry.host}/x:{tag}")
    registry.log.clear()
    return registry


def only_by_digest(registry):
    registry.faults = [on("DELETE .*/manifests/v", status(400, message="DIGEST_INVALID"), times=None)]


def test_a_tag_is_deleted_alone(two_tags):
    assert delete_image(f"docker://{two_tags.host}/x:v1", access=ACCESS) == (f"{two_tags.host}/x:v1",)
    assert set(two_tags.repository("x").tags) == {"v2"}
    assert two_tags.repository("x").manifests


def test_a_registry_that_deletes_by_digest_only_is_not_let_to_take_other_tags_along(two_tags):
    only_by_digest(two_tags)
    with pytest.raises(UsageError, match="v2 is the same image") as caught:
        delete_image(f"docker://{two_tags.host}/x:v1", access=ACCESS)
    assert "--all-tags" in caught.value.hint
    assert set(two_tags.repository("x").tags) == {"v1", "v2"}
    gone = delete_image(f"docker://{two_tags.host}/x:v1", access=ACCESS, all_tags=True)
    assert gone == (f"{two_tags.host}/x:v1", f"{two_tags.host}/x:v2")
    assert two_tags.repository("x").tags == {}


def test_an_image_with_one_tag_is_deleted_by_digest(two_tags, memory):
    only_by_digest(two_tags)
    memory.image("other")
    provide(memory, f"docker://{two_tags.host}/x:v2")
    delete_image(f"docker://{two_tags.host}/x:v1", access=ACCESS)
    assert set(two_tags.repository("x").tags) == {"v2"}
    delete_image(f"docker://{two_tags.host}/x@{memory.root.digest}", access=ACCESS)
    assert two_tags.repository("x").manifests == {}


def test_what_is_not_there_can_not_be_deleted(two_tags):
    for name in ("x:v9", "y:v1", f"x@{Digest.of(b'')}"):
        with pytest.raises(NotFound):
            delete_image(f"docker://{two_tags.host}/{name}", access=ACCESS)


def test_an_image_of_a_layout_is_deleted_with_what_only_it_had(memory, tmp_path):
    memory.image("same", "one")
    provide(memory, f"oci:{tmp_path}/l:one")
    first = memory.root
    memory.index(AMD, ARM)
    provide(memory, f"oci:{tmp_path}/l:many")
    memory.image("same", "two")
    provide(memory, f"oci:{tmp_path}/l:two")
    assert delete_image(f"oci:{tmp_path}/l:one") == ("one",)
    assert list_images(f"oci:{tmp_path}/l") == (("many",), ("two",))
    assert not (tmp_path / "l/blobs/sha256" / first.digest.hex).exists()
    with closing(transports.source(f"oci:{tmp_path}/l:two")) as source:
        assert tars_of(source) == tars_of(memory)
    delete_image(f"oci:{tmp_path}/l:many")
    delete_image(f"oci:{tmp_path}/l")
    assert list((tmp_path / "l/blobs/sha256").iterdir()) == []
    with pytest.raises(NotFound):
        delete_image(f"oci:{tmp_path}/l:one")
    with pytest.raises(UsageError, match="nothing can be deleted"):
        delete_image(f"docker-archive:{tmp_path}/x.tar")


# --- logins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_login_is_checked_and_filed_and_used(memory, tmp_path, auth):
    file = str(tmp_path / "auth.json")
    with serve_registry(auth=auth, users={"ann": "secret"}) as registry:
        access = Access(tls_verify=False, auth_files=(file,), retries=0)
        with pytest.raises(TransportError) as caught:
            login(registry.host, Credential("ann", "guess"), access=access)
        assert caught.value.status == 401
        assert not Path(file).exists()
        assert login(registry.host, Credential("ann", "secret"), access=access) == file
        assert Path(file).stat().st_mode & 0o777 == 0o600
        assert logged_in(registry.host, access=access) == "ann"
        memory.image("a")
        with transports.writing(transports.destination(f"docker://{registry.host}/x:1", access=access)) as there:
            copy(memory, there)
        assert registry.repository("x").tags
        logout(registry.host, access=access)
        assert json.loads(Path(file).read_text())["auths"] == {}
        with pytest.raises(NotFound, match="not logged in"):
            logged_in(registry.host, access=access)
        with pytest.raises(NotFound, match="not logged in"):
            logout(registry.host, access=access)


def test_a_login_may_be_for_one_repository(tmp_path):
    file = str(tmp_path / "auth.json")
    with serve_registry(auth="basic", users={"ann": "secret"}) as registry:
        access = Access(tls_verify=False)
        login(f"https://{registry.host}/team/", Credential("ann", "secret"), access=access, file=file)
        assert list(json.loads(Path(file).read_text())["auths"]) == [f"{registry.host}/team"]
        assert logged_in(f"{registry.host}/team", file=file) == "ann"
        with pytest.raises(NotFound):
            logged_in(registry.host, file=file)
        logout(None, file=file)
        with pytest.raises(NotFound):
            logged_in(f"{registry.host}/team", file=file)


def test_docker_hub_is_filed_by_its_name(tmp_path, monkeypatch):
    file = str(tmp_path / "auth.json")
    with serve_registry() as registry:
        hub = {"prefix": "docker.io", "location": registry.host, "insecure": True}
        access = Access(configuration=Configuration(registries=(hub,)))
        for name in ("docker.io", "index.docker.io", "https://index.docker.io/v1/"):
            login(name, Credential("ann", "secret"), access=access, file=file)
            assert list(json.loads(Path(file).read_text())["auths"]) == ["docker.io"]


@pytest.mark.parametrize("name", ["", "@", "https://", "-x"])
def test_what_is_no_registry_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="is no registry"):
        login(name, Credential("ann", "secret"), access=Access(), file=str(tmp_path / "auth.json"))


def test_without_an_access_that_of_this_user_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "mine.json"))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    access = own_access()
    assert access.auth_files == (str(tmp_path / "mine.json"),)
    assert access.proxies.https == "http://proxy:1"
    assert access.tls_verify
