"""SSH agents for runs: forwarded or with given keys, and never changed by a run."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib import Ssh
from buildlib.errors import NotFound, UsageError
from buildlib.ssh_agent import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.container import WorkingContainer
    from buildlib.store import Store

LIST, SIGN, REMOVE_ALL = 11, 13, 19


@pytest.fixture
def key(tmp_path: Path) -> str:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed: apt-get install openssh-client")
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", path], check=True)
    return str(path)


@pytest.fixture
def agent(tmp_path: Path, key: str) -> Iterator[str]:
    """An agent as a user has it, with one key."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        subprocess.run(["ssh-add", "-q", key], env={**os.environ, "SSH_AUTH_SOCK": str(path)}, check=True)
        yield str(path)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ask(path: str, kind: int) -> tuple[int, bytes]:
    with socket.socket(socket.AF_UNIX) as connection:
        fd = os.open(str(Path(path).parent), os.O_PATH)
        connection.connect(f"/proc/self/fd/{fd}/{Path(path).name}")
        os.close(fd)
        connection.sendall(struct.pack(">IB", 1, kind))
        head = connection.recv(5)
        return head[4], connection.recv(1 << 16) if struct.unpack(">I", head[:4])[0] > 1 else b""


def test_an_agent_is_passed_on_and_can_not_be_changed(store: Store, agent: str) -> None:
    with serve(store, agent) as path:
        kind, keys = ask(path, LIST)
        assert (kind, b"mine" in keys) == (12, True)
        assert ask(path, REMOVE_ALL)[0] == 5
        assert b"mine" in ask(path, LIST)[1]
    assert not Path(path).exists()
    assert list(Path(store.tmp).iterdir()) == []


def test_keys_get_an_agent_of_their_own(store: Store, key: str) -> None:
    before = threading.active_count()
    with serve(store, None, [key]) as path:
        assert b"mine" in ask(path, LIST)[1]
    assert list(Path(store.tmp).iterdir()) == []
    assert threading.active_count() <= before + 1


def test_what_can_not_serve_says_so(store: Store, key: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not answer"), serve(store, str(tmp_path / "nowhere")):
        pass
    with pytest.raises(UsageError, match=r"the SSH key .*missing"), serve(store, None, [str(tmp_path / "missing")]):
        pass
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", key], check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(UsageError, match="the SSH key") as caught, serve(store, None, [key]):
        pass
    assert "passphrase" in (caught.value.hint or "")
    assert list(Path(store.tmp).iterdir()) == []


@pytest.mark.root
def test_a_run_finds_it_where_the_variable_says(container: WorkingContainer, agent: str) -> None:
    mount = Ssh(agent=agent, uid=1000, gid=1000, mode=0o640)
    script = 'test -S "$SSH_AUTH_SOCK" && stat -c "%a %u:%g %n" "$SSH_AUTH_SOCK"'
    seen = container.run(script, mounts=[mount], user="app", capture=True).stdout
    assert seen == "640 1000:1000 /run/buildkit/ssh_agent.0\n"
    container.run('test -z "$SSH_AUTH_SOCK"; test ! -e /run/buildkit')
    target = container.run('echo "$SSH_AUTH_SOCK"', mounts=[Ssh(agent=agent, target="/s")], capture=True).stdout
    assert target == "/s\n"
    assert not {"/run", "/run/buildkit", "/s"} & {change.path for change in container.diff()}


@pytest.mark.root
def test_one_that_is_missing_matters_only_when_it_is_required(cached: WorkingContainer, agent: str) -> None:
    cached.run('test -z "$SSH_AUTH_SOCK"', mounts=[Ssh()])
    with pytest.raises(NotFound, match="the SSH agent 'default' is missing"):
        cached.run("true", mounts=[Ssh(required=True)])
    cached.run("echo 1 > /1", mounts=[Ssh(agent=agent)])
    other = cached.fork()
    assert other.run("echo 2 > /2", mounts=[Ssh(agent=agent)]).cached is False
    assert cached.run("echo 2 > /2", mounts=[Ssh()]).cached is True
    other.remove()
