"""Stores that real podman, buildah and skopeo share with us: each sees, runs and removes what the others wrote."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from buildlib import transports
from buildlib.errors import NotFound
from buildlib.linux.mount import MNT_DETACH, umount
from buildlib.transports import writing
from buildlib.transports.copy import copy

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from transports.images import Memory, layer_tar, manifest_of, tars_of
from transports.storage import FOLDER, LINK, SYMLINK, stack, tar, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.oci import Digest

    from .conftest import Program

pytestmark = pytest.mark.root


@attrs.frozen
class Storage:
    """A store, and the programs that are pointed at it."""

    root: Path
    podman: Program
    buildah: Program
    skopeo: Program
    driver: str = "overlay"

    def name(self, image: str = "localhost/app:1") -> str:
        return f"containers-storage:[{self.driver}@{self.root}+{self.root}-run]{image}"

    def put(self, source: object, image: str = "localhost/app:1", **options: object) -> Digest:
        """Write an image ourselves."""
        with writing(transports.destination(self.name(image))) as destination:
            return copy(source, destination, **options).digest

    def content(self, image: str = "localhost/app:1") -> tuple[Digest, list[bytes]]:
        """What we read: the digest of the config and the archives of the layers."""
        with closing(transports.source(self.name(image))) as source:
            return manifest_of(source).config.digest, tars_of(source)

    def list(self, kind: str) -> list[dict[str, object]]:
        found = json.loads((self.root / f"{self.driver}-{kind}/{kind}.json").read_bytes())
        return sorted(found, key=lambda record: str(record["id"]))


@pytest.fixture
def make(tools: Path, podman: Program, buildah: Program, skopeo: Program) -> Iterator[object]:
    """Makes stores by name; in the end nothing of them is mounted."""
    made = []

    def new(name: str, driver: str = "overlay") -> Storage:
        root = tools / name
        place = ("--root", str(root), "--runroot", f"{root}-run", "--storage-driver", driver)
        own = attrs.evolve(podman, arguments=(*place, "--cgroup-manager", "cgroupfs", "--events-backend", "none"))
        made.append(Storage(root, own, attrs.evolve(buildah, arguments=place), skopeo, driver))
        return made[-1]

    yield new
    for storage in made:
        storage.podman("rm", "--all", "--force", check=False)
        storage.buildah("rm", "--all", check=False)
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for point in reversed([point for point in points if point.startswith(f"{storage.root}/")]):
            umount(point, MNT_DETACH)


@pytest.fixture
def storage(make) -> Storage:
    return make("ours")


@pytest.fixture
def busybox(busybox_tar: str) -> Memory:
    """An image that runs: busybox, and a layer that changes, deletes and replaces."""
    base = Path(busybox_tar).read_bytes()
    top = tar(
        ("etc/", FOLDER, {"mode": 0o755}),
        ("etc/.wh.group", b""),
        ("etc/hello", b"hello from the second layer\n", {"mode": 0o644, "uid": 1000, "gid": 1000}),
        ("etc/again", LINK, {"linkname": "etc/hello", "uid": 1000, "gid": 1000}),
        ("home/.wh..wh..opq", b""),
        ("home/new", SYMLINK, {"linkname": "/etc/hello"}),
        ("bin/tool", b"#!/bin/sh\necho tool $(id -u)\n", {"mode": 0o4755}),
        ("srv/caf\udce9", b"not UTF-8"),
    )
    return stack(base, top)


# --- they see and run what we wrote -----------------------------------------------------------------------------------


def test_podman_runs_what_we_wrote(storage: Storage, busybox: Memory) -> None:
    storage.put(busybox)
    script = "cat /home/new; tool; ls /etc/group /home; stat -c %u:%a /etc/hello /bin/tool /srv/caf*"
    out = storage.podman("run", "--rm", "--network", "host", "localhost/app:1", "/bin/sh", "-c", f"{script}; true")
    assert out.splitlines() == ["hello from the second layer", "tool 0", "/home:", "new", "1000:644", "0:4755", "0:644"]


def test_buildah_works_on_what_we_wrote_and_we_read_its_image(storage: Storage, busybox: Memory) -> None:
    storage.put(busybox)
    container = storage.buildah("from", "--pull-never", "localhost/app:1").strip()
    storage.buildah("run", container, "--", "sh", "-c", "echo more > /etc/more && rm /etc/hello")
    storage.buildah("config", "--cmd", "cat /etc/more", container)
    storage.buildah("commit", container, "localhost/built:1")
    storage.buildah("rm", container)
    _, tars = storage.content("localhost/built:1")
    assert tars[:2] == tars_of(busybox)
    assert storage.podman("run", "--rm", "--network", "host", "localhost/built:1") == "more\n"


def test_skopeo_sees_the_same_image(storage: Storage, busybox: Memory) -> None:
    written = storage.put(busybox)
    assert storage.skopeo("inspect", "--format", "{{.Digest}}", storage.name()).strip() == written
    assert json.loads(storage.skopeo("inspect", "--raw", storage.name())) == json.loads(
        busybox.content[busybox.root.digest]
    )


def test_they_give_the_archives_back_as_they_were(storage: Storage, busybox: Memory, tools: Path) -> None:
    storage.put(busybox)
    storage.skopeo("copy", storage.name(), f"dir:{tools}/by-skopeo")
    storage.podman("push", "localhost/app:1", f"oci-archive:{tools}/by-podman.tar")
    storage.podman("save", "--format", "docker-archive", "-o", f"{tools}/saved.tar", "localhost/app:1")
    for name in (f"dir:{tools}/by-skopeo", f"oci-archive:{tools}/by-podman.tar", f"docker-archive:{tools}/saved.tar"):
        with closing(transports.source(name)) as source:
            assert tars_of(source) == tars_of(busybox)


def test_podman_lists_tags_and_removes_what_we_wrote(storage: Storage, busybox: Memory) -> None:
    storage.put(busybox)
    storage.put(stack(tars_of(busybox)[0], layer_tar("x")), "localhost/other:1")
    rows = storage.podman("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").split()
    assert sorted(rows[::2]) == ["localhost/app:1", "localhost/other:1"]
    assert f"sha256:{manifest_of(busybox).config.digest.hex}" in rows
    storage.podman("tag", "localhost/app:1", "localhost/more:2")
    assert storage.content("localhost/more:2") == storage.content()
    storage.podman("rmi", "localhost/app:1", "localhost/more:2")
    assert len(storage.list("layers")) == 2
    storage.podman("rmi", "localhost/other:1")
    assert storage.list("layers") == storage.list("images") == []
    left = {path.name for path in (storage.root / "overlay").iterdir()}
    assert left <= {"l", ".has-mount-program"}
    assert not list((storage.root / "overlay/l").iterdir())
    assert not list((storage.root / "overlay-layers").glob("*.gz"))


def test_an_engine_that_is_running_sees_our_image_at_once(storage: Storage, busybox: Memory, tools: Path) -> None:
    socket = tools / "api.sock"
    argv = [storage.podman.name, *storage.podman.arguments, "system", "service", "--time", "0", f"unix://{socket}"]
    service = subprocess.Popen(argv, env=storage.podman.environment, stderr=subprocess.DEVNULL)
    try:
        remote = attrs.evolve(storage.podman, arguments=("--remote", "--url", f"unix://{socket}"))
        for _ in range(100):
            if socket.exists():
                break
            time.sleep(0.1)
        assert "localhost/app" not in remote("images")
        for number in range(3):
            storage.put(busybox if not number else stack(layer_tar(f"{number}")), f"localhost/app:{number}")
            assert len([line for line in remote("images").splitlines() if "localhost/app" in line]) == number + 1
        remote("rmi", "localhost/app:1")
        with pytest.raises(NotFound, match="no such image"):
            storage.content("localhost/app:1")
    finally:
        service.terminate()
        service.wait()


def test_we_write_while_a_container_of_the_image_runs(storage: Storage, busybox: Memory) -> None:
    storage.put(busybox)
    container = storage.podman("run", "-d", "--network", "host", "localhost/app:1", "sleep", "100").strip()
    try:
        points = Path("/proc/self/mountinfo").read_text()
        assert f" {storage.root}/overlay " in points  # podman mounts it onto itself
        storage.put(stack(*tars_of(busybox), layer_tar("x")), "localhost/more:1")
        assert storage.podman("run", "--rm", "--network", "host", "localhost/more:1", "ls", "/x") == "/x\n"
        assert storage.podman("exec", container, "cat", "/etc/hello") == "hello from the second layer\n"
    finally:
        storage.podman("rm", "--force", "--time", "0", container)


# --- the same store, whoever writes it --------------------------------------------------------------------------------

VARYING = {"created", "metadata", "big-data-names", "big-data-sizes", "big-data-digests"}


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_our_store_is_like_skopeo_s(make, busybox: Memory, tools: Path, docker: bool, compression: str) -> None:
    if docker and compression == "zstd":
        docker = False
    with writing(transports.destination(f"dir:{tools}/image")) as destination:
        copy(busybox, destination, format="docker" if docker else "oci", compression=compression)
    ours, theirs = make("ours"), make("theirs")
    with closing(transports.source(f"dir:{tools}/image")) as source:
        written = ours.put(source)
    theirs.skopeo("copy", f"dir:{tools}/image", theirs.name())
    assert theirs.skopeo("inspect", "--format", "{{.Digest}}", theirs.name()).strip() == written

    for kind in ("layers", "images"):
        for mine, other in zip(ours.list(kind), theirs.list(kind), strict=True):
            assert {k: v for k, v in mine.items() if k not in VARYING} == {
                k: v for k, v in other.items() if k not in VARYING
            }
    for record in ours.list("layers"):
        layer = record["id"]
        one, two = ours.root / f"overlay/{layer}", theirs.root / f"overlay/{layer}"
        assert tree(one / "diff") == tree(two / "diff")
        assert modes(one) == modes(two)
        split = f"overlay-layers/{layer}.tar-split.gz"
        assert joined(ours.root / split) == joined(theirs.root / split)
        assert (ours.root / split).stat().st_mode == (theirs.root / split).stat().st_mode
    image = ours.list("images")[0]["id"]
    mine, other = (files(store.root / f"overlay-images/{image}") for store in (ours, theirs))
    assert mine.items() <= other.items()  # skopeo notes that there are no signatures
    assert ours.content() == theirs.content() == (manifest_of(busybox).config.digest, tars_of(busybox))


def modes(folder: Path) -> dict[str, int]:
    """Kinds and permissions of what is in a folder."""
    return {path.name: path.lstat().st_mode for path in folder.iterdir()}


def files(folder: Path) -> dict[str, bytes]:
    """The files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def joined(split: Path) -> list[tuple[object, ...]]:
    """The entries of a tar-split; segments side by side count as one, for where they are cut means nothing."""
    import base64

    found: list[tuple[object, ...]] = []
    for line in gzip.decompress(split.read_bytes()).splitlines():
        entry = json.loads(line)
        payload = base64.b64decode(entry["payload"] or "")
        if entry["type"] == 2 and found and found[-1][0] == 2:
            payload = found.pop()[1] + payload
        found.append((entry["type"], payload, entry.get("name"), entry.get("name_raw"), entry.get("size")))
    return found


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_we_read_what_podman_loaded(make, busybox: Memory, tools: Path, driver: str) -> None:
    theirs = make("theirs", driver)
    with writing(transports.destination(f"docker-archive:{tools}/image.tar:localhost/app:1")) as destination:
        copy(busybox, destination)
    theirs.podman("load", "-i", f"{tools}/image.tar")
    assert theirs.content() == (manifest_of(busybox).config.digest, tars_of(busybox))
    # podman calls plain layers gzipped in its manifest; we do not.
    with closing(transports.source(theirs.name())) as source:
        layers = manifest_of(source).layers
    raw = json.loads(theirs.skopeo("inspect", "--raw", theirs.name()))
    assert [layer.digest for layer in layers] == [layer["digest"] for layer in raw["layers"]]
    assert {layer.media_type for layer in layers} == {"application/vnd.docker.image.rootfs.diff.tar"}


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
@pytest.mark.parametrize("format", ["oci", "docker"])
def test_plain_images_keep_their_digest_from_store_to_store(make, busybox: Memory, driver: str, format: str) -> None:
    theirs, ours, third = make("theirs", driver), make("ours"), make("third")
    with writing(transports.destination(f"dir:{theirs.root}-image")) as destination:
        digest = copy(busybox, destination, format=format, compression="none").digest
    theirs.skopeo("copy", f"dir:{theirs.root}-image", theirs.name())
    with closing(transports.source(theirs.name())) as source:
        assert ours.put(source) == digest
    ours.skopeo("copy", ours.name(), third.name())
    with closing(transports.source(third.name())) as source:
        assert source.resolve().digest == digest
    assert third.podman("image", "inspect", "--format", "{{.Digest}}", "localhost/app:1").strip() == digest


