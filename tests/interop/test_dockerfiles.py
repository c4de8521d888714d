"""The golden corpus, built by buildah and docker's BuildKit too: the images are the same, but for what is listed here.

Config, history and files (but not their times) are compared. Each accepted difference says in which case, what differs,
and why ours is right. A difference that is not listed fails, and so does a listed one that does not show any more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.store import Store
    from tests.interop.conftest import Program

pytestmark = pytest.mark.root

_file = Path(__file__).parents[1] / "golden" / "golden.py"
_spec = importlib.util.spec_from_file_location("golden_corpus", _file)
assert _spec is not None
assert _spec.loader is not None
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)

CASES = {folder.name: folder for folder in golden.CASES if golden.Case(folder).unbuildable is None}


class Accepted(NamedTuple):
    """A difference that is meant.

    ``what`` matches "config FIELD", "history NUMBER" or "file PATH" with the wildcards of fnmatch. ``case`` may be "*".
    """

    builder: str
    case: str
    what: str
    reason: str


CANNOT = {
    ("buildah", "heredocs"): "buildah 1.28 knows no heredocs",
    ("buildah", "copy-link"): "buildah 1.28 knows neither --link nor --parents nor --exclude",
    ("buildah", "copy-rules"): "buildah 1.28 knows neither --parents nor --exclude nor symbolic modes",
    ("buildah", "named-contexts"): "buildah 1.28 can't have a folder in place of an image or a stage",
    ("buildah", "context-targets"): "buildah knows no target:, which is docker's",
    ("buildah", "healthcheck"): "buildah 1.28 knows no --start-interval",
    ("buildah", "expansion"): "buildah 1.28 does not know ${name-word} without a colon",
    ("buildah", "mounts"): "buildah 1.28 can't write into a bind of a stage",
    ("buildah", "mounts-basic"): "the same",
    ("buildah", "onbuild-of-image"): "buildah finds its stages before it knows the triggers of a base",
    ("docker", "heredocs"): "BuildKit of docker 20.10 knows no heredocs",
    ("docker", "copy-link"): "BuildKit of docker 20.10 knows neither --link nor --parents nor --exclude",
    ("docker", "copy-rules"): "BuildKit of docker 20.10 knows neither --parents nor --exclude nor symbolic modes",
    ("docker", "named-contexts"): "docker 20.10 knows no additional contexts",
    ("docker", "context-targets"): "the same",
    ("docker", "healthcheck"): "BuildKit of docker 20.10 knows no --start-interval",
    ("docker", "expansion"): "BuildKit of docker 20.10 does not know ${name-word} without a colon",
    ("docker", "mounts"): "BuildKit of docker 20.10 knows no size of a tmpfs",
    ("docker", "onbuild-of-image"): "BuildKit before 0.17 finds its stages before it knows the triggers of a base",
}
"""Cases that the builders of Debian 12 refuse, and why."""

STUBS = "the mount points of a RUN are left in the image"
LATER = "later versions of BuildKit write what we write"

ACCEPTED = (
    Accepted("buildah", "*", "config Labels.io.buildah.version", "buildah signs what it builds"),
    Accepted("buildah", "*", "config Hostname", "the id of a working container is no name for the hosts of an image"),
    *(Accepted("buildah", "*", f"file /{name}", STUBS) for name in ("dev", "proc", "run", "sys")),
    *(Accepted("buildah", "*", f"file /etc/{name}", STUBS) for name in ("hosts", "hostname", "resolv.conf")),
    Accepted("buildah", "*", "history *", "buildah writes a history of its own"),
    Accepted("buildah", "*", "config ArgsEscaped", "BuildKit marks a CMD so; buildah does not"),
    Accepted("buildah", "backtick", "config Env.[PQ]", "with escape=` a backslash is a character like any other"),
    Accepted("buildah", "build-args", "config Labels.who", "ARGs flow into a stage that is built on another one"),
    Accepted("buildah", "build-args", "file /inherited", "the same"),
    Accepted("buildah", "graph", "config WorkingDir", "BuildKit starts scratch in /"),
    Accepted("buildah", "multistage", "config WorkingDir", "the same"),
    Accepted("buildah", "shell", "config Entrypoint", "SHELL is for CMD and ENTRYPOINT too"),
    Accepted("buildah", "workdir-and-user", "file /home/app/other", "WORKDIR makes it at once, for the user of then"),
    Accepted("buildah", "config-only", "config Cmd", "SHELL is for CMD and ENTRYPOINT too"),
    Accepted(
        "buildah", "config-only", "config ExposedPorts.*", "a range means several ports; protocols are lower case"
    ),
    Accepted("buildah", "args-and-env", "file /arg-wins", "who wrote last wins; docker's BuildKit agrees"),
    Accepted("buildah", "copy-basic", "file /numbers", "an octal --chmod is for directories that are made, too"),
    *(Accepted("docker", "*", f"file /{name}", STUBS) for name in ("dev", "proc", "sys")),
    *(Accepted("docker", "*", f"history * {keyword}", LATER) for keyword in ("HEALTHCHECK", "EXPOSE", "ARG")),
    *(
        Accepted("docker", case, "history * COPY", f"{LATER}: --chown and --chmod")
        for case in ("copy-basic", "multistage")
    ),
    Accepted("docker", "build-args", "history * RUN", f"{LATER}: the ARGs of the stage below"),
    Accepted("docker", "copy-basic", "file /numbers", "an octal --chmod is for directories that are made, too"),
    *(Accepted("docker", "mounts-basic", f"file /{name}", STUBS) for name in ("ctx", "scratch", "sub")),
    *(Accepted("docker", "mounts-basic", f"file /{name}*", STUBS) for name in ("var/cache", "work/deep")),
)


def differences(ours: dict[str, Any], theirs: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """What differs, as ("kind name", in words)."""
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            yield f"{kind} {name}", f"ours {ours.get(name)!r}, theirs {theirs.get(name)!r}"


def config_of(raw: bytes) -> dict[str, Any]:
    """The config of an image, without what says nothing."""
    config = json.loads(raw)
    return dict(_flat({"author": config.get("author"), **config["config"]}))


def _flat(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields by name; those that hold several things thing by thing."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        elif name == "Env":
            yield from ((f"Env.{word.partition('=')[0]}", word.partition("=")[2]) for word in value)
        elif value:
            yield name, value


def files_of(root: Path) -> dict[str, Any]:
    """What is in a tree, by path: everything but times."""
    found: dict[str, Any] = {}
    for top, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(top, name)
            info = path.lstat()
            content: Any = None
            if stat.S_ISLNK(info.st_mode):
                content = str(path.readlink())
            elif stat.S_ISREG(info.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            found["/" + str(path.relative_to(root))] = (oct(info.st_mode), info.st_uid, info.st_gid, content)
    return found


def history_of(raw: bytes, base: bytes) -> dict[str, Any]:
    """The steps of an image that its base has not, by number."""
    steps = json.loads(raw)["history"][len(json.loads(base).get("history", ())) :]
    names = ("created_by", "comment", "empty_layer")
    return {
        f"{number} {step['created_by'].partition(' ')[0]}": [step.get(name) for name in names]
        for number, step in enumerate(steps)
    }


class Built(NamedTuple):
    """What a builder made: config, base's config, and an OCI layout for umoci."""

    config: bytes
    base: bytes
    layout: str


