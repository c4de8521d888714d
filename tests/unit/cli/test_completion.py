"""Completion in real shells: what stands on the line after Tab was pressed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.cli.completion import choices, flags, is_path, positionals, verbs

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Rows

START = {
    "bash": (["bash", "--norc", "-i"], "source {script}"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -U compinit; compinit -u -D; unsetopt prompt_sp; source {script}; bindkey '^I' complete-word",
    ),
    "fish": (["fish", "--no-config", "-i"], "source {script}"),
}
ESCAPES = re.compile(r"\x1b\[[0-9;?>=]*[a-zA-Z]|\x1b[=>()][0-9A-Z]?|\x1b\][^\x07]*\x07|[\r\x07\x08]")
ROOT = Path(__file__).parents[3]


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, name: str, folder: Path, root: Path) -> None:
        argv, setup = START[name]
        if shutil.which(argv[0]) is None:
            pytest.skip(f"{name} is not installed: apt-get install {name}")
        program = folder / "bin" / "buildlib"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m buildlib "$@"\n')
        program.chmod(0o755)
        script = folder / "script"
        script.write_bytes(subprocess.run([program, "completion", name], check=True, capture_output=True).stdout)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            path = f"{program.parent}:/usr/bin:/bin"
            environment = {"PATH": path, "HOME": str(folder), "TERM": "dumb", "BUILDLIB_ROOT": str(root), "PS1": "> "}
            os.execvpe(argv[0], argv, environment)
        self.type(setup.format(script=script) + "\n")
        self.type("echo rea''dy\n")
        self.wait("ready")

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait(self, wanted: str) -> str:
        """What was shown up to ``wanted``."""
        shown, end = "", time.monotonic() + 20
        while wanted not in shown:
            ready = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, f"{wanted!r} never came: {shown!r}"
            try:
                shown += ESCAPES.sub("", os.read(self.fd, 4096).decode(errors="replace"))
            except OSError:
                pytest.fail(f"the shell has ended: {shown!r}")
        return shown

    def completes(self, line: str, wanted: str) -> None:
        """``line`` and Tab give ``wanted``."""
        self.type(f"{line}\t")
        self.wait(wanted)
        self.type("\x15")

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.mark.parametrize("name", START)
def test_a_shell_completes_verbs_flags_and_names(name: str, tmp_path: Path, rows: Rows) -> None:
    rows.image("aa", "localhost/site:one")
    rows.container("bb", "working")
    shell = Shell(name, tmp_path, rows.root)
    try:
        shell.completes("buildlib imag", "buildlib images")
        shell.completes("buildlib manifest cre", "manifest create")
        shell.completes("buildlib from --pull-n", "--pull-never")
        shell.completes("buildlib --log-level deb", "debug")
        shell.completes("buildlib run wor", "working")
        shell.completes("buildlib push --compression-format zs", "zstd")
        shell.completes("buildlib tag localhost/si", "localhost/site")
        shell.completes("buildah contain", "containers")
        shell.completes("buildlib build --targ", "--target")
    finally:
        shell.close()


def test_names_with_a_colon_are_completed_behind_it(tmp_path: Path, rows: Rows) -> None:
    rows.image("aa", "localhost/site:one")
    shell = Shell("bash", tmp_path, rows.root)
    try:
        shell.completes("buildlib tag localhost/site:o", "localhost/site:one")
        shell.completes("buildlib commit --iidfile scr", "--iidfile script")
        shell.completes("buildlib from --pull=nev", "--pull=never")
    finally:
        shell.close()


@pytest.mark.parametrize("words", [["powershell"], [], ["bash", "zsh"]])
def test_other_shells_are_refused(call, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert call("completion", *words).code == 125


def test_every_verb_and_each_of_its_flags_is_offered() -> None:
    found = {verb.name: verb for verb in verbs()}
    assert {"build", "from", "manifest create", "completion"} <= set(found)
    for name in ("bash", "zsh", "fish"):
        module = __import__(f"buildlib.cli.completion_{name}", fromlist=["script"])
        text = module.script(list(found.values()))
        missing = [
            flag.name
            for verb in found.values()
            for flag in flags(verb)
            if not re.search(rf"(--|-l ){re.escape(flag.name)}\b", text)
        ]
        assert missing == []


def test_what_stands_where() -> None:
    found = {verb.name: verb for verb in verbs()}
    assert positionals(found["run"]) == ["container", "file", "none"]
    assert positionals(found["copy"]) == ["container", "file", "file"]
    assert positionals(found["rmi"]) == ["image"]
    by_name = {flag.name: flag for flag in found["commit"].flags}
    assert (list(choices(found["commit"], by_name["format"])), is_path(by_name["iidfile"])) == (["docker", "oci"], True)
    templates = {flag.name: flag for flag in found["images"].flags}
    assert not choices(found["images"], templates["format"])
