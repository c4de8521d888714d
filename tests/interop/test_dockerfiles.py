"""The golden corpus, built by buildah and docker's BuildKit too: the images are the same, but for what is listed here.

Config, history and files (but not their times) are compared. Each accepted difference says in which case, what differs,
and why ours is right. A difference that is not listed fails, and so does a listed one that does not show any more.
What we refuse they refuse too, but for what is listed.
"""

from __future__ import annotations

import importlib.util
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.interop.builders import Buildah, BuildKit, Refused, config_of, differences, history_of, read_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.store import Store
    from tests.interop.builders import Builder, Made

pytestmark = pytest.mark.root

_file = Path(__file__).parents[1] / "golden" / "golden.py"
_spec = importlib.util.spec_from_file_location("golden_corpus", _file)
assert _spec is not None
assert _spec.loader is not None
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)

CASES = {folder.name: folder for folder in golden.CASES if golden.Case(folder).unbuildable is None}
ERRORS = {folder.name: folder for folder in golden.CASES if (folder / "error.txt").exists()}


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
    ("buildah", "only-docker"): "buildah keeps the case of stage names, and a pattern has to match something",
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

TAKEN = {("buildah", "bad-expose"): "buildah takes any word for a port"}
"""Errors of ours that they build, and why ours are errors."""

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
    Accepted("buildah", "copy-several", "file /other*", "what is copied last would replace the others"),
    Accepted("buildah", "volumes", "file /usr/local*", "buildah makes the folders of volumes"),
    Accepted("buildah", "config-only", "config Cmd", "SHELL is for CMD and ENTRYPOINT too"),
    Accepted(
        "buildah", "config-only", "config ExposedPorts.*", "a range means several ports; protocols are lower case"
    ),
    Accepted("buildah", "args-and-env", "file /arg-wins", "who wrote last wins; docker's BuildKit agrees"),
    Accepted("buildah", "copy-basic", "file /numbers", "an octal --chmod is for directories that are made, too"),
    *(Accepted("docker", "*", f"file /{name}", STUBS) for name in ("dev", "proc", "sys")),
    *(Accepted("docker", "*", f"history * {keyword}", LATER) for keyword in ("HEALTHCHECK", "EXPOSE", "ARG")),
    *(
        Accepted("docker", case, f"history * {keyword}", f"{LATER}: --chown and --chmod")
        for case, keyword in (("copy-basic", "COPY"), ("multistage", "COPY"), ("quirks", "ADD"))
    ),
    Accepted("docker", "build-args", "history * RUN", f"{LATER}: the ARGs of the stage below"),
    Accepted("docker", "copy-basic", "file /numbers", "an octal --chmod is for directories that are made, too"),
    *(
        Accepted("docker", "copy-several", f"file {path}", "what is copied last would replace the others")
        for path in ("/dest*", "/other*")
    ),
    *(Accepted("docker", "mounts-basic", f"file /{name}", STUBS) for name in ("ctx", "scratch", "sub")),
    *(Accepted("docker", "mounts-basic", f"file /{name}*", STUBS) for name in ("var/cache", "work/deep")),
)


@pytest.fixture(params=["buildah", "docker"])
def builder(request: pytest.FixtureRequest, tmp_path: Path) -> Builder:
    if request.param == "buildah":
        return Buildah(request.getfixturevalue("buildah"), tmp_path)
    return BuildKit(request.getfixturevalue("docker_host"), tmp_path)


@pytest.fixture
def bases(store: Store, builder: Builder, busybox_tar: str, tmp_path: Path) -> int:
    """The images that cases are built on, in both stores, with the same config; how long their history is."""
    with store.from_image(f"tarball:{busybox_tar}") as container:
        image = container.commit("localhost/busybox:latest", timestamp=0, format="docker")
    names = {"busybox": image}
    for folder in CASES.values():
        for name, fields in golden.Case(folder).bases.items():
            with store.from_image("busybox") as container:
                container.config(**fields)
                names[name] = container.commit(f"localhost/{name}", timestamp=0, format="docker")
    for name, each in names.items():
        archive = f"{tmp_path}/{name.replace('/', '_')}.tar"
        each.push(f"docker-archive:{archive}:localhost/{name}:latest", compression="none")
        builder.base(archive, name)
    return len(image.history)


def flags_of(case: Any) -> list[str]:
    flags = [f"--build-arg={name}={value}" for name, value in case.options.build_args.items()]
    return [*flags, *(f"--build-context={name}={where}" for name, where in case.contexts.items())]


def built(store: Store, folder: Path, flags: list[str], tmp_path: Path) -> Made:
    """Our own image."""
    import buildlib

    given = {}
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        given.setdefault(name.replace("-", "_"), []).append(value)
    image = buildlib.build(str(folder), store=store, **given)
    image.push(f"docker-archive:{tmp_path}/ours.tar:ours:latest", compression="none")
    made = read_archive(f"{tmp_path}/ours.tar")
    (tmp_path / "ours.tar").unlink()
    return made


def compared(mine: Made, theirs: Made, base: int) -> list[tuple[str, str]]:
    return [
        *differences(config_of(mine.config), config_of(theirs.config), "config"),
        *differences(history_of(mine.config, base), history_of(theirs.config, base), "history"),
        *differences(mine.files, theirs.files, "file"),
    ]


def test_config_history_and_files_are_the_same(store: Store, builder: Builder, bases: int, tmp_path: Path) -> None:
    problems = []
    for name, folder in CASES.items():
        flags = flags_of(golden.Case(folder))
        try:
            theirs = builder.build(folder, flags)
        except Refused as refused:
            if (builder.name, name) not in CANNOT:
                problems.append(f"{name}: {refused}")
            continue
        if (builder.name, name) in CANNOT:
            problems += [f"{name}: {builder.name} builds it after all"] if builder.exact else []
            continue
        found = compared(built(store, folder, flags, tmp_path), theirs, bases)
        problems += (f"{name}: {problem}" for problem in judged(builder, name, found))
    assert not problems, "\n" + "\n".join(problems)


def judged(builder: Builder, name: str, found: list[tuple[str, str]]) -> Iterator[str]:
    """What is not accepted, and what is accepted for nothing."""
    relevant = [one for one in ACCEPTED if one.builder == builder.name and one.case in (name, "*")]
    for what, words in found:
        if not any(fnmatch(what, one.what) for one in relevant):
            yield f"{what}: {words}"
    for one in relevant:
        if builder.exact and one.case == name and not any(fnmatch(what, one.what) for what, _ in found):
            yield f"no longer different: {one}"


def test_what_we_refuse_they_refuse_too(builder: Builder, bases: int) -> None:
    taken = set()
    for name, folder in ERRORS.items():
        try:
            builder.build(folder, flags_of(golden.Case(folder)))
        except Refused:
            continue
        taken.add(name)
    expected = {name for who, name in TAKEN if who == builder.name}
    assert taken - expected == set()
    assert not builder.exact or expected - taken == set()