class Builder(Protocol):
    """One of the others."""

    name: str

    def base(self, archive: str, name: str) -> None:
        """Have an image of a docker-archive as a base."""

    def build(self, folder: Path, case: Any) -> Built:
        """Build a case."""


class Buildah:
    """Debian's buildah, in docker's format, which keeps all fields."""

    name = "buildah"

    def __init__(self, buildah: Program, tmp_path: Path) -> None:
        self.buildah = buildah
        self.tmp = tmp_path

    def base(self, archive: str, name: str) -> None:
        self.buildah("pull", f"docker-archive:{archive}")

    def build(self, folder: Path, case: Any) -> Built:
        self.buildah("bud", "--layers", "--format", "docker", *flags_of(case), "-t", "localhost/theirs", str(folder))
        # Only docker's own format keeps all of its fields, and umoci reads only the other one.
        configs = []
        for name in ("theirs", "busybox"):
            place = self.tmp / f"docker-{name}"
            self.buildah("push", "--format", "v2s2", f"localhost/{name}", f"dir:{place}")
            described = json.loads((place / "manifest.json").read_text())["config"]["digest"]
            configs.append((place / described.partition(":")[2]).read_bytes())
        self.buildah("push", "localhost/theirs", f"oci:{self.tmp}/theirs:latest")
        return Built(configs[0], configs[1], f"{self.tmp}/theirs:latest")


