"""Indexes and archives on the command line: manifest verbs, and what other verbs make of an index."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from buildlib.store import Store
from buildlib.testing import serve_registry, tiny_image

sys.path.insert(0, str(Path(__file__).parents[1]))
from transports.images import Memory
from transports.test_multi_arch import AMD, ARM

from .test_registries import provide

pytestmark = pytest.mark.root

PLAIN = "--tls-verify=false"


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


@pytest.fixture
def opened(tmp_path):
    with Store.open(str(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def one(opened):
    """The digest of localhost/one, an image of the store."""
    return tiny_image(opened, "one", {"a": b"1"}).digest


@pytest.fixture
def many(registry):
    memory = Memory()
    memory.index(AMD, ARM)
    return provide(memory, f"docker://{registry.host}/team/many:v1"), memory.root.digest


def lines(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.out.splitlines()


def test_an_index_is_made_changed_shown_and_removed(call, one):
    (id,) = lines(call("manifest", "create", "list"))
    assert re.fullmatch("[0-9a-f]{64}", id)
    (added,) = lines(call("manifest", "add", "--os-version", "7", "--annotation", "k=v", "list", "one"))
    assert re.fullmatch(f"[0-9a-f]{{64}}: {one}", added)
    shown = json.loads(call("manifest", "inspect", "list").out)
    (entry,) = shown["manifests"]
    assert entry["digest"] == one
    assert entry["annotations"] == {"k": "v"}
    assert entry["platform"]["os.version"] == "7"
    lines(call("manifest", "annotate", "--arch", "arm64", "--variant", "v8", "list", one))
    lines(call("manifest", "annotate", "--index", "--annotation", "of=all", "list"))
    lines(call("manifest", "annotate", "--subject", "one", "list"))
    shown = json.loads(call("manifest", "inspect", "list").out)
    assert shown["manifests"][0]["platform"] == {
        "architecture": "arm64",
        "os": "linux",
        "os.version": "7",
        "variant": "v8",
    }
    assert shown["annotations"] == {"of": "all"}
    assert shown["subject"]["digest"] == one
    assert call("manifest", "exists", "list").code == 0
    assert call("manifest", "exists", "one").code == 1
    assert call("manifest", "exists", "nothing").code == 1
    assert lines(call("manifest", "remove", "list", "one"))[0].endswith(one)
    assert call("manifest", "remove", "list", "one").code == 125
    assert lines(call("manifest", "rm", "list"))[0] == "untagged: localhost/list:latest"
    assert lines(call("images", "-q")) != []


def test_create_takes_images_and_may_replace_or_amend(call, one):
    lines(call("manifest", "create", "--annotation", "a=b", "list", "one"))
    again = call("manifest", "create", "list")
    assert again.code == 125
    assert "already" in again.err
    lines(call("manifest", "create", "--amend", "--annotation", "c=d", "list"))
    shown = json.loads(call("manifest", "inspect", "list").out)
    assert (len(shown["manifests"]), shown["annotations"]) == (1, {"a": "b", "c": "d"})
    lines(call("manifest", "create", "--replace", "list"))
    assert json.loads(call("manifest", "inspect", "list").out)["manifests"] == []
    assert call("manifest", "create", "--annotation", "x", "other").code == 125


def test_images_that_stay_in_their_registry_are_pushed_from_there(call, registry, many, one):
    name, _ = many
    lines(call("manifest", "create", "list", "one"))
    added = lines(call("manifest", "add", "--all", PLAIN, "list", name))
    assert len(added) == 2
    lines(call("manifest", "push", "-q", PLAIN, "list", f"docker://{registry.host}/team/list:1"))
    there = registry.repository("team/list")
    assert len(there.manifests) == 4
    assert call("manifest", "push", "-q", "--rm", PLAIN, "list", f"docker://{registry.host}/team/list:2").code == 0
    assert call("manifest", "exists", "list").code == 1
    assert set(there.tags) == {"1", "2"}


def test_manifest_inspect_looks_in_registries_too(call, many):
    name, _ = many
    shown = json.loads(call("manifest", "inspect", PLAIN, name).out)
    assert len(shown["manifests"]) == 2
    assert call("manifest", "inspect", PLAIN, name.removeprefix("docker://")).out == json.dumps(shown, indent=4) + "\n"


def test_all_platforms_are_pulled_and_are_one_image_to_other_verbs(call, registry, many, tmp_path):
    name, digest = many
    assert lines(call("pull", "-q", PLAIN, "--all-platforms", name)) == [digest.removeprefix("sha256:")]
    assert lines(call("pull", "-q", PLAIN, "--all-platforms", name)) == [digest.removeprefix("sha256:")]
    listed = lines(call("images", "--noheading", "--format", "{{.Name}}:{{.Tag}} {{.ID}}"))
    full = name.removeprefix("docker://")
    assert [line.split() for line in listed] == [[full, digest[7:19]]]
    assert len(lines(call("images", "-q", "--all"))) == 3
    lines(call("tag", full, "localhost/again:1"))
    assert call("inspect", "--type", "manifest", "--raw", "again:1").out == call("inspect", "--raw", full).out
    for arch in ("amd64", "arm64"):
        shown = json.loads(call("inspect", "--type", "image", "--arch", arch, "again:1").out)
        assert shown["OCIv1"]["architecture"] == arch
        assert json.loads(call("inspect", "--config", "--arch", arch, "again:1").out)["architecture"] == arch
    file = tmp_path / "digest"
    lines(call("push", "-q", PLAIN, "--digestfile", str(file), "again:1", f"docker://{registry.host}/copy:1"))
    assert file.read_text() == digest
    lines(call("save", "-q", "--format", "oci-archive", "-o", str(tmp_path / "x.tar"), "again:1"))
    assert lines(call("rmi", "again:1")) == ["untagged: localhost/again:1"]
    assert lines(call("rmi", full))[-1] == digest.removeprefix("sha256:")
    assert lines(call("images", "-q", "--all")) == []
    assert lines(call("load", "-q", "-i", str(tmp_path / "x.tar"))) == ["Loaded image: localhost/again:1"]
    assert json.loads(call("manifest", "inspect", "again:1").out)["manifests"][1]["platform"]["architecture"] == "arm64"
    assert call("rmi", "--all", "--force").code == 0
    assert lines(call("images", "-q", "--all")) == []


def test_several_platforms_are_pulled_as_an_index(call, many):
    name, digest = many
    (id,) = lines(call("pull", "-q", PLAIN, "--platform", AMD, "--platform", ARM, name))
    assert id == digest.removeprefix("sha256:")
    (id,) = lines(call("pull", "-q", PLAIN, "--platform", ARM, "--policy", "always", name))
    assert json.loads(call("inspect", "--type", "image", id).out)["OCIv1"]["architecture"] == "arm64"


def test_images_of_an_index_are_not_dangling(call, many):
    lines(call("pull", "-q", PLAIN, "--all-platforms", many[0]))
    assert lines(call("images", "-q", "--filter", "dangling=true")) == []
    assert lines(call("rmi", "--prune")) == []
    assert len(lines(call("images", "-q", "--all"))) == 3


def test_all_tags_of_a_repository_are_pulled(call, registry):
    memory = Memory()
    for tag in ("v1", "v2"):
        memory.image(tag)
        provide(memory, f"docker://{registry.host}/x:{tag}")
    assert len(lines(call("pull", "-q", PLAIN, "--all-tags", f"{registry.host}/x"))) == 2
    assert len(lines(call("images", "-q"))) == 2


def test_several_images_are_saved_and_loaded(call, opened, one, tmp_path):
    tiny_image(opened, "two:2", {"a": b"2"})
    path = str(tmp_path / "both.tar")
    lines(call("save", "-q", "-o", path, "one", "two:2", opened.image("one").id))
    assert json.loads(call("list-tags", f"docker-archive:{path}").out)["Tags"] == [
        "localhost/one:latest", "localhost/two:2",
    ]  # fmt: skip
    lines(call("rmi", "--all", "--force"))
    assert lines(call("load", "-i", path)) == [
        "Loaded image: localhost/one:latest", "Loaded image: localhost/two:2",
    ]  # fmt: skip
    assert call("save", "--format", "oci-dir", "one").code == 125
    assert call("load", "-i", str(tmp_path / "none")).code == 125
