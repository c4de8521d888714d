"""The verbs that move images and look at registries: as a user types them, against a registry in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from buildlib import transports
from buildlib.oci import Digest, mediatype
from buildlib.registry.access import Access
from buildlib.testing import serve_registry
from buildlib.testing.faults import on, status

sys.path.insert(0, str(Path(__file__).parents[1]))
from transports.images import Memory
from transports.test_multi_arch import AMD, ARM

from buildlib.transports.copy import copy

COMMAND = [sys.executable, "-c", "import sys; from buildlib.cli import main; sys.exit(main())"]
PLAIN = "--tls-verify=false"
BOTH_PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


@pytest.fixture
def memory():
    return Memory()


def provide(memory, name, **options):
    """Put the image of ``memory`` where a transport finds it."""
    destination = transports.destination(name, access=Access(tls_verify=False))
    with transports.writing(destination) as there:
        copy(memory, there, multi_arch="all", **options)
    return name


@pytest.fixture
def site(memory, registry):
    """docker://…/team/site:v1, an image of two layers."""
    memory.image("a", "b")
    return provide(memory, f"docker://{registry.host}/team/site:v1")


@pytest.fixture
def many(registry):
    """docker://…/team/many:v1, an index."""
    memory = Memory()
    memory.index(AMD, ARM)
    return provide(memory, f"docker://{registry.host}/team/many:v1")


# --- inspect ----------------------------------------------------------------------------------------------------------


def test_inspect_shows_an_image_in_a_registry_as_skopeo_does(call, registry, memory, site):
    registry.log.clear()
    shown = call("inspect", PLAIN, site)
    assert shown.code == 0
    document = json.loads(shown.out)
    assert list(document) == [
        "Name", "Digest", "RepoTags", "Created", "DockerVersion", "Labels", "Architecture", "Os", "Layers",
        "LayersData", "Env",
    ]  # fmt: skip
    assert document["Name"] == f"{registry.host}/team/site"
    assert document["Digest"] == memory.root.digest
    assert document["RepoTags"] == []
    assert document["Env"] == ["A=<b>"]
    assert len(document["Layers"]) == len(document["LayersData"]) == 2
    assert not [line for line in registry.log if "tags" in line]
    assert len([line for line in registry.log if "/blobs/" in line]) == 1


def test_inspect_lists_tags_when_asked_for(call, site):
    assert json.loads(call("inspect", PLAIN, "--tags", site).out)["RepoTags"] == ["v1"]


def test_inspect_shows_documents_byte_for_byte(call, memory, site):
    assert call("inspect", PLAIN, "--raw", site).out.encode() == memory.content[memory.root.digest]
    config = json.loads(memory.content[memory.root.digest])["config"]["digest"]
    assert call("inspect", PLAIN, "--raw", "--config", site).out.encode() == memory.content[config]
    shown = json.loads(call("inspect", PLAIN, "--config", site).out)
    assert shown["config"]["Env"] == json.loads(memory.content[config])["config"]["Env"]
    assert shown["rootfs"] == json.loads(memory.content[config])["rootfs"]


def test_inspect_fetches_the_document_alone_where_that_alone_is_wanted(call, registry):
    memory = Memory()
    memory.index("plan9/mips")
    name = provide(memory, f"docker://{registry.host}/team/odd:v1")
    for verb in (("inspect", PLAIN, "--raw"), ("manifest", "inspect", PLAIN)):
        registry.log.clear()
        shown = call(*verb, name)
        assert json.loads(shown.out) == json.loads(memory.content[memory.root.digest])
        assert registry.log[-1:] == [request for request in registry.log if "/team/odd/" in request]


def test_inspect_fetches_no_layer_and_no_list_of_tags(call, registry, memory, site):
    registry.log.clear()
    call("inspect", PLAIN, site)
    config = json.loads(memory.content[memory.root.digest])["config"]["digest"]
    asked = [request for request in registry.log if "/team/site/" in request]
    assert asked == ["GET /v2/team/site/manifests/v1", f"GET /v2/team/site/blobs/{config}"]
    assert len(registry.log) <= 3, "a look at the API itself at most"


