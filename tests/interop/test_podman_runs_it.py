"""Images that we build, from Python and from a Dockerfile, are run by a real podman, whichever archive carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.image import Image
    from buildlib.store import Store
    from tests.interop.conftest import Program

pytestmark = pytest.mark.root

RUN = ("run", "--rm", "--network", "host")

DOCKERFILE = """\
FROM localhost/busybox
RUN echo first > /first && echo second > /second && mkdir /folder && touch /folder/old
RUN rm /first && rm -r /folder && mkdir /folder && touch /folder/new
RUN chown app:video /second && chmod 2750 /second
WORKDIR /srv
COPY --chown=app data ./data
ENV GREETING="hello you"
USER app
CMD ["sh", "-c", "echo $GREETING; id -un; pwd; ls / /folder /srv/data; stat -c '%a %u:%g' /second /srv/data"]
"""

EXPECTED = """\
hello you
app
/srv
"""


def carried(image: Image, transport: str, folder: Path) -> str:
    """Push ``image`` through a transport; the argument for ``podman pull``."""
    path = folder / f"{transport}.carrier"
    image.push(f"{transport}:{path}:localhost/carried:1")
    return f"{transport}:{path}:localhost/carried:1" if transport == "docker-archive" else f"{transport}:{path}"


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive", "oci"])
def test_podman_runs_an_image_built_from_python(
    transport: str, store: Store, busybox_image: Image, podman: Program, tmp_path: Path
) -> None:
    with store.from_image(busybox_image) as container:
        container.run("echo from python > /srv-file; ln -s /srv-file /link; mkfifo /pipe")
        container.config(env={"NAME": "value with spaces"}, workdir="/tmp", user="app", entrypoint=["/bin/sh", "-c"])
        container.config(cmd=['echo "$NAME" $(id -u) $(pwd); cat /link; test -p /pipe'])
        image = container.commit("localhost/from-python:1")
    name = podman("pull", "--quiet", carried(image, transport, tmp_path)).split()[-1]
    assert podman(*RUN, name) == "value with spaces 1000 /tmp\nfrom python\n"


def test_podman_runs_an_image_built_from_a_dockerfile(
    store: Store, busybox_image: Image, podman: Program, bud: Program, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    (context / "data").mkdir(parents=True)
    (context / "data" / "file").write_text("x")
    (context / "Dockerfile").write_text(DOCKERFILE)
    bud("-t", "localhost/from-dockerfile:1", str(context))
    image = store.image("localhost/from-dockerfile:1")
    name = podman("pull", "--quiet", carried(image, "oci-archive", tmp_path)).split()[-1]
    printed = podman(*RUN, name)
    assert printed.startswith(EXPECTED)
    assert "2750 1000:44\n755 1000:1000\n" in printed
    words = printed.split()
    assert "first" not in words, "a removed file is gone"
    assert "old" not in words, "what a replaced folder held is gone"
    assert "new" in words


def test_podman_sees_the_same_tree_whether_an_image_is_squashed_or_not(
    store: Store, busybox_image: Image, podman: Program, tmp_path: Path
) -> None:
    with store.from_image(busybox_image, cache=True) as container:
        container.run("mkdir -p /d/e && echo 1 > /d/e/f && ln /d/e/f /d/hard")
        container.run("rm /d/e/f && echo 2 > /d/g")
        layered = container.commit("localhost/layered:1")
        squashed = container.commit("localhost/squashed:1", squash=True)
    assert len(squashed.layers) == 1
    listing = (
        "sh",
        "-c",
        "cd / && find bin d etc home root tmp usr var | sort | xargs stat -c '%n %a %u %g %F'; cat /d/hard",
    )
    seen = []
    for image, transport in ((layered, "docker-archive"), (squashed, "oci-archive")):
        name = podman("pull", "--quiet", carried(image, transport, tmp_path)).split()[-1]
        seen.append(podman(*RUN, name, *listing))
    assert seen[0] == seen[1]
    assert "/f " not in seen[0]
