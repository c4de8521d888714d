"""Building inside containers of real engines with their default profile: no mount, no unshare, no /dev/fuse.

The container is a Debian that knows nothing of us; the checkout and the Python of the tests are bound into it.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.interop.conftest import Program, program

if TYPE_CHECKING:
    from buildlib.store import Store

pytestmark = pytest.mark.root

CHECKOUT = Path(__file__).resolve().parents[2]

DOCKERFILE = """\
FROM localhost/busybox
RUN echo one > /one && rm /bin/vi && mkdir -p /a/b && touch /a/b/c
COPY hello /hello
RUN --mount=type=cache,target=/var/cache/x --mount=type=secret,id=s \
    echo "$(cat /hello) $(cat /run/secrets/s)" > /seen; echo kept >> /var/cache/x/f
RUN --mount=type=cache,target=/var/cache/x cp /var/cache/x/f /from-cache; rm -r /a && mkdir /a && echo new > /a/new
RUN setsid sleep 1000 > /dev/null 2>&1 & echo left
"""
OWNERS = """\
RUN chown -R app:app /a && chmod 2750 /a
USER app
RUN id -u > /tmp/id
"""

BUILD = """
export LD_LIBRARY_PATH=/host PYTHONPATH=/checkout:/site PYTHONDONTWRITEBYTECODE=1
buildlib() { /python/bin/python3 -m buildlib "$@"; }
c=$(buildlib from tarball:/context/busybox.tar) && buildlib commit --rm --timestamp 0 $c localhost/busybox > /dev/null
buildlib build --timestamp 0 --quiet --secret id=s,src=/context/secret -t localhost/t /context || exit 1
buildlib check >&2 || exit 2
grep -l sleep /proc/[0-9]*/comm 2> /dev/null | wc -l
"""


def binds(context: Path) -> list[str]:
    """What the container gets of this machine, read-only."""
    libraries = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"
    pairs = [(sys.base_prefix, "/python"), (sysconfig.get_path("purelib"), "/site"), (str(CHECKOUT), "/checkout")]
    return [
        word
        for source, target in (*pairs, (libraries, "/host"), (str(context), "/context"))
        for word in ("--volume", f"{source}:{target}:ro")
    ]


@pytest.fixture
def context(tmp_path: Path, busybox_tar: str) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    folder.chmod(0o755)
    tmp_path.chmod(0o755)
    (folder / "Dockerfile").write_text(DOCKERFILE + OWNERS)
    (folder / "hello").write_text("hello")
    (folder / "secret").write_text("hush")
    (folder / "busybox.tar").write_bytes(Path(busybox_tar).read_bytes())
    return folder


@pytest.fixture
def expected(context: Path, store: Store) -> str:
    """The id of the image, as it is built on this machine with everything that root may do."""
    with store.from_image(f"tarball:{context}/busybox.tar") as c:
        c.commit("localhost/busybox", timestamp=0)
    build = [sys.executable, "-m", "buildlib", "--root", store.root, "build", "--timestamp", "0", "--quiet"]
    done = subprocess.run([*build, "--secret", f"id=s,src={context}/secret", context], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def docker(docker_host: str, debian_tar: str) -> Program:
    """``docker("run", …)`` on an engine that has the image ``localhost/debian``."""
    tool = Program(program("docker", "docker.io"), ("--host", docker_host))
    with Path(debian_tar).open("rb") as tar:
        subprocess.run([tool.name, *tool.arguments, "import", "-", "localhost/debian"], stdin=tar, check=True)
    return tool


RUN = ("run", "--rm", "--network", "none")
FEW = [word for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "SYS_CHROOT")
       for word in ("--cap-add", name)]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--volume", "/var/lib/buildlib"], id="default"),
        pytest.param([], id="store on overlayfs"),
        pytest.param(["--volume", "/var/lib/buildlib", "--cap-drop", "ALL", *FEW], id="few capabilities"),
    ],
)
def test_in_docker_run_the_image_is_the_same(docker, context, expected, options):
    out = docker(*RUN, *options, *binds(context), "localhost/debian", "bash", "-c", BUILD)
    image, left = out.split()
    assert image == expected
    assert left == "0", "a process was left behind"


def test_in_podman_run_a_user_namespace_does_it(podman, context, expected, debian_tar, tmp_path):
    """Its profile allows one: with all ids, the /proc of the container, and the name of its host."""
    for folder in ("debian", "volume"):
        (tmp_path / folder).mkdir()
    subprocess.run(["tar", "-C", tmp_path / "debian", "-xf", debian_tar], check=True)
    options = ("--network", "host", "--volume", f"{tmp_path}/volume:/var/lib/buildlib", "--rootfs")
    out = podman("run", "--rm", *binds(context), *options, str(tmp_path / "debian"), "bash", "-c", BUILD)
    assert out.split() == [expected, "0"]


def test_as_an_ordinary_user_all_but_run_works(docker, context):
    """Owners are right in the image, though none can be set; and RUN says what it would take."""
    options = ("--user", "1000:1000", "--tmpfs", "/store:mode=1777,exec", "--env", "HOME=/store")
    done = subprocess.run(
        [docker.name, *docker.arguments, *RUN, *options, *binds(context), "localhost/debian", "bash", "-c", BUILD],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "takes CAP_SYS_CHROOT or a user namespace" in done.stderr
    assert "securityContext.capabilities.add: [SYS_CHROOT]" in done.stderr
    (context / "Dockerfile").write_text("FROM localhost/busybox\nCOPY --chown=app:app hello /home/\n")
    image = docker(*RUN, *options, *binds(context), "localhost/debian", "bash", "-c", BUILD).split()[0]
    assert len(image) == 64