def test_inspect_takes_templates(call, memory, site):
    template = "{{.Name}} {{.Digest}} {{.Os}}/{{.Architecture}} {{.Layers}}"
    shown = call("inspect", PLAIN, "--format", template, site).out
    assert f"site {memory.root.digest} linux/amd64 [sha256:" in shown
    assert call("inspect", PLAIN, "--config", "--format", "{{.Config.Env}}", site).out == "[A=<b>]\n"
    refused = call("inspect", PLAIN, "--raw", "--format", "{{.}}", site)
    assert refused.code == 125


def test_inspect_chooses_a_platform_of_an_index(call, many):
    for arch in ("amd64", "arm64"):
        assert json.loads(call("inspect", PLAIN, "--arch", arch, many).out)["Architecture"] == arch


@pytest.mark.parametrize("verb", ["inspect", "delete"])
def test_what_is_not_in_the_registry_exits_with_2(call, registry, verb):
    got = call(verb, PLAIN, f"docker://{registry.host}/nothing:v1")
    assert got.code == 2
    assert got.err.startswith("Error: ")
    assert "not in the registry" in got.err


# --- copy -------------------------------------------------------------------------------------------------------------


def test_copy_moves_an_image_between_transports(call, memory, registry, site, tmp_path):
    digest = tmp_path / "digest"
    got = call("copy", *BOTH_PLAIN, "--digestfile", str(digest), site, f"docker://{registry.host}/copy:v2")
    assert (got.code, got.out) == (0, "")
    assert digest.read_text() == memory.root.digest
    assert registry.repository("copy").tags == {"v2": memory.root.digest}
    assert "there already" in got.err or "Copying blob" in got.err
    assert call("copy", "-q", *BOTH_PLAIN, site, f"oci:{tmp_path}/l:x").err == ""


def test_copy_of_an_index(call, registry, many, tmp_path):
    target = f"docker://{registry.host}/copy"
    for flags, kind in (
        (["--all"], mediatype.OCI_INDEX),
        (["--multi-arch", "all"], mediatype.OCI_INDEX),
        (["--multi-arch", "linux/arm64"], mediatype.OCI_INDEX),
        (["--multi-arch", "system"], mediatype.OCI_MANIFEST),
        (["--arch", "arm64"], mediatype.OCI_MANIFEST),
        (["--format", "v2s2", "--all"], mediatype.DOCKER_LIST),
    ):
        assert call("copy", *BOTH_PLAIN, *flags, many, f"{target}:t").code == 0
        there = registry.repository("copy")
        assert there.manifests[there.tags["t"]][0] == kind, flags
    assert call("copy", *BOTH_PLAIN, "--multi-arch", "index-only", many, f"{target}:t").code == 0
    assert call("copy", *BOTH_PLAIN, "--multi-arch", "all", "--all", many, f"{target}:t").code == 125
    refused = call("copy", *BOTH_PLAIN, "--all", "--preserve-digests", "--format", "v2s2", many, f"{target}:t")
    assert refused.code == 125
    assert "would have to be changed" in refused.err


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (["--dest-compress-format", "zstd"], mediatype.OCI_LAYER_ZSTD),
        (["--dest-compress-format", "zstd", "--dest-compress-level", "7"], mediatype.OCI_LAYER_ZSTD),
        (["--dest-decompress"], mediatype.OCI_LAYER),
        ([], mediatype.OCI_LAYER_GZIP),
    ],
)
def test_copy_compresses_as_it_is_told(call, site, tmp_path, flags, kind):
    assert call("copy", "--src-tls-verify=false", *flags, site, f"dir:{tmp_path}/d").code == 0
    manifest = json.loads((tmp_path / "d/manifest.json").read_text())
    assert [layer["mediaType"] for layer in manifest["layers"]] == [kind, kind]


