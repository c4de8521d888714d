"""A run's network behind a program that speaks for it with ordinary sockets: pasta(1) or slirp4netns(1).

No rights are needed, so it is what there is without root. The program is none of the command's processes, sees
nothing of it but its packets, and ends with it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from buildlib.errors import SandboxError
from buildlib.linux import process
from buildlib.worker.running.network import Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildlib.linux.netlink import Socket

DNS = "10.0.2.3"
"""Where a resolver answers that asks those of the host, also one that listens on its loopback only."""
LACKING = "neither pasta nor slirp4netns is installed"
INSTALL = "apt-get install slirp4netns (or passt), or --network=host"
PATIENCE = 10.0
"""Seconds that the program has for its first steps."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAP = "tap0"


def program() -> str | None:
    """The path of the one that is installed; slirp4netns goes first."""
    folders = (os.environ.get("PATH") or _PATH).split(":")
    for name in ("slirp4netns", "pasta"):
        for folder in folders:
            if folder.startswith("/") and os.access(f"{folder}/{name}", os.X_OK):
                return f"{folder}/{name}"
    return None


def arguments(path: str, namespace: int) -> list[str]:
    """The command line that joins the network namespace: nothing of the host's loopback, no ports of ours. Pure."""
    where = f"/proc/self/fd/{namespace}"
    if os.path.basename(path) == "slirp4netns":
        return [path, "--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--netns-type=path",
                where, _TAP]  # fmt: skip
    return [path, "--foreground", "--quiet", "--config-net", "--no-map-gw", f"--dns-forward={DNS}", "--tcp-ports=none",
            "--udp-ports=none", "--tcp-ns=none", "--udp-ns=none", f"--netns={where}"]  # fmt: skip


def connect(namespace: int, inside: Socket) -> Network:
    """Start the program and wait until there is a way out. Raises :class:`SandboxError`."""
    path = program()
    if path is None:
        raise SandboxError(f"network private: {LACKING}", op="network private", hint=INSTALL)
    words = os.memfd_create("said", os.MFD_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(arguments(path, namespace), namespace, words)
    try:
        _wait(path, pid, inside, words)
    finally:
        os.close(words)

    def leave() -> None:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    return Network(namespace, (), leave)


def _become(words: list[str], namespace: int, said: int) -> NoReturn:
    try:
        process.die_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGTERM, signal.SIGPIPE):  # an ignored SIGPIPE makes pasta give up
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for target, fd in enumerate((null, said, said)):
            os.dup2(fd, target)
        process.close_from(3, on_exec=True)
        os.set_inheritable(namespace, True)
        os.execve(words[0], words, {"PATH": _PATH})  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{words[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _wait(path: str, pid: int, inside: Socket, words: int) -> None:
    """Until there is a default route in there."""
    until = time.monotonic() + PATIENCE
    while not any(route.default for route in inside.routes()):
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() > until:
            if not ended:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            lines = os.pread(words, 4096, 0).decode(errors="replace").split("\n")
            why = "; ".join(line.strip() for line in lines if line.strip()) or "it made no connection"
            name = os.path.basename(path)
            raise SandboxError(f"network private: {name}: {why}", op="network private", hint="--network=host, or none")
        time.sleep(0.002)
