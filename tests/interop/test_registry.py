"""Images in Debian's docker-registry: the suite of our client, and what we and the other tools make of each other's."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib import transports
from buildlib.errors import NotFound
from buildlib.registry.access import Access
from buildlib.registry.auth import Authenticator, Credential
from buildlib.registry.client import RegistryClient
from buildlib.registry.http import Http
from buildlib.remote import copy_image
from buildlib.transports import writing
from buildlib.transports.copy import copy

from .conftest import Program
from .docker_registry import USER, serve

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from registry.suite import Suite
from transports.images import Memory, tars_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.oci import Digest

PROGRAM = str(Path(sys.executable).parent / "buildlib")


@pytest.fixture
def buildlib(tmp_path: Path, containers_environment: dict[str, str]) -> Program:
    """Our own command line, on a store of this test."""
    return Program(PROGRAM, ("--root", str(tmp_path / "store")), containers_environment)


@pytest.fixture(scope="module")
def docker_registry() -> Iterator[str]:
    """A docker-registry that anybody may use; its host:port."""
    with serve() as host:
        yield host


@pytest.fixture(scope="module")
def guarded_registry() -> Iterator[str]:
    """One that wants a password."""
    with serve(password=True) as host:
        yield host


class TestSuite(Suite):
    @pytest.fixture
    def repository(self, request: pytest.FixtureRequest) -> str:
        name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
        return f"{type(self).__name__.lower()}/{name}".replace("--", "-")

    @pytest.fixture
    def client(self, docker_registry: str) -> Iterator[RegistryClient]:
        client = RegistryClient(f"http://{docker_registry}", Http(Authenticator(lambda host: None), delay=0.01))
        yield client
        client.http.close()


class TestSuiteBehindAPassword(TestSuite):
    @pytest.fixture
    def client(self, guarded_registry: str) -> Iterator[RegistryClient]:
        login = Authenticator(lambda host: Credential(*USER))
        client = RegistryClient(f"http://{guarded_registry}", Http(login, delay=0.01))
        yield client
        client.http.close()


# --- with the other tools ---------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, so that names stay short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def name(docker_registry: str, request: pytest.FixtureRequest) -> str:
    """A repository of this test's own."""
    return f"{docker_registry}/interop/{''.join(c for c in request.node.name.lower() if c.isalnum())}"


ACCESS = Access(tls_verify=False)


def provide(memory: Memory, where: str, **options: Any) -> Digest:
    """Put the image or index of ``memory`` somewhere."""
    with writing(transports.destination(where, access=ACCESS)) as destination:
        return copy(memory, destination, multi_arch="all", **options).digest


def digest_of(where: str) -> Digest:
    with closing(transports.source(where, access=ACCESS)) as source:
        return source.resolve().digest


@pytest.mark.parametrize(
    ("docker", "compression"), [(False, "gzip"), (False, "zstd"), (False, "none"), (True, "gzip"), (True, "none")]
)
def test_skopeo_reads_what_we_push(name: str, skopeo: Program, here: Path, docker: bool, compression: str) -> None:
    memory = Memory()
    memory.image("a", "b", docker=docker, compression=compression)
    digest = provide(memory, f"docker://{name}:1", compression="keep")
    assert digest == memory.root.digest
    shown = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}:1"))
    assert shown["Digest"] == digest
    skopeo("copy", "--src-tls-verify=false", "--preserve-digests", f"docker://{name}:1", "dir:copy")
    assert digest_of("dir:copy") == digest


@pytest.mark.parametrize("format", ["oci", "v2s2"])
def test_we_read_what_skopeo_pushes(name: str, skopeo: Program, here: Path, format: str) -> None:
    memory = Memory()
    memory.image("a", "b")
    provide(memory, "oci:x:app")
    skopeo("copy", "--dest-tls-verify=false", "--format", format, "oci:x:app", f"docker://{name}:1")
    copied = copy_image(f"docker://{name}:1", "dir:d", source_access=ACCESS)
    assert copied.digest == json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}:1"))["Digest"]
    with closing(transports.source("dir:d")) as source:
        assert tars_of(source) == tars_of(memory)