def test_we_read_what_buildah_built(make, busybox: Memory, tools: Path) -> None:
    theirs = make("theirs")
    theirs.put(busybox, "localhost/base:1")
    file = tools / "Dockerfile"
    file.write_text("FROM localhost/base:1\nRUN rm /etc/hello && echo x > /etc/x\nRUN mkdir -p /a/b\n")
    theirs.buildah("bud", "--layers", "--pull-never", "-t", "localhost/built:1", "-f", str(file), str(tools))
    theirs.skopeo("copy", theirs.name("localhost/built:1"), f"dir:{tools}/t")
    config, tars = theirs.content("localhost/built:1")
    with closing(transports.source(f"dir:{tools}/t")) as source:
        assert (manifest_of(source).config.digest, tars_of(source)) == (config, tars)
    assert len(tars) == 4


# --- together ---------------------------------------------------------------------------------------------------------


def test_we_and_podman_write_at_the_same_time(storage: Storage, busybox: Memory, tools: Path) -> None:
    for number in range(6):
        with writing(transports.destination(f"oci:{tools}/layout:{number}")) as destination:
            copy(stack(*tars_of(busybox), layer_tar(f"theirs {number}")), destination)
    number = 0
    with ThreadPoolExecutor(1) as pool:
        pull = lambda n: storage.podman("pull", "-q", f"oci:{tools}/layout:{n}").strip()  # noqa: E731
        pulling = pool.submit(lambda: [pull(n) for n in range(6)])
        while not pulling.done() or number < 6:
            storage.put(stack(*tars_of(busybox), layer_tar(f"ours {number}")), f"localhost/ours:{number}")
            number += 1
    ids = pulling.result()
    assert len(set(ids)) == 6
    for image in [*(f"@{each}" for each in ids), *(f"localhost/ours:{n}" for n in range(number))]:
        assert storage.content(image)[1][:2] == tars_of(busybox)
    assert len(storage.list("layers")) == 2 + 6 + number
    for image in (ids[0], "localhost/ours:0"):
        out = storage.podman("run", "--rm", "--network", "host", image, "cat", "/etc/hello")
        assert out == "hello from the second layer\n"


