"""sync beside skopeo's: the same names at the destination, the same digests, and each goes on where the other was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib import transports
from buildlib.registry.access import Access
from buildlib.remote import list_tags
from buildlib.sync import remote_digest
from buildlib.transports import writing
from buildlib.transports.copy import copy

from .conftest import Program
from .docker_registry import serve

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from transports.images import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS = Access(tls_verify=False)
PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


@pytest.fixture(scope="module")
def source() -> Iterator[str]:
    """A registry with team/site:1, :2 and :3 (an index), and team/db:1."""
    with serve() as host:
        memory = Memory()
        for name in ("site:1", "site:2", "db:1"):
            memory.image(name.replace(":", "-"))
            _put(memory, f"docker://{host}/team/{name}")
        memory.index("linux/amd64", "linux/arm64")
        _put(memory, f"docker://{host}/team/site:3")
        yield host


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with serve() as host:
        yield host


def _put(memory: Memory, where: str) -> None:
    with writing(transports.destination(where, access=ACCESS)) as destination:
        copy(memory, destination, multi_arch="all")


@pytest.fixture
def buildlib(tmp_path: Path, containers_environment: dict[str, str]) -> Program:
    program = str(Path(sys.executable).parent / "buildlib")
    return Program(program, ("--root", str(tmp_path / "store")), containers_environment)


def digests(host: str, repository: str) -> dict[str, str | None]:
    """Tag → digest."""
    tags = list_tags(f"docker://{host}/{repository}", access=ACCESS)
    return {tag: remote_digest(f"docker://{host}/{repository}:{tag}", ACCESS) for tag in tags}


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder, however deep."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("scoped", [[], ["--scoped"]])
@pytest.mark.parametrize("image", ["team/site", "team/site:1"])
def test_folders_are_the_same_as_skopeo_makes(
    source: str, skopeo: Program, buildlib: Program, tmp_path: Path, scoped: list[str], image: str
) -> None:
    flags = ["sync", "--all", *scoped, "--src", "docker", "--dest", "dir", "--src-tls-verify=false"]
    for program, folder in ((skopeo, "theirs"), (buildlib, "ours")):
        program(*flags, f"{source}/{image}", str(tmp_path / folder))
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")


@pytest.mark.parametrize("scoped", [[], ["--scoped"]])
def test_folders_that_skopeo_made_are_synced_to_a_registry_as_by_skopeo(
    source: str, target: str, skopeo: Program, buildlib: Program, tmp_path: Path, scoped: list[str]
) -> None:
    skopeo(
        "sync", "--all", "--src", "docker", "--dest", "dir", PLAIN[0], f"{source}/team/site", str(tmp_path / "d" / "x")
    )
    flags = ["sync", "--all", *scoped, "--src", "dir", "--dest", "docker", PLAIN[1], str(tmp_path / "d")]
    found = []
    for program, name in ((skopeo, "theirs"), (buildlib, "ours")):
        name += "-scoped" if scoped else ""
        program(*flags, f"{target}/{name}")
        found.append(digests(target, f"{name}/{'x/' if scoped else ''}site"))
    assert found[0] == found[1] == digests(source, "team/site")


def test_registries_are_synced_as_by_skopeo(source: str, target: str, skopeo: Program, buildlib: Program) -> None:
    flags = ["sync", "--all", "--src", "docker", "--dest", "docker", *PLAIN, f"{source}/team/site"]
    buildlib(*flags, f"{target}/mine")
    skopeo(*flags, f"{target}/yours")
    assert digests(target, "mine/site") == digests(target, "yours/site") == digests(source, "team/site")


def test_a_list_is_read_as_by_skopeo(
    source: str, target: str, skopeo: Program, buildlib: Program, tmp_path: Path
) -> None:
    listed = tmp_path / "images.yml"
    listed.write_text(
        f"{source}:\n"
        "  tls-verify: false\n"
        "  images:\n"
        "    team/db: []\n"
        "    team/site: ['1']\n"
        "  images-by-tag-regex:\n"
        "    team/site: ^[23]$\n"
    )
    for program, name in ((skopeo, "listed-theirs"), (buildlib, "listed-ours")):
        program("sync", "--src", "yaml", "--dest", "docker", PLAIN[1], str(listed), f"{target}/{name}")
    for repository in ("db", "site"):
        ours, theirs = (digests(target, f"listed-{who}/{repository}") for who in ("ours", "theirs"))
        assert ours == theirs
        assert list(ours) == list(digests(source, f"team/{repository}"))


def test_a_mirror_is_kept_where_tags_can_be_deleted_only_by_digest(source: str, target: str, buildlib: Program) -> None:
    memory = Memory()
    memory.image("old")
    _put(memory, f"docker://{target}/mirror/site:old")
    flags = ["sync", "--all", "--delete", "--src", "docker", "--dest", "docker", *PLAIN]
    said = buildlib(*flags, f"{source}/team/site", f"{target}/mirror")
    assert said == "3 copied, 0 there already, 1 deleted, 0 failed\n"
    assert digests(target, "mirror/site") == digests(source, "team/site")
    said = buildlib(*flags, f"{source}/team/site", f"{target}/mirror")
    assert said == "0 copied, 3 there already, 0 deleted, 0 failed\n"