def test_indexes_go_both_ways_to_the_same_digests(name: str, skopeo: Program, here: Path) -> None:
    memory = Memory()
    index = memory.index("linux/amd64", "linux/arm64")
    assert provide(memory, f"docker://{name}:ours") == index.digest
    flags = ["--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
    skopeo("copy", *flags, f"docker://{name}:ours", f"docker://{name}-theirs:1")
    assert digest_of(f"docker://{name}-theirs:1") == index.digest
    copied = copy_image(
        f"docker://{name}-theirs:1", f"docker://{name}-back:1", source_access=ACCESS, destination_access=ACCESS,
        multi_arch="all", preserve_digests=True,
    )  # fmt: skip
    assert copied.digest == index.digest


def test_what_we_inspect_is_what_skopeo_inspects(name: str, skopeo: Program, buildlib: Program) -> None:
    memory = Memory()
    memory.image("a", "b", annotations={"k": "v"})
    provide(memory, f"docker://{name}:1")
    provide(memory, f"docker://{name}:2")
    for flags in (
        [],
        ["--config"],
        ["--raw"],
        ["--raw", "--config"],
        ["--format", "{{.Name}} {{.Digest}} {{.Labels}}"],
    ):
        theirs = skopeo("inspect", "--tls-verify=false", *flags, f"docker://{name}:1")
        tags = ["--tags"] if not flags else []
        ours = buildlib("inspect", "--tls-verify=false", *tags, *flags, f"docker://{name}:1")
        if flags and flags[0] != "--config":
            assert ours == theirs
            continue
        document = json.loads(ours)
        document.pop("LayersData", None)  # Debian's skopeo is older than that
        assert document == json.loads(theirs)


def test_what_we_list_is_what_skopeo_lists(name: str, skopeo: Program, buildlib: Program) -> None:
    memory = Memory()
    memory.image("a")
    for tag in ("b", "a", "c"):
        provide(memory, f"docker://{name}:{tag}")
    flags = ["list-tags", "--tls-verify=false", f"docker://{name}"]
    assert buildlib(*flags) == skopeo(*flags)


@pytest.mark.parametrize("shared", [False, True])
def test_deleting_from_a_registry_that_can_only_delete_by_digest(name: str, buildlib: Program, shared: bool) -> None:
    memory = Memory()
    memory.image("a")
    provide(memory, f"docker://{name}:1")
    if not shared:
        memory.image("b")
    provide(memory, f"docker://{name}:2")
    buildlib("delete", "--tls-verify=false", *(["--all-tags"] if shared else []), f"docker://{name}:1")
    with pytest.raises(NotFound):
        digest_of(f"docker://{name}:1")
    if not shared:
        assert digest_of(f"docker://{name}:2") == memory.root.digest


@pytest.mark.root
def test_podman_runs_what_we_push(name: str, podman: Program, buildlib: Program, busybox_tar: str, here: Path) -> None:
    container = buildlib("from", f"tarball:{busybox_tar}").strip()
    buildlib("run", container, "--", "sh", "-c", "echo made here > /made")
    buildlib("config", "--cmd", "cat /made", container)
    buildlib("commit", "-q", container, "localhost/made")
    for compression in ("gzip", "zstd"):
        flags = ["-q", "--tls-verify=false", "--compression-format", compression]
        buildlib("push", *flags, "localhost/made", f"docker://{name}:{compression}")
        arguments = ["run", "--rm", "--network", "host", "--tls-verify=false", f"{name}:{compression}"]
        assert podman(*arguments) == "made here\n"


@pytest.mark.root
def test_we_run_what_buildah_pushes(
    name: str, buildah: Program, buildlib: Program, busybox_tar: str, here: Path
) -> None:
    (here / "Dockerfile").write_text(
        "FROM scratch\nADD busybox.tar /\nRUN echo made there > /made\nRUN rm /etc/group\n"
    )
    (here / "busybox.tar").write_bytes(Path(busybox_tar).read_bytes())
    buildah("bud", "-q", "--layers", "-t", "made", ".")
    for format in ("oci", "docker"):
        buildah("push", "-q", "--tls-verify=false", "--format", format, "made", f"docker://{name}:{format}")
        container = buildlib("from", "--pull=always", "--tls-verify=false", f"{name}:{format}").strip()
        assert (
            buildlib("run", container, "--", "sh", "-c", "cat /made; ls /etc/group /etc/passwd; true")
            == "made there\n/etc/passwd\n"
        )


@pytest.mark.root
def test_an_index_that_we_put_together_is_pulled_by_others(
    name: str, skopeo: Program, buildah: Program, buildlib: Program, here: Path
) -> None:
    memory = Memory()
    for arch in ("amd64", "arm64"):
        memory.image(arch, platform=f"linux/{arch}")
        provide(memory, f"docker://{name}-{arch}:1")
    plain = "--tls-verify=false"
    buildlib("manifest", "create", plain, "list", f"docker://{name}-amd64:1")
    buildlib("manifest", "add", plain, "list", f"docker://{name}-arm64:1")
    for format in ("oci", "v2s2"):
        buildlib("manifest", "push", "-q", plain, "--format", format, "list", f"docker://{name}:{format}")
        for arch in ("amd64", "arm64"):
            shown = skopeo("--override-arch", arch, "inspect", plain, f"docker://{name}:{format}")
            assert json.loads(shown)["Architecture"] == arch
        buildah("pull", "-q", plain, f"docker://{name}:{format}")
    buildah("manifest", "create", "theirs")
    buildah("manifest", "add", plain, "--all", "theirs", f"docker://{name}:oci")
    buildah("manifest", "push", plain, "--all", "theirs", f"docker://{name}:theirs")
    pulled = buildlib("pull", "-q", plain, "--all-platforms", f"docker://{name}:theirs").strip()
    listed = json.loads(buildlib("manifest", "inspect", pulled))
    assert [entry["platform"]["architecture"] for entry in listed["manifests"]] == ["amd64", "arm64"]


def test_logins_are_shared_with_skopeo(guarded_registry: str, skopeo: Program, buildlib: Program, here: Path) -> None:
    user, password = USER
    flags = ["--tls-verify=false", "--authfile", "auth.json"]
    buildlib("login", *flags, "-u", user, "-p", password, guarded_registry)
    memory = Memory()
    memory.image("a")
    provide(memory, "oci:x:1")
    skopeo("copy", "--authfile", "auth.json", "--dest-tls-verify=false", "oci:x:1", f"docker://{guarded_registry}/x:1")
    buildlib("logout", "--authfile", "auth.json", guarded_registry)
    skopeo("login", *flags, "-u", user, "-p", password, guarded_registry)
    assert buildlib("login", "--authfile", "auth.json", "--get-login", guarded_registry) == f"{user}\n"
    shown = json.loads(buildlib("inspect", *flags, f"docker://{guarded_registry}/x:1"))
    assert shown["Digest"] == memory.root.digest


@pytest.mark.parametrize(
    "verb", ["copy", "sync", "inspect", "delete", "list-tags", "login", "logout", "manifest-digest"]
)
def test_every_flag_of_skopeo_is_known(verb: str, skopeo: Program, buildlib: Program) -> None:
    theirs, ours = (set(re.findall(r"(?<= )--[a-z][a-z-]+", tool(verb, "--help"))) for tool in (skopeo, buildlib))
    assert theirs - ours - {"--policy", "--registries.d", "--command-timeout"} == set()


# --- large images -----------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.huge
def test_a_layer_of_five_gigabytes_is_pushed_and_pulled_in_little_memory(name: str, tmp_path: Path) -> None:
    """The layer is what compression makes little of, and the processes are held to less memory than any part of it."""
    root, file = tmp_path / "rootfs.tar", 5 << 30
    fill(root, file)
    limit = ["bash", "-c", 'ulimit -v 3000000; exec "$@"', "bash"]  # address space: Python and its threads need most
    ours = [*limit, *buildlib_command(tmp_path / "store")]
    watched(*ours, "pull", "-q", f"tarball:{root}")
    root.unlink()
    id = subprocess.run([*ours, "images", "-q"], capture_output=True, text=True, check=True).stdout.split()[0]
    peaks = [
        watched(*ours, "push", "-q", "--tls-verify=false", id, f"docker://{name}:1"),
        watched(
            *limit, *buildlib_command(tmp_path / "other"), "pull", "-q", "--tls-verify=false", f"docker://{name}:1"
        ),
    ]
    print(f"\npeak of the largest process, push and pull: {peaks} KiB")  # for who runs it with -s
    assert max(peaks) < 150_000, f"{peaks} KiB"
    listed = subprocess.run([*buildlib_command(tmp_path / "other"), "images", "-q", "--no-trunc"], capture_output=True)
    assert id in listed.stdout.decode()


def fill(path: Path, size: int) -> None:
    """A tar with one file of ``size`` bytes of noise that repeats so seldom that nothing compresses it."""
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("noise")
        info.size = size
        tar.addfile(info, Noise(size))


class Noise(io.RawIOBase):
    """``size`` bytes: a random block with a number in it, over and over."""

    def __init__(self, size: int) -> None:
        self._left, self._block, self._number = size, os.urandom(1 << 20), 0

    def read(self, size: int = -1, /) -> bytes:
        size = min(size, self._left, len(self._block))
        self._left -= size
        self._number += 1
        return (self._number.to_bytes(8, "big") + self._block)[:size]


def buildlib_command(store: Path) -> list[str]:
    return [PROGRAM, "--root", str(store)]


def watched(*argv: str) -> int:
    """Run a command; the peak of its largest process in KiB."""
    done = subprocess.run([sys.executable, "-c", WATCH, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


WATCH = """
import os, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