class BuildKit:
    """The BuildKit in Debian's docker daemon, by the old command that needs no plugin for it."""

    name = "docker"

    def __init__(self, host: str, skopeo: Program, tmp_path: Path) -> None:
        self.host = host
        self.skopeo = skopeo
        self.tmp = tmp_path

    def docker(self, *arguments: str) -> str:
        argv = [old_docker(), "--host", self.host, *arguments]
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.fail(f"{' '.join(argv)}: {done.stderr[-3000:]}", pytrace=False)
        return done.stdout

    def base(self, archive: str, name: str) -> None:
        self.docker("load", "-i", archive)
        self.docker("tag", f"localhost/{name}:latest", name)

    def build(self, folder: Path, case: Any) -> Built:
        self.docker("build", "--network=host", "--no-cache", *flags_of(case), "-t", "theirs", str(folder))
        layout = f"oci:{self.tmp}/theirs:latest"
        configs = []
        for name in ("theirs", "busybox"):
            self.docker("save", "-o", f"{self.tmp}/{name}.tar", name)
            where = f"docker-archive:{self.tmp}/{name}.tar"
            configs.append(self.skopeo("inspect", "--config", "--raw", where).encode())
        self.skopeo("copy", f"docker-archive:{self.tmp}/theirs.tar", layout)
        return Built(configs[0], configs[1], layout.removeprefix("oci:"))


def old_docker() -> str:
    """A docker command before version 23: later ones build by a plugin."""
    for folder in os.get_exec_path():
        path = shutil.which("docker", path=folder)
        said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout if path else ""
        version = re.search(r"version (\d+)", said)
        if path and version and int(version[1]) < 23:
            return path
    return pytest.skip("there is no docker command of a version before 23: apt-get install docker.io")


@pytest.fixture(params=["buildah", "docker"])
def builder(request: pytest.FixtureRequest, tmp_path: Path) -> Builder:
    if request.param == "buildah":
        return Buildah(request.getfixturevalue("buildah"), tmp_path)
    return BuildKit(request.getfixturevalue("docker_host"), request.getfixturevalue("skopeo"), tmp_path)


def bases(store: Store, builder: Builder, case: Any, busybox_tar: str, tmp_path: Path) -> None:
    """The images that a case is built on, in both stores, with the same config."""
    with store.from_image(f"tarball:{busybox_tar}") as container:
        container.commit("localhost/busybox:latest", timestamp=0, format="docker")
    for name, fields in case.bases.items():
        with store.from_image("busybox") as container:
            container.config(**fields)
            container.commit(f"localhost/{name}", timestamp=0, format="docker")
    for name in ("busybox", *case.bases):
        archive = f"{tmp_path}/{name}.docker.tar"
        store.push(f"localhost/{name}", f"docker-archive:{archive}:localhost/{name}:latest")
        builder.base(archive, name)


def flags_of(case: Any) -> list[str]:
    flags = [f"--build-arg={name}={value}" for name, value in case.options.build_args.items()]
    return [*flags, *(f"--build-context={name}={where}" for name, where in case.contexts.items())]


@pytest.mark.parametrize("name", CASES)
def test_config_history_and_files_are_the_same(
    name: str, store: Store, builder: Builder, busybox_tar: str, bud: Program, umoci: Program, tmp_path: Path
) -> None:
    if (builder.name, name) in CANNOT:
        pytest.skip(CANNOT[builder.name, name])
    folder = CASES[name]
    case = golden.Case(folder)
    bases(store, builder, case, busybox_tar, tmp_path)
    store.close()
    bud("-q", *flags_of(case), "-t", "localhost/ours", str(folder))
    image = store.image("localhost/ours")
    image.push(f"oci:{tmp_path}/ours:latest", format="oci")
    mine = Built(image.config_blob, store.image("busybox").config_blob, f"{tmp_path}/ours:latest")
    theirs = builder.build(folder, case)
    found = [
        *differences(config_of(mine.config), config_of(theirs.config), "config"),
        *differences(history_of(mine.config, mine.base), history_of(theirs.config, theirs.base), "history"),
        *differences(files(umoci, mine, tmp_path / "a"), files(umoci, theirs, tmp_path / "b"), "file"),
    ]
    relevant = [one for one in ACCEPTED if one.builder == builder.name and one.case in (name, "*")]
    left = [f"{what}: {words}" for what, words in found if not any(fnmatch(what, one.what) for one in relevant)]
    assert not left, "\n" + "\n".join(left)
    stale = [one for one in relevant if one.case == name and not any(fnmatch(what, one.what) for what, _ in found)]
    assert not stale, f"no longer different: {stale}"


def files(umoci: Program, built: Built, place: Path) -> dict[str, Any]:
    """The files of an image, unpacked by umoci."""
    umoci("raw", "unpack", "--image", built.layout, str(place))
    return files_of(place)
