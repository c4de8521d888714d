"""Paths of working containers and images, used as those of :mod:`pathlib`; links never lead out of the container."""

from __future__ import annotations

import posixpath
import stat

from buildlib.errors import NotFound, UsageError
from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, BinaryIO

    from buildlib.container import WorkingContainer
    from buildlib.store import Store


class Stat(NamedTuple):
    """What a path is: ``mode`` with type bits, size in bytes, owner, time in nanoseconds since 1970."""

    mode: int
    size: int
    uid: int
    gid: int
    mtime_ns: int


class Path:
    """A path in a tree of layers; ``container`` is whose it is, None for an image, which can't be written.

    ::

        hosts = c.path("/etc/hosts")
        hosts.write_text(hosts.read_text() + "10.0.0.1 db")
        [each.name for each in c.path("/etc") if each.suffix == ".conf"]

    Each question is answered anew by what is there at the time.
    """

    __slots__ = ("_layers", "_path", "container", "store")

    def __init__(
        self, store: Store, path: str, layers: Sequence[str], container: WorkingContainer | None = None
    ) -> None:
        self.store = store
        self.container = container
        self._layers = layers
        self._path = posixpath.normpath(posixpath.join("/", path))

    # --- pure ---------------------------------------------------------------------------------------------------------

    def __truediv__(self, name: str) -> Path:
        return Path(self.store, posixpath.join(self._path, name), self._layers, self.container)

    def __str__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"Path({self._path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[Any, ...]:
        return self.store.root, self.container.id if self.container else tuple(self._layers), self._path

    @property
    def name(self) -> str:
        """The last part."""
        return posixpath.basename(self._path)

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on, that included."""
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> Path:
        """The directory that it is in."""
        return self / ".."

    # --- looking ------------------------------------------------------------------------------------------------------

    def stat(self) -> Stat:
        """What it is, links followed. Raises :class:`NotFound`."""
        found = self._look()["stat"]
        if found is None:
            raise NotFound(f"{self._path}: no such file or directory", kind="path", name=self._path)
        return Stat(*found)

    def exists(self) -> bool:
        """Whether there is anything; a link that leads nowhere does not count."""
        return self._look()["stat"] is not None

    def is_file(self) -> bool:
        """Whether it is a regular file, or a link to one."""
        return self._is(stat.S_ISREG)

    def is_dir(self) -> bool:
        """Whether it is a directory, or a link to one."""
        return self._is(stat.S_ISDIR)

    def readlink(self) -> str:
        """What is written in the symbolic link. Raises :class:`UsageError` for what is none."""
        link: str | None = self._look(follow=False).get("link")
        if link is None:
            raise UsageError(f"{self._path} is not a symbolic link")
        return link

    def iterdir(self) -> Iterator[Path]:
        """What is in the directory, sorted by name. Raises :class:`NotFound`, :class:`CopyError`."""
        names = self._look(list=True).get("names")
        if names is None:
            raise NotFound(f"{self._path}: no such directory", kind="path", name=self._path)
        return (self / name for name in names)

    __iter__ = iterdir

    def open(self) -> BinaryIO:
        """The file as it is now, for reading. Raises :class:`NotFound`, :class:`CopyError`."""
        from buildlib.container.reading import open_file

        layers, key = self._where()
        return open_file(self.store, self._path, layers, key)

    def read_bytes(self) -> bytes:
        """All of the file."""
        with self.open() as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """All of the file as text."""
        return self.read_bytes().decode(encoding, errors)

    # --- writing ------------------------------------------------------------------------------------------------------

    def write_bytes(self, data: bytes) -> None:
        """Make it a file with these bytes, owned by root, mode 0644: a ``copy`` of the container.

        Raises :class:`UsageError` for a path of an image.
        """
        self._writable().copy(dest=self._path, contents={self.name: data})

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """The same with text."""
        self.write_bytes(text.encode(encoding))

    def mkdir(self, mode: int = 0o755) -> None:
        """Make it a directory, and those above it as far as they are missing."""
        self._writable().mkdir(self._path, mode)

    def _writable(self) -> WorkingContainer:
        if self.container is None:
            raise UsageError(f"{self._path} is in an image, which never changes", hint="from_(image) makes a container")
        return self.container

    def _is(self, kind: Any) -> bool:
        found = self._look()["stat"]
        return found is not None and kind(found[0])

    def _look(self, *, follow: bool = True, list: bool = False) -> dict[str, Any]:
        layers, key = self._where()
        args = {"key": key, "parents": [*layers], "path": self._path, "follow": follow, "list": list}
        return self.store.worker.call("look", args)

    def _where(self) -> tuple[Sequence[str], str | None]:
        if self.container is None:
            return self._layers, None
        from buildlib.container.reading import own_key

        with self.container.lock:
            self.container.refresh()
            return self.container.layers, own_key(self.container)
