"""Networks of commands, as root: a private one behind a pair of links, none, the host's, and one that is there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from .machine import HERE, LOCAL, PORT, WORLD, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        yield made


def buildlib(machine: Machine, tmp_path: Path, *words: str, fails: bool = False) -> str:
    """A command of ours on the machine: what it prints."""
    program = "from buildlib.cli import program; program()"
    done = machine.run(sys.executable, "-c", program, "--root", str(tmp_path / "store"), *words)
    if not fails and done.returncode:
        raise AssertionError(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if fails else "")


def test_a_private_network_reaches_the_world_under_the_address_of_the_machine(
    machine: Machine, tmp_path: Path, busybox_tar: str
) -> None:
    buildlib(machine, tmp_path, "from", "--name", "c", f"tarball:{busybox_tar}")
    before = machine.state()
    script = (
        f"nc {WORLD} {PORT} </dev/null; nc {LOCAL} {PORT} </dev/null; cat /sys/class/net/eth0/mtu; ls /sys/class/net"
    )
    out = buildlib(machine, tmp_path, "run", "--network", "private", "c", "--", "sh", "-c", script)
    assert out.split() == [HERE, "10.89.0.2", "1400", "eth0", "lo"]
    assert machine.state() == before, "something is left behind"


def test_a_private_network_has_a_loopback_of_its_own(machine: Machine, tmp_path: Path, busybox_tar: str) -> None:
    buildlib(machine, tmp_path, "from", "--network", "private", "--name", "c", f"tarball:{busybox_tar}")
    reach = f"nc -w 2 127.0.0.1 {PORT} </dev/null"
    assert buildlib(machine, tmp_path, "run", "--network", "host", "c", "--", "sh", "-c", reach) == "127.0.0.1\n"
    out = buildlib(machine, tmp_path, "run", "c", "--", "sh", "-c", f"{reach} 2>/dev/null || echo closed")
    assert out == "closed\n"


def test_without_a_network_nothing_is_reached(machine: Machine, tmp_path: Path, busybox_tar: str) -> None:
    buildlib(machine, tmp_path, "from", "--name", "c", f"tarball:{busybox_tar}")
    script = "; ".join(f"nc -w 2 {a} {PORT} </dev/null 2>/dev/null || echo closed" for a in (WORLD, LOCAL, "127.0.0.1"))
    out = buildlib(machine, tmp_path, "run", "--network", "none", "c", "--", "sh", "-c", f"{script}; ls /sys/class/net")
    assert out.split() == ["closed", "closed", "closed", "lo"]


TWO = f"""
import sys, threading, time
from buildlib.store import Store
with Store.open(sys.argv[1]) as store:
    made = [store.from_image("tarball:" + sys.argv[2]) for _ in range(2)]
    mine = "ip -4 -o addr show eth0 | sed 's/.*inet \\\\([0-9.]*\\\\).*/\\\\1/'"
    # Each serves at its own addresses, asks the world, then the other, and waits for its turn to end.
    script = (f"nc -l -p 9000 </dev/null & {{mine}} > /tmp/mine; nc {WORLD} {PORT} </dev/null;"
              " cat /tmp/mine; sleep 1; for a in 10.89.0.2 10.89.0.6; do"
              " if ! grep -q $a /tmp/mine && nc -w 2 $a 9000 </dev/null 2>/dev/null; then echo met; fi; done")
    outs = [None, None]
    def work(n):
        outs[n] = made[n].run(script, network="private", capture=True).stdout.split()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    [t.start() for t in threads]; [t.join() for t in threads]
    print(sorted(outs))
