"""The same calls in every tier: whatever stacks the layers and shuts the command in, the image is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import RunTimeout
from buildlib.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.image import Image

pytestmark = pytest.mark.root

TIERS = [("fuse", "oci"), ("copy", "oci"), ("copy", "chroot"), ("overlay", "chroot")]


@pytest.fixture(params=TIERS, ids="-".join)
def other(request, tmp_path: Path) -> Iterator[Store]:
    """A store in one of the tiers."""
    driver, isolation = request.param
    if driver == "fuse":
        pytest.importorskip("pyfuse3", reason="pyfuse3 is not installed: pip install 'buildlib[fuse]'")
    with Store.open(str(tmp_path / "other"), driver=driver, isolation=isolation) as opened:
        yield opened


def build(store: Store, tar: str, context: Path) -> Image:
    """Steps that write, change, delete, replace, link and rename, each a layer."""
    with store.from_image(f"tarball:{tar}", cache=True) as c:
        c.run("mkdir -p /data/deep && echo one > /data/deep/one && ln /data/deep/one /data/two && chown -R 12:34 /data")
        c.copy("file", "/data/", context=context, chown="app:app")
        c.run("echo more >> /data/file && rm /data/two && chmod 4755 /bin/busybox && ln -s deep /data/link")
        c.run("rm -r /data/deep && mkdir /data/deep && echo new > /data/deep/new && mv /data/link /data/renamed")
        c.run("rm -r /home && cp -a /sbin /data/sbin && touch -d @5 /data/sbin && mkfifo /data/pipe", user="root")
        c.run("id -u > /tmp/mine && mkdir /tmp/own", user="app")
        c.mkdir("/made/by/us", mode=0o750)
        c.run("rm -r /data/sbin; echo done > /data/deep/one; test ! -e /home")
        return c.commit("localhost/tiers", timestamp=1_000_000_000)


def context_in(folder: Path) -> Path:
    (folder / "context").mkdir()
    (folder / "context/file").write_text("from the context\n")
    return folder / "context"


def test_the_image_is_the_same(store, other, busybox_tar, tmp_path):
    context = context_in(tmp_path)
    image = build(other, busybox_tar, context)
    expected = build(store, busybox_tar, context)
    assert image.config.diff_ids == expected.config.diff_ids
    assert image.digest == expected.digest


def test_what_fails_says_so_and_what_it_wrote_is_there(other, busybox_tar):
    with other.from_image(f"tarball:{busybox_tar}") as c:
        done = c.run("echo kept > /kept; exit 7", check=False)
        assert done.exit_code == 7
        assert c.run("cat /kept", capture=True).stdout == "kept\n"
        assert c.run(["/nowhere"], check=False).exit_code == 127
        assert {change.path for change in c.diff()} == {"/kept"}


def test_a_command_that_takes_too_long_leaves_no_process(other, busybox_tar):
    name = f"lives-{os.getpid()}"
    with other.from_image(f"tarball:{busybox_tar}") as c:
        with pytest.raises(RunTimeout):
            c.run(f"setsid sh -c 'sleep 100; : {name}' & sleep 100", timeout=0.5)
        assert named(name) == []
        assert c.run("echo on", capture=True).stdout == "on\n"


def test_what_a_command_leaves_running_ends_with_it(other, busybox_tar):
    name = f"stays-{os.getpid()}"
    with other.from_image(f"tarball:{busybox_tar}") as c:
        c.run(f"setsid sh -c 'sleep 100; : {name}' > /dev/null 2>&1 & sleep 0.2")
        assert named(name) == []


def test_secrets_caches_and_other_mounts(other, busybox_tar, tmp_path):
    import buildlib

    context = context_in(tmp_path)
    with other.from_image(f"tarball:{busybox_tar}") as c:
        cache = buildlib.Cache("/var/cache/x", id="x")
        secret = buildlib.Secret("token", value=b"hush")
        c.run("cat /run/secrets/token > /tmp/seen; echo 1 > /var/cache/x/kept", mounts=[cache, secret])
        mounts = [cache, buildlib.Bind(str(context), "/mnt/c"), buildlib.Tmpfs("/scratch")]
        done = c.run("cat /tmp/seen /var/cache/x/kept /mnt/c/file; echo x > /scratch/x", mounts=mounts, capture=True)
        assert done.stdout == "hush1\nfrom the context\n"
        writable = buildlib.Bind(str(context), "/mnt/c", rw=True)
        c.run("echo thrown away > /mnt/c/file; echo n > /mnt/c/new; test -s /mnt/c/new", mounts=[writable])
        assert [path.name for path in context.iterdir()] == ["file"]
        assert (context / "file").read_text() == "from the context\n"
        paths = {change.path for change in c.diff() if change.kind != "changed"}
        assert paths == {"/tmp/seen"}
        assert c.run("test ! -e /run/secrets/token", check=False).exit_code == 0


def test_two_containers_at_once(other, busybox_tar):
    from concurrent.futures import ThreadPoolExecutor

    def one(number: int) -> str:
        with other.from_image(f"tarball:{busybox_tar}") as c:
            for step in range(3):
                c.run(f"echo {number}.{step} >> /file")
            return c.run("cat /file", capture=True).stdout

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(one, range(3))) == [f"{n}.0\n{n}.1\n{n}.2\n" for n in range(3)]


def test_copying_from_another_image(other, busybox_tar):
    with other.from_image(f"tarball:{busybox_tar}") as c:
        c.run("mkdir /out; echo made > /out/file; ln -s file /out/link")
        image = c.commit("localhost/source")
    with other.from_image(f"tarball:{busybox_tar}") as c:
        c.copy("/out", "/in", from_=image)
        assert c.run("cat /in/link", capture=True).stdout == "made\n"
        assert c.read_file("/in/file") == b"made\n"


def test_squashed_it_is_one_layer(other, busybox_tar):
    with other.from_image(f"tarball:{busybox_tar}") as c:
        c.run("rm /etc/group; echo x > /x")
        image = c.commit("localhost/squashed", squash=True)
    assert len(image.layers) == 1
    with other.from_image(image) as c:
        assert c.run("ls /etc/passwd /etc/group; cat /x", capture=True, check=False).stdout == "/etc/passwd\nx\n"


@pytest.mark.parametrize("driver", ["fuse", "copy"])
def test_in_a_user_namespace_it_is_the_same_too(driver, busybox_tar, tmp_path):
    """One id, no device nodes, marks in ``user.*``: what can be built there comes out as with the kernel's overlay."""
    if driver == "fuse":
        pytest.importorskip("pyfuse3", reason="pyfuse3 is not installed: pip install 'buildlib[fuse]'")
    script = """set -e
        buildlib() { "$PYTHON" -m buildlib --root "$ROOT" --storage-driver "$DRIVER" "$@"; }
        c=$(buildlib from tarball:"$TAR")
        buildlib run "$c" -- sh -c 'rm /etc/group /bin/vi; rm -r /home; mkdir /home; echo > /home/new; ln /home/new /x'
        buildlib commit --timestamp 0 "$c" localhost/t
    """
    digests = set()
    for each in (driver, "overlay"):
        environment = {**os.environ, "PYTHON": sys.executable, "ROOT": f"{tmp_path}/{each}", "DRIVER": each}
        argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
        done = subprocess.run(argv, env=environment | {"TAR": busybox_tar}, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


def named(name: str) -> list[str]:
    """Processes with this word on their command line."""
    for _ in range(40):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if name.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                    found.append(folder.name)
            except OSError:
                continue
        if not found:
            return []
        time.sleep(0.05)
    return found
