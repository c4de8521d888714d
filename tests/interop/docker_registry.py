"""Debian's docker-registry as a process of the test's own, on a free port of the loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: true}}
http: {{addr: "{host}"}}
"""
USER = "ann", "secret"
HTPASSWD = "ann:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
"""The password as bcrypt, the only form that this registry takes."""


@contextmanager
def serve(*, password: bool = False) -> Iterator[str]:
    """The host:port of a registry for the length of the block; with ``password`` it wants that of :data:`USER`."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed: apt-get install docker-registry")
    with tempfile.TemporaryDirectory(prefix="registry-", ignore_cleanup_errors=True) as name:
        folder, host = Path(name), f"127.0.0.1:{_free_port()}"
        config = CONFIG.format(folder=folder, host=host)
        if password:
            (folder / "htpasswd").write_text(HTPASSWD)
            config += f"auth:\n  htpasswd: {{realm: test, path: {folder}/htpasswd}}\n"
        (folder / "config.yml").write_text(config)
        with (folder / "log").open("w") as log:
            argv = ["setpriv", "--pdeathsig", "KILL", program, "serve", folder / "config.yml"]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_for(host, process, folder / "log")
            yield host
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    address, _, port = host.partition(":")
    for _ in range(600):
        try:
            socket.create_connection((address, int(port)), 1).close()
        except OSError:
            if process.poll() is not None:
                pytest.fail(f"docker-registry ended:\n{log.read_text()}", pytrace=False)
            time.sleep(0.05)
        else:
            return
    pytest.fail("docker-registry does not answer", pytrace=False)
