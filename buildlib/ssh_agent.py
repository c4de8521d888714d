"""An SSH agent for the time of a run: a socket that passes on to the caller's agent, or to one that holds given keys.

What runs may list the keys and have something signed; it can neither add, remove nor lock them, as with docker. The
protocol is that of draft-ietf-sshm-ssh-agent.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from buildlib.content import temporary
from buildlib.errors import NotFound, UsageError, from_os_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildlib.store import Store

_ALLOWED = frozenset({11, 13})
"""SSH_AGENTC_REQUEST_IDENTITIES and SSH_AGENTC_SIGN_REQUEST."""
_FAILURE = b"\0\0\0\1\5"
_LONGEST = 256 << 10
_SOCKET = "agent"


@contextmanager
def serve(
    store: Store, agent: str | None, keys: Sequence[str] = (), *, mode: int = 0o600, uid: int = 0, gid: int = 0
) -> Iterator[str]:
    """The path of a socket, for the length of the block, behind which is ``agent`` (the path of a socket), or ``keys``.

    ``mode``, ``uid`` and ``gid`` are those of the socket; nobody else of this machine reaches it. Raises
    :class:`NotFound` for an agent that does not answer or a key that is not there, :class:`UsageError` for one that
    can't be used.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(store))
        if keys:
            agent = stack.enter_context(_holding(folder, keys))
        elif agent is None:
            raise NotFound("there is no SSH agent", kind="agent", name="")
        _connect(agent).close()
        stack.enter_context(_Proxy(folder, agent, mode, uid, gid))
        yield f"{folder}/{_SOCKET}"


@contextmanager
def _folder(store: Store) -> Iterator[str]:
    from buildlib.snapshot.tree import remove_tree

    path = temporary(store.tmp)
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        raise from_os_error(error, f"making {path}") from error
    try:
        yield path
    finally:
        remove_tree(path)


@contextmanager
def _holding(folder: str, keys: Sequence[str]) -> Iterator[str]:
    """A fresh ``ssh-agent`` that holds the keys in the files ``keys``; the path of its socket."""
    import subprocess

    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    quiet = subprocess.DEVNULL
    try:
        # A relative path: that of a socket has 107 bytes at most.
        process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", "keys"], cwd=folder, env=kept, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet
        )
    except FileNotFoundError:
        hint = "install it: apt-get install openssh-client; or give the socket of an agent that runs"
        raise UsageError("keys need the program ssh-agent, which is not installed", hint=hint) from None
    with process:
        try:
            if process.stdout is not None:
                process.stdout.readline()  # it says where it listens, when it does
            for key in keys:
                _add(folder, key, kept)
            yield f"{folder}/keys"
        finally:
            process.terminate()


def _add(folder: str, key: str, environment: Mapping[str, str]) -> None:
    import subprocess

    path = os.path.abspath(key)
    never = {"SSH_AUTH_SOCK": "keys", "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
    added = subprocess.run(  # noqa: PLW1510 - what went wrong is told below
        ["ssh-add", "-q", "--", path],
        cwd=folder,
        env={**environment, **never},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if added.returncode != 0:
        said = added.stderr.decode("utf-8", "replace").strip().splitlines() or ["it can't be loaded"]
        hint = "a key with a passphrase belongs into an agent: ssh-add it there and give the agent"
        raise UsageError(f"the SSH key {key}: {said[-1]}", hint=hint)


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    folder, name = os.path.split(os.path.abspath(path))
    try:
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{fd}/{name}")  # whatever the length of the path is
        finally:
            os.close(fd)
    except OSError as error:
        connection.close()
        message, hint = f"the SSH agent {path} does not answer: {error.strerror}", "SSH_AUTH_SOCK says where one runs"
        raise NotFound(message, hint=hint, kind="agent", name=path) from error
    return connection


class _Proxy:
    """Listens at a socket and passes on what is allowed; ends with the block."""

    def __init__(self, folder: str, agent: str, mode: int, uid: int, gid: int) -> None:
        self._agent = agent
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listener.bind(f"/proc/self/fd/{fd}/{_SOCKET}")
        finally:
            os.close(fd)
        path = f"{folder}/{_SOCKET}"
        try:
            os.chown(path, uid, gid)
        except PermissionError:
            mode |= 0o666  # without root we can't give it away; the folder keeps all others out
        os.chmod(path, mode)
        self._listener.listen()

    def __enter__(self) -> _Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            sockets = [self._listener, *self._open]
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes who waits in it
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, NotFound), client, _connect(self._agent) as upstream:
            with self._lock:
                self._open |= {client, upstream}
            try:
                while (message := _message(client)) is not None:
                    if message[4:5] and message[4] in _ALLOWED:
                        upstream.sendall(message)
                        answer = _message(upstream)
                        if answer is None:
                            return
                    else:
                        answer = _FAILURE
                    client.sendall(answer)
            finally:
                with self._lock:
                    self._open -= {client, upstream}


def _message(connection: socket.socket) -> bytes | None:
    """One message with its length in front; None at the end, or for one that is too long."""
    head = _exactly(connection, 4)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    body = _exactly(connection, length) if 0 < length <= _LONGEST else None
    return None if body is None else head + body


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data