"""


def test_two_private_networks_at_once_have_addresses_of_their_own_and_do_not_meet(
    machine: Machine, tmp_path: Path, busybox_tar: str
) -> None:
    before = machine.state()
    done = machine.run(sys.executable, "-c", TWO, str(tmp_path / "store"), busybox_tar)
    assert done.stdout.strip() == str([[HERE, "10.89.0.2"], [HERE, "10.89.0.6"]]), done.stderr
    assert machine.state() == before


KILLED = """
import os, signal, sys
from buildlib.store import Store
with Store.open(sys.argv[1]) as store:
    container = store.from_image("tarball:" + sys.argv[2])
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.read(reader, 1)
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)
    container.run("echo x; sleep 100", network="private", stdout=writer)
"""


def test_a_killed_run_leaves_nothing(machine: Machine, tmp_path: Path, busybox_tar: str) -> None:
    before = machine.state()
    done = machine.run(sys.executable, "-c", KILLED, str(tmp_path / "store"), busybox_tar)
    assert done.returncode == -9, done.stderr
    for _ in range(200):  # the kernel takes a network namespace away a little later
        if machine.state() == before:
            break
        machine.run("sleep", "0.05")
    assert machine.state() == before
    # and the next has the same address again
    buildlib(machine, tmp_path, "from", "--name", "c", f"tarball:{busybox_tar}")
    out = buildlib(machine, tmp_path, "run", "--network", "private", "c", "--", "nc", LOCAL, str(PORT))
    assert out == "10.89.0.2\n"


def test_addresses_that_the_machine_uses_are_left_alone(machine: Machine, tmp_path: Path, busybox_tar: str) -> None:
    machine.run("ip", "address", "add", "10.89.0.1/24", "dev", "lo")
    buildlib(machine, tmp_path, "from", "--name", "c", f"tarball:{busybox_tar}")
    out = buildlib(machine, tmp_path, "run", "--network", "private", "c", "--", "nc", LOCAL, str(PORT))
    assert out == "10.89.1.2\n"


def test_a_network_that_is_there_is_joined_by_its_path(machine: Machine, tmp_path: Path, busybox_tar: str) -> None:
    program = (
        "import sys; from buildlib.store import Store\n"
        "with Store.open(sys.argv[1]) as store: print(store.from_image('tarball:' + sys.argv[2]).run("
        "'ls /sys/class/net', network='ns:' + sys.argv[3], capture=True).stdout.split())"
    )
    space = f"/proc/{machine.world}/ns/net"
    done = machine.run(sys.executable, "-c", program, str(tmp_path / "store"), busybox_tar, space)
    assert done.stdout.strip() == "['far', 'lo']", done.stderr


def test_bud_builds_in_a_private_network(machine: Machine, tmp_path: Path, busybox_tar: str) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        f"FROM base\nRUN nc {WORLD} {PORT} </dev/null > /seen\nRUN --network=none ls /sys/class/net > /none\n"
    )
    buildlib(machine, tmp_path, "from", "--name", "b", f"tarball:{busybox_tar}")
    buildlib(machine, tmp_path, "commit", "b", "localhost/base")
    flags = ("--network", "private", "--build-context", "base=container-image://localhost/base", "-t", "localhost/out")
    buildlib(machine, tmp_path, "bud", *flags, str(context))
    buildlib(machine, tmp_path, "from", "--name", "c", "localhost/out")
    assert buildlib(machine, tmp_path, "run", "c", "--", "cat", "/seen", "/none").split() == [HERE, "lo"]


def test_the_firewall_of_the_machine_is_named_when_it_lets_nothing_through(
    machine: Machine, tmp_path: Path, busybox_tar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if machine.run("iptables-nft", "-P", "FORWARD", "DROP").returncode:
        pytest.skip("NOT TESTED: iptables-nft is not installed, or the kernel has no nf_tables")
    buildlib(machine, tmp_path, "from", "--name", "c", f"tarball:{busybox_tar}")
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    out = buildlib(machine, tmp_path, "run", "--network", "private", "c", "--", "true", fails=True)
    assert "the firewall of this machine drops what is forwarded (chain of the table filter)" in out
    assert "neither pasta nor slirp4netns is installed" in out
