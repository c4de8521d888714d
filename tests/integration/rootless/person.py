"""An ordinary user of this machine, made up for a test: known to it by files that only the user's processes see.

What its processes see of /etc/passwd, /etc/subuid and /etc/subgid is bound over the real files in a mount namespace of
their own, and where Python or this checkout lie in a folder that only root may enter, they are shown there again.
Nothing of the machine is changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildlib.linux import mount, namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
COUNT = 65536
"""Subordinate ids of a user."""

_made = count()


class Person:
    """A user called ``name``, with a home below ``folder``; with or without subordinate ids.

    Its ids are nobody else's, also among tests that run at the same time.
    """

    def __init__(self, folder: Path, name: str, *, subordinate: bool) -> None:
        number = os.getpid() % 1000 * 20 + next(_made) % 20
        self.name, self.uid = name, 300_000 + number
        self.subordinate = 1_000_000_000 + number * COUNT
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        os.chown(self.home, self.uid, self.uid)
        line = f"{name}:{self.subordinate}:{COUNT}\n" if subordinate else ""
        (folder / "subuid").write_text(line)
        (folder / "subgid").write_text(line)
        own = f"{name}:x:{self.uid}:{self.uid}::{self.home}:/bin/sh\n"
        (folder / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{own}")
        self.before: Callable[[], object] | None = None
        """What its processes do last, while they are root still: to take something away from the machine they see."""

    def run(
        self, *argv: str, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user; output and errors are text."""
        environ = {**self._environ(), **(env or {})}
        done = subprocess.run(argv, capture_output=True, text=True, env=environ, cwd=ROOT, preexec_fn=self._become)
        if check and done.returncode:
            raise AssertionError(f"{argv} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, program: str, *words: str) -> subprocess.Popen[str]:
        """A Python program as this user, which is left to run; its output is a pipe."""
        argv = [sys.executable, "-c", program, *words]
        return subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environ(),
            cwd=ROOT,
            preexec_fn=self._become,  # noqa: PLW1509 - no thread of ours is about
        )

    def _environ(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            **{name: value for name, value in os.environ.items() if name.startswith("BUILDLIB_TEST")},
        }

    def buildlib(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of ours as this user."""
        return self.run(sys.executable, "-c", "from buildlib.cli import program; program()", *words, check=check)

    def python(self, program: str, *words: str) -> Any:
        """A Python program as this user; what it prints last is JSON."""
        done = self.run(sys.executable, "-c", program, *words)
        return json.loads(done.stdout.splitlines()[-1])

    def _become(self) -> None:
        """In the child, before it executes the program."""
        namespaces.unshare(namespaces.NEWNS)
        mount.make_private()
        for name in ("passwd", "subuid", "subgid"):
            mount.bind(str(self.folder / name), f"/etc/{name}")
        _open_the_way(sys.prefix, sys.base_prefix, str(ROOT))
        if self.before is not None:
            self.before()
        os.setgroups([])
        os.setresgid(self.uid, self.uid, self.uid)
        os.setresuid(self.uid, self.uid, self.uid)


def _open_the_way(*paths: str) -> None:
    """Let everybody reach ``paths``, by hiding each folder on the way that others may not enter behind one they may."""
    closed: dict[str, list[tuple[str, int]]] = {}
    for path in paths:
        folders = list(reversed(Path(path).parents))
        first = next((folder for folder in folders if not folder.stat().st_mode & 0o001), None)
        if first is not None:
            closed.setdefault(str(first), []).append((path, mount.open_tree(path)))
    for folder, shown in closed.items():
        fd = mount.new_mount("tmpfs", ("mode=755",), source="tmpfs")
        mount.move_mount(fd, folder)
        for path, tree in shown:
            Path(path).mkdir(parents=True)
            mount.move_mount(tree, path)
