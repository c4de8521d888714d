"""The arguments of ``run`` as values. Pure: nothing here opens or mounts."""

from __future__ import annotations

import base64
import binascii
import posixpath

from buildlib.errors import UsageError
from buildlib.oci.value import NOTHING, fields, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar


@frozen
class Bind:
    """A file or directory of the host at ``target``.

    It is read-only unless ``rw``; what is then written is thrown away, unless ``keep``, with which it reaches the
    source. With ``root`` the source is looked up beneath that directory, as in a build context.
    """

    kind: ClassVar[str] = "bind"
    target: str
    source: str
    root: str | None = None
    rw: bool = False
    keep: bool = False


@frozen
class Snapshot:
    """``source`` in the files of an image, or of another working container (``key``), at ``target``.

    It is read-only unless ``rw``; what is then written is thrown away.
    """

    kind: ClassVar[str] = "snapshot"
    target: str
    parents: tuple[str, ...] = ()
    source: str = "/"
    key: str | None = None
    rw: bool = False


@frozen
class Cache:
    """A directory that outlives the run, one for each ``id``.

    ``sharing`` is "shared", "private" (a directory that no other run has at the time) or "locked" (wait for the
    others). A new directory gets ``mode``, ``uid`` and ``gid``, or is a copy of ``source`` in the layers ``parents``.
    """

    kind: ClassVar[str] = "cache"
    target: str
    id: str = ""
    sharing: str = "shared"
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    ro: bool = False
    parents: tuple[str, ...] | None = None
    source: str | None = None


@frozen
class Tmpfs:
    """An empty directory in memory, ``size`` in bytes (None: half of the memory)."""

    kind: ClassVar[str] = "tmpfs"
    target: str
    size: int | None = None
    mode: int = 0o1777


@frozen
class File:
    """A file with this ``content`` (base64), which lies in memory. What is written to it is lost with the run."""

    kind: ClassVar[str] = "file"
    target: str
    content: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    ro: bool = False

    def data(self) -> bytes:
        """The bytes. Raises :class:`UsageError`."""
        return _decoded(self)


@frozen
class Secret:
    """As a :class:`File`, but only for whom it is meant, and neither written nor executed."""

    kind: ClassVar[str] = "secret"
    target: str
    content: str
    mode: int = 0o400
    uid: int = 0
    gid: int = 0
    ro: bool = True

    def data(self) -> bytes:
        """The bytes. Raises :class:`UsageError`."""
        return _decoded(self)


if TYPE_CHECKING:
    Any_ = Bind | Snapshot | Cache | Tmpfs | File | Secret


def _decoded(file: File | Secret) -> bytes:
    try:
        return base64.b64decode(file.content, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(f"{file.target}: the content is not base64") from None


KINDS: dict[str, type[Any]] = {cls.kind: cls for cls in (Bind, Snapshot, Cache, Tmpfs, File, Secret)}


def parse(data: Mapping[str, Any], workdir: str = "/") -> Any_:
    """A bind from plain data: ``{"type": "cache", "target": …, …}``, its fields named as the attributes here.

    A relative target starts at ``workdir``. Raises :class:`UsageError` for a type or a field that there is not.
    """
    given = dict(data)
    kind = KINDS.get(given.pop("type", ""))
    if kind is None:
        raise UsageError(f"a mount of type {data.get('type')!r} is not known", hint=f"there are {', '.join(KINDS)}")
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise UsageError(f"a mount of type {kind.kind} has no {unknown[0]!r}")
    absent = [name for name, field in known.items() if field.default is NOTHING and name not in given]
    if absent:
        raise UsageError(f"a mount of type {kind.kind} needs {absent[0]!r}")
    if isinstance(given.get("parents"), list):
        given["parents"] = tuple(given["parents"])
    given["target"] = target(given["target"], workdir)
    if kind is Cache and given.get("sharing", "shared") not in ("shared", "private", "locked"):
        raise UsageError(f"sharing is shared, private or locked, not {given['sharing']!r}")
    made: Any_ = kind(**given)
    return made


def target(path: str, workdir: str) -> str:
    """The absolute, normal form of a mount's target. Raises :class:`UsageError` for the root itself."""
    full = posixpath.normpath(posixpath.join("/", workdir, path))
    full = "/" + full.lstrip("/")  # normpath keeps two slashes, as POSIX lets it
    if full == "/" or "\0" in full:
        raise UsageError(f"nothing can be mounted at {path!r}")
    return full
