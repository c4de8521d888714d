"""Images that buildah builds are read and run by us, and leave again with the digest they came with."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.interop.conftest import buildah_in, environment_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.store import Store
    from tests.interop.conftest import Program

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM scratch
ADD busybox.tar /
RUN echo one > /one && echo two > /two && mkdir /folder && touch /folder/old
RUN rm /one && rm -r /folder && mkdir /folder && touch /folder/new
ENV GREETING="hello you"
USER app
WORKDIR /home/app
HEALTHCHECK CMD true
ENTRYPOINT ["/bin/sh", "-c"]
"""


@pytest.fixture(scope="module")
def built(busybox_tar: str) -> Iterator[Program]:
    """buildah, with ``localhost/theirs`` and ``localhost/theirs-docker``, images of several layers, in its store."""
    with tempfile.TemporaryDirectory(prefix="built-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        context = folder / "context"
        context.mkdir()
        shutil.copy(busybox_tar, context / "busybox.tar")
        (context / "Dockerfile").write_text(DOCKERFILE)
        for buildah in buildah_in(folder, environment_in(folder)):
            buildah("bud", "--layers", "--format", "docker", "-t", "localhost/theirs-docker", str(context))
            buildah("bud", "--layers", "-t", "localhost/theirs", str(context))
            yield buildah


def test_we_run_what_buildah_built(built: Program, store: Store, tmp_path: Path) -> None:
    built("push", "localhost/theirs", f"oci-archive:{tmp_path}/theirs.tar")
    image = store.pull(f"oci-archive:{tmp_path}/theirs.tar")
    assert [entry.empty_layer for entry in image.history].count(False) == len(image.layers)
    with store.from_image(image) as container:
        done = container.run("echo $GREETING; id -un; pwd; ls / /folder", capture=True)
    lines = done.stdout.splitlines()
    assert lines[:3] == ["hello you", "app", "/home/app"]
    assert "two" in lines
    assert "one" not in lines
    assert lines[-1] == "new"


@pytest.mark.parametrize(
    ("transport", "name"),
    [("oci", "theirs"), ("oci-archive", "theirs"), ("dir", "theirs"), ("dir", "theirs-docker")],
)
def test_an_image_of_buildah_leaves_with_the_digest_it_came_with(
    transport: str, name: str, built: Program, store: Store, skopeo: Program, tmp_path: Path
) -> None:
    came, left = f"{transport}:{tmp_path}/came", f"{transport}:{tmp_path}/left"
    built("push", f"localhost/{name}", came)
    image = store.pull(came)
    image.push(left)
    before, after = (json.loads(skopeo("inspect", place)) for place in (came, left))
    assert after["Digest"] == before["Digest"] == str(image.digest)
    assert skopeo("inspect", "--raw", left) == skopeo("inspect", "--raw", came)


def test_a_docker_archive_of_buildah_keeps_its_config(
    built: Program, store: Store, skopeo: Program, tmp_path: Path
) -> None:
    came, left = f"docker-archive:{tmp_path}/came.tar", f"docker-archive:{tmp_path}/left.tar"
    built("push", "localhost/theirs-docker", f"{came}:localhost/theirs:1")
    image = store.pull(came)
    image.push(f"{left}:localhost/theirs:1")
    assert skopeo("inspect", "--config", "--raw", left) == skopeo("inspect", "--config", "--raw", came)


def test_we_build_on_a_base_of_buildah_and_buildah_builds_on_ours(built: Program, store: Store, tmp_path: Path) -> None:
    built("push", "localhost/theirs", f"oci:{tmp_path}/theirs")
    with store.from_image(f"oci:{tmp_path}/theirs") as container:
        container.run("echo three > /tmp/three")
        container.commit("localhost/ours:1").push(f"oci:{tmp_path}/ours")
    container_id = built("from", f"oci:{tmp_path}/ours").strip()
    assert built("run", container_id, "--", "cat", "/two", "/tmp/three") == "two\nthree\n"
