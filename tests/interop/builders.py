"""Real buildah and the BuildKit in a docker daemon as builders of Dockerfiles, and what is in an image that they save.

All images are compared as ``docker-archive`` files, read with nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.interop.conftest import Program


class Made(NamedTuple):
    """What is in an image."""

    config: dict[str, Any]
    """The whole document."""
    files: dict[str, Any]
    """By path: mode, owner, group and content; no times."""


def read_archive(path: str) -> Made:
    """Read the one image of a docker-archive."""
    with tarfile.open(path) as archive:

        def blob(name: str) -> Any:
            found = archive.extractfile(name)
            assert found is not None, name
            return found

        described = json.load(blob("manifest.json"))[0]
        files: dict[str, Any] = {}
        for layer in described["Layers"]:
            with tarfile.open(fileobj=blob(layer)) as tar:
                _apply(files, tar)
        return Made(json.load(blob(described["Config"])), files)


def _apply(files: dict[str, Any], tar: tarfile.TarFile) -> None:
    """Put a layer on top of ``files``."""
    own: dict[str, Any] = {}
    for member in tar:
        path = posixpath.normpath("/" + member.name)
        folder, name = posixpath.split(path)
        if name == ".wh..wh..opq":
            _remove(files, folder)
        elif name.startswith(".wh."):
            gone = posixpath.join(folder, name[4:])
            files.pop(gone, None)
            _remove(files, gone)
        elif path != "/":
            if not member.isdir():
                _remove(files, path)
            own[path] = _entry(tar, member, {**files, **own} if member.islnk() else {})
    files.update(own)


def _remove(files: dict[str, Any], folder: str) -> None:
    for path in [path for path in files if path.startswith(folder.rstrip("/") + "/")]:
        del files[path]


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, others: dict[str, Any]) -> Any:
    if member.islnk():
        return others[posixpath.normpath("/" + member.linkname)]
    content: Any = member.linkname if member.issym() else member.type.decode()
    if member.isfile():
        found = tar.extractfile(member)
        assert found is not None
        content = hashlib.sha256(found.read()).hexdigest()[:12]
    return oct(member.mode & 0o7777), member.uid, member.gid, content


class Builder(Protocol):
    """One of the others. ``build`` and ``save`` raise :class:`Refused` with what it said."""

    name: str
    exact: bool
    """Whether it is the version that the lists of differences are about."""

    def base(self, archive: str, name: str) -> None:
        """Have ``localhost/<name>`` of a docker-archive as a base."""

    def build(self, folder: Path, flags: Sequence[str]) -> Made:
        """Build a folder."""


class Refused(Exception):
    """It did not build that."""


def run(argv: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"{' '.join(argv)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")


class Buildah:
    """Debian's buildah, in docker's format, which keeps all fields."""

    name = "buildah"

    def __init__(self, buildah: Program, folder: Path) -> None:
        self._argv = [buildah.name, *buildah.arguments]
        self._environment = dict(buildah.environment or {})
        self._folder = folder
        self.exact = "version 1.28." in buildah("--version")

    def base(self, archive: str, name: str) -> None:
        run([*self._argv, "pull", "-q", f"docker-archive:{archive}"], self._environment)

    def build(self, folder: Path, flags: Sequence[str]) -> Made:
        place = self._folder / "theirs.tar"
        place.unlink(missing_ok=True)
        words = ["bud", "-q", "--layers=false", "--format", "docker", *flags, "-t", "localhost/theirs", str(folder)]
        run([*self._argv, *words], self._environment)
        run([*self._argv, "push", "-q", "localhost/theirs", f"docker-archive:{place}"], self._environment)
        return read_archive(str(place))


class BuildKit:
    """The BuildKit in Debian's docker daemon, by the old command that needs no plugin for it."""

    name = "docker"

    def __init__(self, host: str, folder: Path) -> None:
        program, version = old_docker()
        self._argv = [program, "--host", host]
        self._environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        self._folder = folder
        self.exact = version == 20

    def base(self, archive: str, name: str) -> None:
        run([*self._argv, "load", "-q", "-i", archive], self._environment)
        run([*self._argv, "tag", f"localhost/{name}:latest", name], self._environment)

    def build(self, folder: Path, flags: Sequence[str]) -> Made:
        place = self._folder / "theirs.tar"
        run([*self._argv, "build", "--network=host", *flags, "-t", "theirs", str(folder)], self._environment)
        run([*self._argv, "save", "-o", str(place), "theirs"], self._environment)
        return read_archive(str(place))


def old_docker() -> tuple[str, int]:
    """A docker command before version 23, and its version: later ones build by a plugin."""
    for folder in os.get_exec_path():
        path = shutil.which("docker", path=folder)
        said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout if path else ""
        version = re.search(r"version (\d+)", said)
        if path and version and int(version[1]) < 23:
            return path, int(version[1])
    return pytest.skip("there is no docker command of a version before 23: apt-get install docker.io")


def differences(ours: dict[str, Any], theirs: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """What differs, as ("kind name", in words)."""
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            yield f"{kind} {name}", f"ours {ours.get(name)!r}, theirs {theirs.get(name)!r}"


def config_of(document: dict[str, Any]) -> dict[str, Any]:
    """The config of an image, without what says nothing; fields that hold several things thing by thing."""
    return dict(_flat({"author": document.get("author"), **document["config"]}))


def _flat(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        elif name == "Env":
            yield from ((f"Env.{word.partition('=')[0]}", word.partition("=")[2]) for word in value)
        elif value:
            yield name, value


def history_of(document: dict[str, Any], base: int) -> dict[str, Any]:
    """The steps of an image after the first ``base`` ones, by number."""
    names = ("created_by", "comment", "empty_layer")
    return {
        f"{number} {step['created_by'].partition(' ')[0]}": [step.get(name) for name in names]
        for number, step in enumerate(document["history"][base:])
    }
