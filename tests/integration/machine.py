"""A machine and the world around it: two network namespaces with a cable between, nothing of the real one's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from buildlib.linux import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

HERE, WORLD = "192.0.2.9", "192.0.2.1"
LOCAL = "198.51.100.7"
"""Another address of the machine, which is not that of its link."""
PORT = 7000
SERVER = f"""
import socket
listening = socket.create_server(("0.0.0.0", {PORT}))
print("ready", flush=True)
while True:
    peer, (address, _) = listening.accept()
    with peer:
        peer.sendall(address.encode() + b"\\n")
"""
"""Tells everybody which address they come from."""


class Machine:
    """Commands run on it; in the world and on it listens a server at :data:`PORT`, also on its loopback."""

    def __enter__(self) -> Machine:
        if shutil.which("ip") is None:
            pytest.skip("ip is not installed: apt-get install iproute2")
        self._running: list[subprocess.Popen[str]] = []
        try:
            self._here, self._world = self._namespace(), self._namespace()
            done = self.run("ip", "link", "add", "cable", "type", "veth", "peer", "far", "netns", str(self._world.pid))
            if done.returncode:
                pytest.skip(f"NOT TESTED, this kernel gives no veth: {done.stderr.strip()}")
            for where, link, address in ((self._here, "cable", HERE), (self._world, "far", WORLD)):
                self._in(where, "ip", "link", "set", "lo", "up")
                self._in(where, "ip", "address", "add", f"{address}/24", "dev", link)
                self._in(where, "ip", "link", "set", link, "up")
                self._serve(where)
            self._in(self._here, "ip", "link", "set", "cable", "mtu", "1400")
            self._in(self._here, "ip", "address", "add", f"{LOCAL}/32", "dev", "lo")
            self._in(self._here, "ip", "route", "add", "default", "via", WORLD)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in reversed(self._running):
            process.kill()
            process.communicate()

    @property
    def world(self) -> int:
        """A process out there."""
        return self._world.pid

    def enter(self) -> None:
        """Let this process be on the machine."""
        with open(f"/proc/{self._here.pid}/ns/net", "rb") as file:  # noqa: PTH123
            namespaces.setns(file.fileno(), namespaces.NEWNET)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A program on the machine."""
        return subprocess.run(argv, preexec_fn=self.enter, capture_output=True, text=True, timeout=60)

    def state(self) -> str:
        """Its links, its IPv4 routes and, where there is a program that shows them, the rules of its packet filter."""
        shown = [self.run("ip", "-o", "link").stdout, self.run("ip", "-4", "route", "show", "table", "all").stdout]
        if shutil.which("nft"):
            shown.append(self.run("nft", "list", "ruleset").stdout)
        return "".join(shown)

    def _namespace(self) -> subprocess.Popen[str]:
        program = "import sys; print(flush=True); sys.stdin.read()"
        return self._start(program, lambda: namespaces.unshare(namespaces.NEWNET))

    def _serve(self, where: subprocess.Popen[str]) -> None:
        self._start(SERVER, lambda: _join(where.pid))

    def _start(self, program: str, before: Callable[[], object]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=before,  # noqa: PLW1509 - one thread
        )
        self._running.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    @staticmethod
    def _in(where: subprocess.Popen[str], *argv: str) -> None:
        subprocess.run(argv, preexec_fn=lambda: _join(where.pid), check=True)


def _join(pid: int) -> None:
    with open(f"/proc/{pid}/ns/net", "rb") as file:  # noqa: PTH123
        namespaces.setns(file.fileno(), namespaces.NEWNET)