KILLED = """
import os, signal, sys, threading
from buildlib import transports
from buildlib.transports import writing
from buildlib.transports.copy import copy

count, last = 0, int(sys.argv[3])

def watch(event, arguments):
    global count
    if event == "os.rename":
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

with writing(transports.destination(sys.argv[1])) as destination:
    source = transports.source(sys.argv[2])
    sys.addaudithook(watch)
    copy(source, destination)
print(count)
"""


def test_podman_goes_on_where_we_were_killed(storage: Storage, busybox: Memory, tools: Path) -> None:
    storage.put(stack(tars_of(busybox)[0]), "localhost/old:1")
    with writing(transports.destination(f"oci:{tools}/layout")) as destination:
        copy(busybox, destination)
    step = 0
    while True:
        step += 1
        argv = [sys.executable, "-c", KILLED, storage.name("localhost/new:1"), f"oci:{tools}/layout", str(step)]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert storage.podman("run", "--rm", "--network", "host", "localhost/old:1", "echo", "fine") == "fine\n"
        images = storage.podman("images", "--format", "{{.Repository}}")
        if step % 2:
            storage.podman("pull", "-q", f"oci:{tools}/layout")  # podman makes the very layers that we began
            storage.podman("rmi", "--force", manifest_of(busybox).config.digest.hex)
        elif "localhost/new" in images:
            storage.podman("rmi", "localhost/new:1")
    assert step > 5
    assert storage.podman("run", "--rm", "--network", "host", "localhost/new:1", "tool") == "tool 0\n"
    assert not list(storage.root.rglob(".buildlib-*"))
