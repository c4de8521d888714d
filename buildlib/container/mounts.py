"""What a command in a working container can be given for the time it runs: values; nothing here mounts.

None of it reaches a layer, except what the command itself writes elsewhere.
"""

from __future__ import annotations

from buildlib.errors import NotFound, UsageError
from buildlib.oci.value import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.container.inputs import View
    from buildlib.image import Image

SHARING = ("shared", "private", "locked")


@frozen
class Bind:
    """A file or folder of the host, or of an image or another container (``from_``), at ``target``.

    ``source`` is a path of the host; or below ``context``, which it can't leave; or from the root of ``from_``. It is
    read-only unless ``rw``; what is then written is thrown away, as docker does it, unless ``keep``, with which it
    reaches the source (of the host only). A cached run is keyed by the contents, not by the path; with ``keep`` it is
    never cached.
    """

    source: str
    target: str
    from_: str | Image | WorkingContainer | View | None = None
    rw: bool = False
    keep: bool = False
    context: str | None = None


@frozen
class Cache:
    """A folder that outlives the run and is seen by later runs that name the same ``id`` (default: ``target``).

    ``sharing``: "shared" by runs at the same time, "private" (a second run gets a folder of its own), or "locked" (a
    second run waits). A new folder has ``mode``, ``uid`` and ``gid``, or the contents of ``source`` in ``from_``.
    What it holds never decides whether a run is cached.
    """

    target: str
    id: str | None = None
    sharing: str = "shared"
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    from_: str | Image | WorkingContainer | View | None = None
    source: str | None = None
    ro: bool = False

    def __attrs_post_init__(self) -> None:
        if self.sharing not in SHARING:
            raise UsageError(f"sharing is {self.sharing!r}", hint=f"it is one of {', '.join(SHARING)}")


@frozen
class Tmpfs:
    """An empty folder in memory. ``size`` in bytes; None leaves it to the kernel (half of the memory)."""

    target: str
    size: int | None = None


@frozen
class Secret:
    """Something that the run may see and nobody may keep: as a file, in ``env``, or both.

    It comes from exactly one of ``source`` (a file of the host), ``variable`` (of the environment of this process) and
    ``value``. The file is ``target``, by default ``/run/secrets/<id>``, and is left out when only ``env`` is given;
    it belongs to ``uid`` and ``gid``, and lies in memory. Neither value nor digest of it enters a key or the store.
    With none of the three, or when what they name is missing, there is no secret: an error if it is ``required``.
    """

    id: str
    target: str | None = None
    source: str | None = None
    variable: str | None = None
    value: bytes | str | None = field(default=None, repr=False)
    env: str | None = None
    mode: int = 0o400
    uid: int = 0
    gid: int = 0
    required: bool = False

    @property
    def path(self) -> str | None:
        """Where the file is, None if there is to be none."""
        if self.target is not None or self.env is not None:
            return self.target
        return f"/run/secrets/{self.id.rpartition('/')[2]}"

    def read(self, environ: Mapping[str, str]) -> bytes | None:
        """The secret itself; None if there is none. Raises :class:`NotFound` for a missing one that is required."""
        found: bytes | None = None
        if self.value is not None:
            found = self.value.encode() if isinstance(self.value, str) else self.value
        elif self.variable is not None:
            text = environ.get(self.variable)
            found = None if text is None else text.encode("utf-8", "surrogateescape")
        elif self.source is not None:
            found = self._file(self.source)
        if found is None and self.required:
            raise NotFound(f"the secret {self.id!r} is missing", hint="pass it", kind="secret", name=self.id)
        return found

    def _file(self, path: str) -> bytes | None:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"the secret {self.id!r} can't be read from {path}: {error.strerror}") from error


@frozen
class Ssh:
    """A socket at ``target`` behind which is an SSH agent; the first of a run is named by ``SSH_AUTH_SOCK``.

    That is ``agent`` (the path of its socket), or one that holds ``keys`` (paths of files without a passphrase). The
    run can have things signed and can't change the agent. ``target`` is ``/run/buildkit/ssh_agent.<n>`` by default.
    With neither, there is no socket: an error if it is ``required``.
    """

    id: str = "default"
    target: str | None = None
    agent: str | None = None
    keys: tuple[str, ...] = ()
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    required: bool = False


@frozen
class Content:
    """A read-only file at ``target`` that holds ``data``: a script to run, say."""

    target: str
    data: bytes = field(repr=False)
    mode: int = 0o755


if TYPE_CHECKING:
    Mount = Bind | Cache | Tmpfs | Secret | Ssh | Content


def describe(mount: Mount) -> dict[str, Any]:
    """What of a mount can matter to a command, and so to its key: no secret, no path of the host, no cache contents.

    The digest of what a bind shows is an input of the step, not part of this.
    """
    if isinstance(mount, Bind):
        return {"type": "bind", "target": mount.target, "rw": mount.rw, "keep": mount.keep}
    if isinstance(mount, Cache):
        return {"type": "cache", **_fields(mount, "target", "id", "sharing", "mode", "uid", "gid", "ro")}
    if isinstance(mount, Tmpfs):
        return {"type": "tmpfs", "target": mount.target, "size": mount.size}
    if isinstance(mount, Secret):
        return {"type": "secret", "target": mount.path, **_fields(mount, "id", "env", "mode", "uid", "gid")}
    if isinstance(mount, Ssh):
        return {"type": "ssh", **_fields(mount, "id", "target", "mode", "uid", "gid")}
    import hashlib

    digest = hashlib.sha256(mount.data).hexdigest()
    return {"type": "content", "digest": digest, **_fields(mount, "target", "mode")}


def _fields(mount: Mount, *names: str) -> dict[str, Any]:
    return {name: getattr(mount, name) for name in names}
