"""Where a scenario runs: a fresh ext4 in a sparse file, and the two programs with stores of their own on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ROOT = Path(__file__).resolve().parent.parent

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""


class Place:
    """A folder on a fresh file system, and the commands that work in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corners: list[Place] = []
        self._servers: list[subprocess.Popen[Any]] = []
        (folder / "tmp").mkdir()
        (folder / "home").mkdir()
        (folder / "containers.conf").write_text(CONTAINERS_CONF)
        self.environment = {
            "PATH": os.defpath + ":/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "LC_ALL": "C.UTF-8",
        }

    def corner(self, name: str) -> Place:
        """A place on the same file system with stores that are empty."""
        folder = self.folder / name
        folder.mkdir()
        self.corners.append(Place(folder))
        return self.corners[-1]

    def buildlib(self, *arguments: str) -> list[str]:
        """The command line of our program, as its users install it."""
        program = Path(sys.executable).parent / "buildlib"
        return [
            str(program),
            "--root",
            f"{self.folder}/buildlib",
            "--runroot",
            f"{self.folder}/buildlib-run",
            *arguments,
        ]

    def buildah(self, *arguments: str) -> list[str]:
        """The command line of buildah, on overlay as on any real machine."""
        root, run = f"{self.folder}/buildah", f"{self.folder}/buildah-run"
        return ["buildah", "--root", root, "--runroot", run, "--storage-driver", "overlay", *arguments]

    def podman(self, *arguments: str) -> list[str]:
        """The command line of podman, on overlay too."""
        root, run = f"{self.folder}/podman", f"{self.folder}/podman-run"
        return ["podman", "--root", root, "--runroot", run, "--storage-driver", "overlay", *arguments]

    def serve(self, process: subprocess.Popen[Any]) -> None:
        """Let a server run until the place is cleaned up."""
        measure.SERVERS.add(process.pid)
        self._servers.append(process)

    def measure(self, argv: list[str]) -> measure.Sample:
        """Run and measure; see :func:`bench.measure.run`."""
        return measure.run(argv, environment=self.environment, log=self.folder / "log")

    def output(self, argv: list[str]) -> str:
        """Run what is not measured, and return what it printed."""
        done = subprocess.run(argv, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise measure.CommandFailed(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def clean(self) -> None:
        """End the servers, remove buildah's containers and unmount what it and podman leave mounted."""
        for corner in self.corners:
            corner.clean()
        while self._servers:
            server = self._servers.pop()
            server.kill()
            server.wait()
            measure.SERVERS.discard(server.pid)
        if (self.folder / "buildah").exists():
            subprocess.run(self.buildah("rm", "--all"), env=self.environment, capture_output=True)
        for program in ("buildah", "podman"):
            subprocess.run(["umount", f"{self.folder}/{program}/overlay"], capture_output=True)


@contextmanager
def fresh(size: str = "8G") -> Iterator[Place]:
    """A place on an ext4 file system that has never been written to; without the right to mount, a plain folder."""
    with tempfile.TemporaryDirectory(prefix="buildlib-bench-") as name:
        folder, image = Path(name) / "fs", Path(name) / "image"
        folder.mkdir()
        mounted = _mount(image, folder, size)
        if not mounted:
            print("note: no loop mount here; measuring in a plain folder, which can be slower", file=sys.stderr)
        place = Place(folder)
        try:
            yield place
        finally:
            place.clean()
            if mounted:
                subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(image: Path, folder: Path, size: str) -> bool:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return False
    subprocess.run(["truncate", "--size", size, image], check=True)
    # The kernel would go on initialising in the background, during the measurement.
    options = ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-m", "0"]
    subprocess.run(["mkfs.ext4", *options, image], check=True)
    return subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True).returncode == 0


def busybox(folder: Path) -> Path:
    """A root file system with nothing but a static busybox as its shell."""
    root = folder / "busybox"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "tmp").mkdir()
    program = shutil.which("busybox")
    if program is None:
        raise SystemExit("busybox is not installed: apt-get install busybox-static")
    shutil.copy(program, root / "bin" / "busybox")
    for name in ("sh", "true", "dd", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    tar = folder / "busybox.tar"
    subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
    return tar


def bases(place: Place) -> Path:
    """``localhost/base``, a busybox, in both stores; its files as a tar."""
    tar = place.folder / "busybox.tar"
    if not tar.exists():
        tar = busybox(place.folder)
    for program in (place.buildlib, place.buildah):
        container = place.output(program("from", "scratch"))
        place.output(program("add", container, str(tar), "/"))
        place.output(program("commit", "--rm", container, "localhost/base"))
    return tar


def debian() -> Path:
    """A real Debian root file system as a plain tar, made once."""
    made = subprocess.run([ROOT / ".ci" / "rootfs"], stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise SystemExit("no Debian root file system: see above")
    return Path(made.stdout.strip())
