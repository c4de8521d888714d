"""Where the runtime keeps what it knows of its containers: one directory each, below a root that a reboot clears.

::

    <root>/<id>/state.json    what is known of the container; replaced as a whole
    <root>/<id>/config.json   the config as it was when the container was made
    <root>/<id>/exec.fifo     what the container's first process waits on; gone once it was started

Whoever changes a container holds the lock of its directory. Reading takes none: what is read was written as a whole.
"""

from __future__ import annotations

import errno
import fcntl
import os

from buildlib.errors import NameInUse, NotFound, SandboxError, UsageError
from buildlib.oci.json_text import dumps, loads
from buildlib.oci.value import evolve, field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SPEC_VERSION = "1.2.0"

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


@frozen
class Record:
    """What is known of a container."""

    id: str
    bundle: str
    rootfs: str
    created: str
    """When, RFC 3339 in UTC."""
    pid: int = 0
    """Of its first process, as the host counts; 0 while there is none yet."""
    start_time: int = 0
    """When that process began, in clock ticks since boot: with the pid it names it for ever."""
    status: str = "creating"
    """The last thing that was done to it: creating, created or running. Whether it still lives the kernel knows."""
    cgroup: dict[str, str] = field(factory=dict)
    """Hierarchy → directory; empty where there is none."""
    cgroup_made: bool = False
    """Whether the group is ours to remove."""
    owner: str = "root"
    annotations: dict[str, str] = field(factory=dict)
    version: str = SPEC_VERSION


class Place:
    """A directory of containers."""

    def __init__(self, root: str, *, systemd: bool = False) -> None:
        self.root = root
        self.systemd = systemd

    @classmethod
    def find(cls, root: str | None, environ: Mapping[str, str], *, systemd: bool = False) -> Place:
        """``root``, or where this user's containers are unless somebody says otherwise."""
        if root is None:
            home = environ.get("XDG_RUNTIME_DIR")
            base = "/run" if os.geteuid() == 0 or not home else home
            root = f"{base}/buildlib-runtime"
        return cls(os.path.abspath(root), systemd=systemd)

    def ids(self) -> list[str]:
        """All containers, sorted."""
        try:
            return sorted(name for name in os.listdir(self.root) if not set(name) - _ALLOWED)
        except FileNotFoundError:
            return []

    def path(self, container: str, name: str = "") -> str:
        """Of the container's directory or of a file in it. Raises :class:`UsageError` for what can't be an id."""
        if not container or set(container) - _ALLOWED or container in (".", "..") or len(container) > 1024:
            raise UsageError(f"invalid container ID format: {container!r}")
        return f"{self.root}/{container}/{name}".rstrip("/")

    def make(self, container: str) -> Lock:
        """Make the directory of a new container and hold its lock. Raises :class:`NameInUse`."""
        path = self.path(container)
        try:
            os.makedirs(self.root, 0o711, exist_ok=True)
            os.mkdir(path, 0o711)
        except FileExistsError:
            raise NameInUse(f"container with given ID already exists: {container}") from None
        except OSError as error:
            raise SandboxError(f"{path}: {error.strerror}", errno=error.errno) from error
        return self.lock(container)

    def lock(self, container: str) -> Lock:
        """Wait until nobody else changes the container. Raises :class:`NotFound`."""
        path = self.path(container)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _unknown(container) from None
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink == 0:  # removed while we waited
            os.close(fd)
            raise _unknown(container)
        return Lock(fd)

    def read(self, container: str) -> Record:
        """What is known of a container. Raises :class:`NotFound`."""
        try:
            with open(self.path(container, "state.json"), "rb") as file:
                return Record(**loads(file.read().decode()))
        except FileNotFoundError:
            raise _unknown(container) from None
        except (TypeError, ValueError) as error:
            raise SandboxError(f"{container}: its state can't be read: {error}") from None

    def write(self, record: Record) -> None:
        """Replace what is known of a container, as a whole."""
        self.put(record.id, "state.json", dumps(vars(record)).encode())

    def put(self, container: str, name: str, data: bytes) -> None:
        """Write a file of the container's directory, as a whole."""
        path = self.path(container, name)
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(f"{path}.new", path)

    def change(self, record: Record, **changes: Any) -> Record:
        """Write the record with some fields replaced, and return it."""
        changed: Record = evolve(record, **changes)
        self.write(changed)
        return changed

    def remove(self, container: str) -> None:
        """Forget a container: the directory last, with all that is in it. No harm if it is gone."""
        path = self.path(container)
        try:
            for name in os.listdir(path):
                os.unlink(f"{path}/{name}")
            os.rmdir(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise SandboxError(f"{path}: {error.strerror}", errno=error.errno) from error


class Lock:
    """The lock of one container's directory; it ends with the ``with`` block, or with this process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def _unknown(container: str) -> NotFound:
    return NotFound(f"container does not exist: {container}", kind="container", name=container)
