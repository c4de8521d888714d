"""What skopeo and umoci read in our images is what we put there."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.image import Image
    from buildlib.store import Store
    from tests.interop.conftest import Program

pytestmark = pytest.mark.root


@pytest.mark.parametrize("format", ["oci", "docker"])
def test_skopeo_reads_every_config_field_that_we_set(
    format: str, store: Store, busybox_image: Image, skopeo: Program, tmp_path: Path
) -> None:
    with store.from_image(busybox_image) as container:
        container.config(
            author="Somebody <somebody@example.com>",
            cmd=["a", "b c"],
            entrypoint=["/bin/sh"],
            env={"ONE": "1", "EMPTY": ""},
            labels={"team": "web", "with space": 'and "quotes"'},
            ports=["80/tcp", "53/udp"],
            stop_signal="SIGQUIT",
            user="app:video",
            volumes=["/data"],
            workdir="/srv",
        )
        image = container.commit("localhost/config:1", format=format)
    image.push(f"dir:{tmp_path}/image")
    shown = json.loads(skopeo("inspect", "--config", "--raw", f"dir:{tmp_path}/image"))
    assert shown["author"] == "Somebody <somebody@example.com>"
    assert shown["os"] == "linux"
    config = shown["config"]
    assert config["Cmd"] == ["a", "b c"]
    assert config["Entrypoint"] == ["/bin/sh"]
    assert {"ONE=1", "EMPTY="} <= set(config["Env"])
    assert config["Labels"] == {"team": "web", "with space": 'and "quotes"'}
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert config["StopSignal"] == "SIGQUIT"
    assert config["User"] == "app:video"
    assert set(config["Volumes"]) == {"/data"}
    assert config["WorkingDir"] == "/srv"
    inspected = json.loads(skopeo("inspect", f"dir:{tmp_path}/image"))
    assert inspected["Digest"] == str(image.digest)
    assert len(inspected["Layers"]) == len(image.layers)


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive", "dir"])
def test_skopeo_copies_our_image_and_the_config_stays_byte_for_byte(
    transport: str, store: Store, busybox_image: Image, skopeo: Program, tmp_path: Path
) -> None:
    suffix = "" if transport == "dir" else ":localhost/busybox:latest"
    busybox_image.push(f"{transport}:{tmp_path}/ours{suffix}")
    skopeo("copy", f"{transport}:{tmp_path}/ours", f"dir:{tmp_path}/copy")
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    assert manifest["config"]["digest"] == f"sha256:{busybox_image.id}"


def test_umoci_unpacks_the_same_tree_that_our_container_shows(
    store: Store, busybox_image: Image, umoci: Program, tmp_path: Path
) -> None:
    with store.from_image(busybox_image, cache=True) as container:
        container.run("mkdir -p /deep/er && echo 1 > /deep/er/f && ln /deep/er/f /deep/hard && ln -s er /deep/link")
        container.run("echo 2 > /deep/a && ln /deep/a /deep/b")
        container.run(
            "chmod 4755 /deep/er/f; chown app:video /deep; mkfifo /deep/pipe; echo > /gone; mkdir /full; touch /full/x"
        )
        container.run("rm /gone; rm -r /full && mkdir /full && touch /full/y; rm /bin/date")
        image = container.commit("localhost/tree:1")
        image.push(f"oci:{tmp_path}/layout:tree")
        umoci("unpack", "--image", f"{tmp_path}/layout:tree", str(tmp_path / "bundle"))
        ours = dict(tree(Path(container.mount())))
        container.umount()
    theirs = dict(tree(tmp_path / "bundle" / "rootfs"))
    assert theirs == ours
    assert "gone" not in ours
    assert "full/x" not in ours


def tree(root: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Every path beneath ``root`` with all that a layer carries of it; a further name of a file says of which one."""
    first: dict[int, str] = {}
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted([*names, *files]):
            path = Path(folder) / name
            relative = str(path.relative_to(root))
            found = path.lstat()
            regular = stat.S_ISREG(found.st_mode)
            content = path.read_bytes() if regular else str(path.readlink()) if stat.S_ISLNK(found.st_mode) else None
            # Not the number of links: for a file below the writable layer the kernel counts names that are gone.
            same = first.setdefault(found.st_ino, relative) if regular else relative
            yield relative, (found.st_mode, found.st_uid, found.st_gid, int(found.st_mtime), same, content)
