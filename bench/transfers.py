"""Images on their way to and from a registry: Debian's docker-registry, on the file system of the measurement."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tarfile
import time
from functools import partial
from typing import TYPE_CHECKING

from bench import measure
from bench.place import debian

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.measure import Sample
    from bench.place import Place

    Sides = dict[str, Callable[[int], Sample]]

IMAGE = "localhost/debian"
LAYERS = 4
"""Into so many parts the tree is cut where several layers are to be pulled."""

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "{host}"}}
"""


def registry(place: Place) -> str:
    """Start an empty registry; its host:port. It lives as long as the place."""
    program = shutil.which("docker-registry")
    if program is None:
        raise SystemExit("docker-registry is not installed: apt-get install docker-registry")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1", int(server.getsockname()[1])
    host = f"{address[0]}:{address[1]}"
    folder = place.folder / f"registry-{address[1]}"
    folder.mkdir()
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, host=host))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    place.serve(process)
    for _ in range(600):
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return host
    raise measure.CommandFailed(f"docker-registry does not answer: {(folder / 'log').read_text()}")


def _fill(place: Place, program: Callable[..., list[str]], tars: list[Path]) -> None:
    """Commit an image with one layer for each tar."""
    base = "scratch"
    for tar in tars:
        container = place.output(program("from", "--pull-never" if program == place.buildah else "--quiet", base))
        place.output(program("add", container, str(tar), "/"))
        place.output(program("commit", "--rm", container, IMAGE))
        base = IMAGE


def _pushes(place: Place, compression: str) -> Callable[[str], Callable[[str], list[str]]]:
    """For each program the command that pushes :data:`IMAGE` to a place in a registry."""
    flags = () if compression == "gzip" else ("--compression-format", compression)
    storage = f"containers-storage:[overlay@{place.folder}/buildah+{place.folder}/buildah-run]"
    dest = () if compression == "gzip" else ("--dest-compress-format", compression)
    insecure = "--tls-verify=false"
    commands: dict[str, Callable[[str], list[str]]] = {
        "buildlib": lambda to: place.buildlib("push", insecure, *flags, IMAGE, to),
        "buildah": lambda to: place.buildah("push", insecure, *flags, IMAGE, to),
        "skopeo": lambda to: ["skopeo", "copy", "--dest-tls-verify=false", *dest, storage + IMAGE, to],
    }
    return commands.__getitem__


def push(compression: str) -> Callable[[Place], Sides]:
    """A scenario: push of the Debian tree out of a store that never pushed it, to a registry that never saw it."""

    def sides(place: Place) -> Sides:
        tar = debian()

        def side(name: str, round_: int) -> Sample:
            corner = place.corner(f"{name}{round_}")
            _fill(corner, corner.buildlib if name == "buildlib" else corner.buildah, [tar])
            command = _pushes(corner, compression)(name)(f"docker://{registry(corner)}/debian:1")
            os.sync()
            sample = place.measure(command)
            corner.clean()  # a round leaves nothing behind that the next one would share the machine with
            return sample

        return {name: partial(side, name) for name in ("buildlib", "buildah", "skopeo")}

    return sides


def push_again(place: Place) -> Sides:
    """A push that changes nothing."""
    commands = _pushes(place, "gzip")
    sides: Sides = {}
    for name, program in (("buildlib", place.buildlib), ("buildah", place.buildah)):
        _fill(place, program, [debian()])
        command = commands(name)(f"docker://{registry(place)}/debian:1")
        place.output(command)
        sides[name] = partial(_measure, place, command)
    return sides


def _measure(place: Place, command: list[str], _: int) -> Sample:
    return place.measure(command)


def pull(layers: int) -> Callable[[Place], Sides]:
    """A scenario: pull, verify and unpack the Debian tree in so many layers, each time into an empty store."""

    def sides(place: Place) -> Sides:
        origin = place.corner("origin")
        _fill(origin, origin.buildah, _parts(debian(), place.folder, layers))
        name = f"docker://{registry(place)}/debian:1"
        origin.output(_pushes(origin, "gzip")("buildah")(name))

        def side(program: str, round_: int) -> Sample:
            corner = place.corner(f"{program}{round_}")
            command = getattr(corner, program)("pull", "--tls-verify=false", name)
            os.sync()
            sample = place.measure(command)
            corner.clean()
            return sample

        return {program: partial(side, program) for program in ("buildlib", "buildah", "podman")}

    return sides


def _parts(tar: Path, folder: Path, count: int) -> list[Path]:
    """The tar, or so many tars of about the same size that give the same tree one upon the other.

    As in layers of real images, each has the directories that lead to its files.
    """
    if count == 1:
        return [tar]
    parts = [folder / f"part{i}.tar" for i in range(count)]
    limit = tar.stat().st_size / count
    with tarfile.open(tar) as source:
        members = iter(source)
        folders: dict[str, tarfile.TarInfo] = {}
        for number, part in enumerate(parts):
            with tarfile.open(part, "w") as target:
                here: set[str] = set()
                for member in members:
                    if member.isdir():
                        folders[member.name] = member
                    for name in _above(member.name):
                        if name in folders and name not in here:
                            target.addfile(folders[name])
                            here.add(name)
                    here.add(member.name)
                    target.addfile(member, source.extractfile(member) if member.isreg() else None)
                    if target.offset > limit and number < count - 1:
                        break
    return parts


def _above(name: str) -> list[str]:
    """The names of the directories above an entry, the topmost first."""
    words = name.split("/")
    return ["/".join(words[:depth]) for depth in range(1, len(words))]