def test_copy_gives_more_names_in_an_archive(call, site, tmp_path):
    where = f"docker-archive:{tmp_path}/a.tar:x:1"
    assert call("copy", "--src-tls-verify=false", "--additional-tag", "y:2", site, where).code == 0
    listed = json.loads(call("list-tags", f"docker-archive:{tmp_path}/a.tar").out)
    assert listed == {"Tags": ["docker.io/library/x:1", "docker.io/library/y:2"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--chown", "a", "docker://a", "oci:b"], "--chown is for copying files"),
        (["--parents", "docker://a", "oci:b"], "--parents is for copying files"),
        (["--all", "container", "file"], "--all is for copying images"),
        (["docker://a", "oci:b", "oci:c"], "copied to one destination"),
        (["--format", "v2s1", "docker://a", "oci:b"], "unknown format"),
        (["--dest-compress-format", "xz", "dir:a", "oci:b"], "unknown compression"),
        (["--dest-compress", "--dest-decompress", "dir:a", "oci:b"], "may not be used together"),
        (["--sign-by", "me", "dir:a", "oci:b"], "not supported yet"),
        (["dir:/nonexistent", "elsewhere"], "names no transport"),
    ],
)
def test_copy_refuses_what_can_not_be_meant(call, words, message):
    got = call("copy", *words)
    assert got.code == 125
    assert message in got.err


def test_logins_for_both_sides(call, memory, tmp_path):
    users = {"ann": "secret"}
    with serve_registry(auth="basic", users=users) as first, serve_registry(auth="bearer", users=users) as second:
        memory.image("a")
        provide(memory, f"oci:{tmp_path}/l:1")
        there = f"docker://{first.host}/x:1"
        assert call("copy", "--dest-creds", "ann:secret", BOTH_PLAIN[1], f"oci:{tmp_path}/l:1", there).code == 0
        flags = ["--src-username", "ann", "--src-password", "secret", "--dest-creds", "ann:secret", *BOTH_PLAIN]
        assert call("copy", *flags, there, f"docker://{second.host}/y:1").code == 0
        flags = ["--src-creds", "ann:secret", "--dest-no-creds", *BOTH_PLAIN]
        refused = call("copy", *flags, there, f"docker://{second.host}/z:1")
        assert refused.code == 125
        assert "login" in refused.err
        second.tokens.add("given")
        token = ["--dest-registry-token", "given", "--src-creds", "ann:secret", *BOTH_PLAIN]
        assert call("copy", *token, there, f"docker://{second.host}/z:1").code == 0


# --- list-tags, delete, manifest-digest -------------------------------------------------------------------------------


def test_list_tags(call, registry, site):
    got = call("list-tags", PLAIN, site.rpartition(":")[0])
    assert json.loads(got.out) == {"Repository": f"{registry.host}/team/site", "Tags": ["v1"]}
    assert call("list-tags", PLAIN, f"docker://{registry.host}/none").code == 2


def test_delete(call, registry, memory, site, tmp_path):
    got = call("delete", PLAIN, site)
    assert (got.code, got.out) == (0, f"{registry.host}/team/site:v1\n")
    assert registry.repository("team/site").tags == {}
    provide(memory, f"oci:{tmp_path}/l:x")
    assert call("delete", f"oci:{tmp_path}/l:x").out == "x\n"


def test_delete_of_an_image_with_other_tags(call, registry, memory, site):
    provide(memory, f"docker://{registry.host}/team/site:v2")
    registry.faults = [on("DELETE .*/manifests/v", status(405), times=None)]
    refused = call("delete", PLAIN, site)
    assert refused.code == 125
    assert "v2 is the same image" in refused.err
    assert len(call("delete", PLAIN, "--all-tags", site).out.splitlines()) == 2


