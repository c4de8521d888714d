"""A real docker daemon, started for these tests on a socket and in folders of its own: it loads, runs and saves."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from buildlib import transports
from buildlib.errors import DigestMismatch, NotFound, TransportError, UsageError
from buildlib.oci import mediatype
from buildlib.transports import writing
from buildlib.transports.copy import copy

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from transports.images import Memory, layer_tar, manifest_of, tars_of
from transports.storage import stack

if TYPE_CHECKING:
    from .conftest import Program

pytestmark = pytest.mark.root


@attrs.frozen
class Docker:
    """A daemon and its socket."""

    host: str

    def __call__(self, *arguments: str) -> str:
        """The docker command; a failure fails the test."""
        program = shutil.which("docker")
        if program is None:
            pytest.skip("docker's command is not installed: apt-get install docker.io")
        done = subprocess.run([program, "--host", self.host, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def put(self, source: object, name: str = "localhost/app:1", **options: object) -> object:
        with writing(transports.destination(f"docker-daemon:{name}", daemon_host=self.host)) as destination:
            return copy(source, destination, **options)

    def get(self, name: str = "localhost/app:1") -> closing:
        return closing(transports.source(f"docker-daemon:{name}", daemon_host=self.host))


@pytest.fixture(scope="session")
def docker(docker_host: str) -> Docker:
    """The one daemon of all tests."""
    return Docker(docker_host)


@pytest.fixture
def busybox(busybox_tar: str) -> Memory:
    return stack(Path(busybox_tar).read_bytes(), layer_tar("hello", b"hello from the second layer\n"))


def test_docker_runs_what_we_loaded(docker: Docker, busybox: Memory) -> None:
    docker.put(busybox)
    assert manifest_of(busybox).config.digest == docker("images", "-q", "--no-trunc", "localhost/app:1").strip()
    out = docker("run", "--rm", "--network", "none", "localhost/app:1", "/bin/cat", "/hello")
    assert out == "hello from the second layer\n"


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_what_we_loaded_comes_back(docker: Docker, busybox: Memory, compression: str) -> None:
    memory = stack(*tars_of(busybox), layer_tar(compression), compression=compression)
    written = docker.put(memory)
    with docker.get() as source:
        assert source.reference == ("localhost", "app", "1", None)
        assert source.resolve().digest == written.digest
        assert manifest_of(source).media_type == mediatype.DOCKER_MANIFEST
        assert manifest_of(source).config.digest == manifest_of(memory).config.digest
        assert tars_of(source) == tars_of(memory)


def test_skopeo_reads_the_same_from_the_daemon(docker: Docker, skopeo: Program, busybox: Memory, tools: Path) -> None:
    docker.put(busybox)
    skopeo("copy", "--src-daemon-host", docker.host, "docker-daemon:localhost/app:1", f"dir:{tools}/theirs")
    raw = json.loads((tools / "theirs/manifest.json").read_bytes())
    with docker.get() as source:
        manifest = manifest_of(source)
    assert raw["config"]["digest"] == manifest.config.digest
    assert [layer["digest"] for layer in raw["layers"]] == [layer.digest for layer in manifest.layers]


def test_we_read_what_docker_built_and_what_skopeo_loaded(
    docker: Docker, skopeo: Program, busybox: Memory, tools: Path
) -> None:
    with writing(transports.destination(f"oci:{tools}/layout:app")) as destination:
        copy(busybox, destination)
    skopeo("copy", "--dest-daemon-host", docker.host, f"oci:{tools}/layout:app", "docker-daemon:localhost/theirs:1")
    container = docker("create", "--network", "none", "localhost/theirs:1", "/bin/true").strip()
    (tools / "file").write_text("x")
    docker("cp", f"{tools}/file", f"{container}:/file")
    docker("commit", container, "localhost/committed:1")
    docker("rm", container)
    with docker.get("localhost/theirs:1") as source:
        assert tars_of(source) == tars_of(busybox)
    with docker.get("localhost/committed:1") as source:
        assert tars_of(source)[:2] == tars_of(busybox)
        assert len(tars_of(source)) == 3


def test_an_image_is_found_by_its_id(docker: Docker, busybox: Memory) -> None:
    docker.put(busybox)
    with docker.get(str(manifest_of(busybox).config.digest)) as source:
        assert source.reference is None
        assert tars_of(source) == tars_of(busybox)


def test_the_archive_is_spooled_where_we_say(docker: Docker, busybox: Memory, tmp_path: Path) -> None:
    docker.put(busybox)
    name = "docker-daemon:localhost/app:1"
    with closing(transports.source(name, daemon_host=docker.host, tmp=str(tmp_path))) as source:
        assert list(tmp_path.iterdir()) == []
        assert tars_of(source) == tars_of(busybox)
    with pytest.raises(Exception, match="No such file"):
        transports.source(name, daemon_host=docker.host, tmp=str(tmp_path / "none"))


def test_an_image_that_is_not_there_is_an_error(docker: Docker) -> None:
    with pytest.raises(NotFound, match="localhost/none:1") as caught:
        docker.get("localhost/none:1")
    assert caught.value.hint == "see `docker images`"


def test_nothing_is_loaded_of_an_image_that_is_damaged(docker: Docker, busybox: Memory) -> None:
    memory = stack(layer_tar("a"), layer_tar("b"), compression="none")
    digest = manifest_of(memory).layers[1].digest
    memory.content[digest] = memory.content[digest].replace(b"content", b"CONTENT")
    with pytest.raises(DigestMismatch):
        docker.put(memory, "localhost/damaged:1")
    assert "localhost/damaged" not in docker("images")


def test_what_the_daemon_refuses_is_told(docker: Docker) -> None:
    memory = stack(layer_tar("a"))
    # A layer that no tar is, which we move and the daemon unpacks.
    bad = stack(b"this is no archive" * 100)
    with pytest.raises(TransportError, match=r"docker-daemon:localhost/bad:1: .*(tar|archive|EOF)"):
        docker.put(bad, "localhost/bad:1")
    docker.put(memory, "localhost/good:1")


# --- no daemon --------------------------------------------------------------------------------------------------------


def test_the_command_line_finds_the_daemon_by_its_flags_or_as_docker_does(
    docker: Docker, busybox: Memory, tmp_path: Path
) -> None:
    docker.put(busybox, "localhost/cli:1")
    program = [str(Path(sys.executable).parent / "buildlib"), "--root", str(tmp_path / "store")]

    def run(*arguments: str, **environment: str) -> str:
        env = {**os.environ, **environment}
        done = subprocess.run([*program, *arguments], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    here = {"DOCKER_HOST": docker.host}
    id = run("pull", "-q", "docker-daemon:localhost/cli:1", **here)
    run("push", "-q", id, "docker-daemon:localhost/cli:2", **here)
    assert run("inspect", "--format", "{{.Os}}", "docker-daemon:localhost/cli:2", **here) == "linux"
    elsewhere = {"DOCKER_HOST": "unix:///nowhere"}
    flags = ["--src-daemon-host", docker.host, "--dest-daemon-host", docker.host]
    run("copy", "-q", *flags, "docker-daemon:localhost/cli:2", "docker-daemon:localhost/cli:3", **elsewhere)
    listed = docker("images", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", "localhost/cli").split()
    assert sorted(listed[::2]) == ["1", "2", "3"]
    assert set(listed[1::2]) == {f"sha256:{id}"}


def test_no_daemon_is_a_clear_error(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/nobody"
    for use in (transports.source, transports.destination):
        with pytest.raises(TransportError, match="no docker daemon answers") as caught:
            use("docker-daemon:app", daemon_host=host)
        assert "running" in caught.value.hint
    with pytest.raises(TransportError, match="no docker daemon answers"):
        transports.source("docker-daemon:app", daemon_host="http://127.0.0.1:1")


@pytest.mark.parametrize("host", ["/var/run/docker.sock", "ssh://me@there", "fd://3", "unix://"])
def test_an_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="docker-daemon"):
        transports.source("docker-daemon:app", daemon_host=host)


def test_names_that_can_t_be_written_are_refused(docker: Docker) -> None:
    for name in (f"sha256:{'0' * 64}", f"app@sha256:{'0' * 64}"):
        with pytest.raises(UsageError):
            transports.destination(f"docker-daemon:{name}", daemon_host=docker.host)


def test_a_daemon_that_hangs_up_is_told(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        server.listen()

        def answer(reply: bytes) -> None:
            client, _ = server.accept()
            client.recv(1 << 16)
            client.sendall(reply)
            client.close()

        for reply in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", b"nonsense\r\n\r\n"):
            thread = threading.Thread(target=answer, args=(reply,))
            thread.start()
            with pytest.raises(TransportError, match=r"broke off"):
                transports.source("docker-daemon:app", daemon_host=f"unix://{tmp_path}/sock")
            thread.join()
        refusal = b'HTTP/1.1 500 Oops\r\nContent-Length: 24\r\n\r\n{"message": "too early"}'
        thread = threading.Thread(target=answer, args=(refusal,))
        thread.start()
        memory = stack(gzip.compress(os.urandom(8 << 20)), compression="none")
        with pytest.raises(TransportError, match=r"too early|hung up|broke off"):
            Docker(f"unix://{tmp_path}/sock").put(memory)
        thread.join()
