"""A real docker daemon, started on a socket and in folders of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.linux.mount import MNT_DETACH, umount

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def engine(*flags: str) -> Iterator[str]:
    """The address of a daemon, for the length of the block; on overlay where that works, else on vfs.

    ``flags`` are more of dockerd's own.
    """
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd is not installed: apt-get install docker.io")
    with tempfile.TemporaryDirectory(prefix="docker-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        daemon = start(folder, "overlay2", *flags) or start(folder, "vfs", *flags)
        if daemon is None:
            last = (folder / "log").read_text().splitlines()[-3:]
            pytest.skip("dockerd does not start here: " + " | ".join(last))
        try:
            yield f"unix://{folder}/sock"
        finally:
            stop(daemon)
            points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
            for point in reversed([point for point in points if point.startswith(f"{folder}/")]):
                umount(point, MNT_DETACH)


def start(folder: Path, driver: str, *flags: str) -> subprocess.Popen[bytes] | None:
    """The daemon, or None when it ends by itself; its log is ``log`` in the folder."""
    argv = ["setpriv", "--pdeathsig", "TERM"]  # it ends also when this process is killed
    argv += ["dockerd", "--host", f"unix://{folder}/sock", "--data-root", f"{folder}/data"]
    argv += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    argv += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
    argv += ["--default-ulimit", "nofile=1024:1024", "--default-ulimit", "nproc=4096:4096"]  # no more than a CI job has
    with (folder / "log").open("wb") as log:
        # It starts containerd itself. A session of its own, so that both can be ended together.
        argv += [*flags, "--storage-driver", driver]
        daemon = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    for _ in range(300):
        if daemon.poll() is not None:
            return None
        if b"API listen on" in (folder / "log").read_bytes():
            return daemon
        time.sleep(0.1)
    stop(daemon)
    return None


def stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