def test_delete_without_a_transport_means_containers(call):
    got = call("delete", "nobody")
    assert got.code == 125
    assert "no container is called 'nobody'" in got.err
    assert call("delete").code == 125


def test_manifest_digest(call, tmp_path):
    (tmp_path / "m.json").write_bytes(b"{}")
    assert call("manifest-digest", str(tmp_path / "m.json")).out == f"{Digest.of(b'{}')}\n"
    done = subprocess.run([*COMMAND, "manifest-digest", "-"], input=b"{}", capture_output=True, check=True)
    assert done.stdout.decode() == f"{Digest.of(b'{}')}\n"
    assert call("manifest-digest", str(tmp_path / "none")).code == 125


# --- login, logout ----------------------------------------------------------------------------------------------------


def test_login_and_logout(call, tmp_path):
    file = str(tmp_path / "auth.json")
    with serve_registry(auth="bearer", users={"ann": "secret"}) as registry:
        flags = ["--authfile", file]
        wrong = call("login", *flags, PLAIN, "-u", "ann", "-p", "guess", registry.host)
        assert wrong.code == 125
        assert "401" in wrong.err
        got = call("login", *flags, PLAIN, "-v", "-u", "ann", "-p", "secret", registry.host)
        assert got.out == f"Used: {file}\nLogin Succeeded!\n"
        assert call("login", *flags, "--get-login", registry.host).out == "ann\n"
        assert call("logout", *flags, registry.host).out == f"Removed login credentials for {registry.host}\n"
        assert call("login", *flags, "--get-login", registry.host).code == 125
        assert call("logout", *flags, registry.host).code == 125
        assert call("logout", *flags, "--all").out == "Removed login credentials for all registries\n"
        assert call("logout", *flags).code == 125


def test_login_reads_the_password_from_standard_input(tmp_path):
    file = str(tmp_path / "auth.json")
    with serve_registry(auth="basic", users={"ann": "secret"}) as registry:
        argv = [*COMMAND, "login", "--authfile", file, PLAIN, "-u", "ann"]
        done = subprocess.run(
            [*argv, "--password-stdin", registry.host], input="secret\n", text=True, capture_output=True
        )
        assert done.stdout == "Login Succeeded!\n"
        done = subprocess.run([*argv, registry.host], input="", text=True, capture_output=True)
        assert "no terminal to ask" in done.stderr


# --- sync -------------------------------------------------------------------------------------------------------------


def test_sync(call, registry, site, tmp_path):
    repository = site.rpartition(":")[0].removeprefix("docker://")
    flags = ["--src", "docker", "--dest", "dir", *BOTH_PLAIN]
    got = call("sync", *flags, repository, str(tmp_path))
    assert (got.code, got.out) == (0, "1 copied, 0 there already, 0 deleted, 0 failed\n")
    assert f"copying {site} to dir:{tmp_path}/site:v1" in got.err
    assert call("sync", "-q", *flags, repository, str(tmp_path)).out == ""
    got = call("sync", *flags, "--dry-run", repository, str(tmp_path))
    assert got.out == "Would be: 0 copied, 1 there already, 0 deleted, 0 failed\n"
    registry.faults = [on("GET .*/manifests/", status(403, message="no"), times=None)]
    got = call("sync", *flags, "--keep-going", repository, str(tmp_path / "other"))
    assert got.code == 1
    assert "no" in got.err
    assert call("sync", repository, str(tmp_path)).code == 125


# --- help -------------------------------------------------------------------------------------------------------------


def test_the_verbs_on_indexes_have_two_words(call):
    listed = call("manifest").out
    assert "manifest create" in listed
    assert call("manifest", "--help").out == call("help", "manifest").out == listed
    assert call("manifest", "create", "--help").out == call("help", "manifest", "create").out
    wrong = call("manifest", "nope")
    assert wrong.code == 125
    assert "there are add, annotate, create" in wrong.err
