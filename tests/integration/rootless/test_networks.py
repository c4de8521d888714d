"""A private network of an ordinary user, by each of the programs that give one."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.linux import mount

from ..machine import HERE, PORT, WORLD, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .person import Person

pytestmark = pytest.mark.root

BROKEN = pytest.mark.skip(
    reason="NOT TESTED: Debian 12's pasta (2023-03) starts here, but TCP through it never answers"
)


def words(*argv: str) -> list[str]:
    """The command line of a command of ours."""
    return [sys.executable, "-c", "from buildlib.cli import program; program()", *argv]


@pytest.fixture
def machine(person: Person, place: Path) -> Iterator[Machine]:
    """The machine of that person, on which everybody may open /dev/net/tun, as udev has it."""
    tun = Path("/dev/net/tun")
    if not tun.is_char_device():
        pytest.skip("NOT TESTED: there is no /dev/net/tun")
    node = place / "tun"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(10, 200))
    node.chmod(0o666)

    def enter() -> None:
        mount.bind(str(node), str(tun))
        made.enter()

    with Machine() as made:
        person.before = enter
        yield made


@pytest.mark.parametrize("program", [pytest.param("pasta", marks=BROKEN), "slirp4netns"])
def test_a_program_connects_the_network_and_ends_with_the_run(
    program: str, machine: Machine, person: Person, place: Path, busybox: str
) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"NOT TESTED: {program} is not installed: apt-get install passt slirp4netns")
    folder = place / "bin"
    folder.mkdir()
    for name in ("newuidmap", "newgidmap", program):
        (folder / name).symlink_to(shutil.which(name) or "")
    person.buildlib("from", "--name", "c", f"tarball:{busybox}")
    before = machine.state()
    script = f"nc -w 2 {WORLD} {PORT} </dev/null; nc -w 2 127.0.0.1 {PORT} </dev/null 2>/dev/null || echo closed"
    gateway = f"nc -w 2 10.0.2.2 {PORT} </dev/null 2>/dev/null || echo closed"
    command = (
        "run",
        "--network",
        "private",
        "c",
        "--",
        "sh",
        "-c",
        f"{script}; {gateway}; ps | grep -c '[{program[0]}]{program[1:]}'",
    )
    done = person.run(*words(*command), env={"PATH": str(folder)}, check=False)
    assert done.stdout.split() == [HERE, "closed", "closed", "0"], done.stderr
    assert machine.state() == before


def test_what_is_to_be_installed_is_said(machine: Machine, person: Person, place: Path, busybox: str) -> None:
    person.buildlib("from", "--name", "c", f"tarball:{busybox}")
    folder = place / "bin"
    folder.mkdir()
    for name in ("newuidmap", "newgidmap"):
        (folder / name).symlink_to(shutil.which(name) or "")
    command = words("run", "--network", "private", "c", "--", "true")
    done = person.run(*command, env={"PATH": str(folder)}, check=False)
    assert done.returncode != 0
    assert "neither pasta nor slirp4netns is installed" in done.stderr
    assert "apt-get install slirp4netns" in done.stderr
