"""A git server for tests, with repositories that a test fills."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator


@frozen
class Upstream:
    """Repositories below ``folder``, served by git's own daemon at ``url``."""

    folder: Path
    url: str

    def git(self, name: str, *words: str) -> str:
        """Run git in the working tree of a repository, with an author and nothing of this machine's settings."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "n"), ("EMAIL", "e@example.com"), ("DATE", "1000000000 +0000"))},
        }  # fmt: skip
        argv = ["git", "-C", str(self.folder / name), "-c", "protocol.file.allow=always", *words]
        return subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    def repository(self, name: str) -> str:
        """A new repository; its URL."""
        (self.folder / name).mkdir()
        self.git(name, "init", "--quiet", "-b", "main")
        return f"{self.url}/{name}"

    def commit(self, name: str, **files: str) -> str:
        """Write files ("__" in a name is a slash, "_dot_" a dot), commit them, return the commit."""
        for key, text in files.items():
            path = self.folder / name / key.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git(name, "add", "--all")
        self.git(name, "commit", "--quiet", "--allow-empty", "-m", "m")
        return self.git(name, "rev-parse", "HEAD")


@contextmanager
def serve(folder: Path) -> Iterator[Upstream]:
    """Git's own daemon on a free port of this machine, until the end of the block."""
    if shutil.which("git") is None or not Path("/usr/lib/git-core/git-daemon").exists():
        pytest.skip("git and its daemon are not installed: apt-get install git")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [
        "git",
        "daemon",
        f"--base-path={folder}",
        "--export-all",
        "--listen=127.0.0.1",
        f"--port={port}",
        "--reuseaddr",
    ]
    daemon = subprocess.Popen(argv, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Upstream(folder, f"git://127.0.0.1:{port}")
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait()
