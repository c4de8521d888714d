"""Runs a scenario with the real buildah and with buildlib, each on a store of its own, and compares what both did.

A scenario is a few command lines. Compared are, line by line, the exit code and the shape of stdout (ids, digests,
sizes, ages and folders of the store are placeholders), and for every image named in ``images`` the config and the
file tree.
A line that may differ is listed in ``differs`` with the reason, and pins what we do instead.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path
from typing import Any

from attrs import field, frozen

ROOT = Path(__file__).parents[3]

CONFIG_FIELDS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Healthcheck",
    "Shell", "OnBuild", "Hostname", "Domainname",
)  # fmt: skip
OWN_LABEL = "io.buildah.version"

MOUNT_POINTS = frozenset(
    ("dev", "proc", "sys", "run", "run/.containerenv", "run/secrets", "etc/hosts", "etc/hostname", "etc/resolv.conf")
)
"""What buildah leaves in a layer when it has run something; we leave nothing."""

PLACEHOLDERS = (
    (r"(?:/|\$PWD)\S*/(?:merged|dir/[0-9a-f]{64})", "<folder>"),
    (r"sha256:[0-9a-f]{64}", "<digest>"),
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b[0-9a-f]{12}\b", "<short id>"),
    (r"\b[0-9.]+ [KMGT]?B\b", "<size>"),
    (r"(Less than a|About an?|\d+) (second|minute|hour)s? ago", "<age>"),
    (r" {2,}", "  "),
)


@frozen
class Ours:
    """What buildlib does on a line where it does not do as buildah does, and why."""

    reason: str
    code: int = 0
    stdout: str | None = None
    """A regular expression; None when anything will do."""


@frozen
class Scenario:
    """Some lines of a script, without the program's name, and what is compared at the end."""

    title: str
    script: str
    images: tuple[str, ...] = ()
    differs: dict[str, Ours] = field(factory=dict)
    files: dict[str, str] = field(factory=dict)
    """What we have at a path where buildah has something else, as the tree describes it: each with a comment."""

    @property
    def lines(self) -> list[str]:
        """The command lines; a "#" begins a comment."""
        return [line.strip() for line in self.script.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@frozen
class Answer:
    """What one line did."""

    line: str
    code: int
    stdout: str
    stderr: str

    @property
    def told(self) -> str:
        """All of it, for a message."""
        return f"{self.code}\n{self.stdout}{self.stderr}"

    @property
    def shape(self) -> str:
        """Stdout with everything replaced that can't be equal."""
        text = self.stdout
        for pattern, name in PLACEHOLDERS:
            text = re.sub(pattern, name, text)
        return text


@frozen
class Tool:
    """A program that speaks buildah's command line, on its own store and in its own working folder."""

    argv: tuple[str, ...]
    folder: Path
    environment: dict[str, str]

    def run(self, line: str) -> Answer:
        """Run one line of a scenario. ``$PWD`` in it is the working folder."""
        words = [word.replace("$PWD", str(self.folder)) for word in shlex.split(line)]
        done = subprocess.run(
            [*self.argv, *words], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True
        )
        out, err = (
            text.decode(errors="replace").replace(str(self.folder), "$PWD") for text in (done.stdout, done.stderr)
        )
        return Answer(line, done.returncode, out, err)

    def script(self, text: str, **variables: str) -> Answer:
        """Run a script for bash in which ``buildah`` is an alias for this program, as people have it."""
        alias = f"shopt -s expand_aliases\nalias buildah={shlex.quote(shlex.join(self.argv))}\n"
        path = self.folder / "script"
        path.write_text(alias + textwrap.dedent(text))
        done = subprocess.run(
            ["bash", str(path)], cwd=self.folder, env=self.environment | variables, stdin=subprocess.DEVNULL,
            capture_output=True,
        )  # fmt: skip
        out, err = (
            data.decode(errors="replace").replace(str(self.folder), "$PWD") for data in (done.stdout, done.stderr)
        )
        return Answer("the script", done.returncode, out, err)

    def image(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The execution config of an image, and its file tree."""
        archive = self.folder / "exported.tar"
        done = self.run(f"push -q {name} docker-archive:{archive}:exported/image:latest")
        assert done.code == 0, f"{self.argv[0]} push {name}: {done.stderr}"
        try:
            return read_archive(archive)
        finally:
            archive.unlink()


def buildlib(folder: Path, environment: dict[str, str]) -> Tool:
    """The command line of this checkout, run by the interpreter that runs the tests."""
    passed = {name: value for name, value in os.environ.items() if name.startswith("BUILDLIB_TEST")}
    environment = environment | passed | {"PYTHONPATH": str(ROOT)}
    program = "import sys; from buildlib.cli import main; sys.exit(main())"
    return Tool((sys.executable, "-c", program, "--root", f"{folder}.store"), folder, environment)


def compare(scenario: Scenario, theirs: Tool, ours: Tool) -> None:
    """Run all lines with both; an assertion names the first line whose outcome differs without a listed reason."""
    known = set(scenario.differs)
    for line in scenario.lines:
        expected, got = theirs.run(line), ours.run(line)
        if line in scenario.differs:
            known.discard(line)
            _check_difference(scenario.differs[line], expected, got)
            continue
        if line.startswith("run ") and not expected.stdout and got.stdout and got.code == expected.code:
            expected = theirs.run(line)  # with chroot isolation and much load, buildah loses what a command prints
        context = f"{line}\nbuildah: {expected.told}\nbuildlib: {got.told}"
        assert got.code == expected.code, f"exit codes of {context}"
        assert got.shape == expected.shape, f"stdout of {context}"
        assert got.code == 0 or "Error: " in got.stderr or not expected.stderr, f"the error does not say so: {context}"
        assert "internal error" not in got.stderr, context
    assert not known, f"lines that do not occur: {known}"
    for name in scenario.images:
        _compare_images(scenario, name, theirs, ours)


def compare_scripts(text: str, images: tuple[str, ...], theirs: Tool, ours: Tool, registries: list[str]) -> None:
    """Run a whole script with both, each with a registry of its own: what it prints and leaves is the same."""
    answers = [tool.script(text, REGISTRY=registry) for tool, registry in zip((theirs, ours), registries, strict=True)]
    shapes = [answer.shape.replace(registry, "$REGISTRY") for answer, registry in zip(answers, registries, strict=True)]
    context = f"buildah: {answers[0].told}\nbuildlib: {answers[1].told}"
    assert answers[0].code == 0, f"buildah itself fails: {context}"
    assert answers[1].code == 0, context
    assert shapes[1] == shapes[0], context
    for name in images:
        _compare_images(Scenario("", ""), name, theirs, ours)


def _compare_images(scenario: Scenario, name: str, theirs: Tool, ours: Tool) -> None:
    (their_config, their_tree), (our_config, our_tree) = theirs.image(name), ours.image(name)
    for synthetic in MOUNT_POINTS - our_tree.keys():
        their_tree.pop(synthetic, None)
    for path, entry in scenario.files.items():
        assert their_tree.get(path) != entry, f"{path}: is as buildah has it, remove it from the differences"
        their_tree[path] = entry
    assert our_config == their_config, f"the config of {name}: {_differences(our_config, their_config)}"
    assert our_tree == their_tree, f"the files of {name}: {_differences(our_tree, their_tree)}"


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    keys = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    return "".join(f"\n  {key}: buildah {theirs.get(key)}, buildlib {ours.get(key)}" for key in keys[:20])


def _check_difference(ours: Ours, expected: Answer, got: Answer) -> None:
    assert got.code == ours.code, f"{got.line}: exit code {got.code}\n{got.stderr}"
    if ours.stdout is not None:
        assert re.fullmatch(ours.stdout, got.stdout, re.DOTALL), f"{got.line}: {got.stdout!r}"
    same = got.code == expected.code and got.shape == expected.shape
    assert not same, f"{got.line}: does as buildah does, remove it from the differences ({ours.reason})"


def read_archive(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Config and merged tree of the image in a docker archive."""
    with tarfile.open(path) as archive:

        def load(name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        (manifest,) = json.loads(load("manifest.json"))
        config = json.loads(load(manifest["Config"]))["config"]
        tree: dict[str, str] = {}
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(load(layer))) as tar:
                _apply(tree, tar)
    wanted = {name: config[name] for name in CONFIG_FIELDS if config.get(name)}
    wanted.get("Labels", {}).pop(OWN_LABEL, None)
    if "Env" in wanted:
        wanted["Env"] = sorted(wanted["Env"])  # which of two different variables comes first means nothing
    return {name: value for name, value in wanted.items() if value}, tree


def _apply(tree: dict[str, str], tar: tarfile.TarFile) -> None:
    for member in tar:
        name = member.name.strip("/").removeprefix("./") or "."
        folder, _, base = name.rpartition("/")
        if base == ".wh..wh..opq":
            for path in [path for path in tree if path.startswith(f"{folder}/")]:
                del tree[path]
        elif base.startswith(".wh."):
            gone = f"{folder}/{base.removeprefix('.wh.')}".lstrip("/")
            for path in [path for path in tree if path == gone or path.startswith(f"{gone}/")]:
                del tree[path]
        elif name != ".":
            tree[name] = _describe(tar, member, tree)


def _describe(tar: tarfile.TarFile, member: tarfile.TarInfo, tree: dict[str, str]) -> str:
    if member.islnk():
        return tree[member.linkname.strip("/").removeprefix("./")]
    kind = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f"}.get(
        member.type, "?"
    )
    text = f"{kind} {member.mode & 0o7777:o} {member.uid}:{member.gid}"
    if member.issym():
        return f"{text} -> {member.linkname}"
    if member.isreg():
        content = tar.extractfile(member)
        assert content is not None
        return f"{text} {hashlib.sha256(content.read()).hexdigest()[:16]}"
    return text
