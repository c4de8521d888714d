"""The directories of a tree that is being unpacked, by their names in the archive; found beneath a root at use time.

Names are cleaned here: a leading "/" means the root, as for every engine; ".." is refused. Symbolic links on the way
are followed as the container would see them and never leave the root (openat2(2), RESOLVE_IN_ROOT): so do docker,
containerd, buildah and umoci.
"""

from __future__ import annotations

import errno
import os

from buildlib.linux.beneath import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_OPEN_AT_ONCE = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Folder:
    """An open directory; ``prefix`` is what a cleaned path of something in it begins with."""

    __slots__ = ("fd", "prefix")

    def __init__(self, fd: int, prefix: bytes) -> None:
        self.fd = fd
        self.prefix = prefix


class Refused(Exception):
    """A name that can't be used; the text says why."""


class Folders:
    """The directories below ``base``, which is a path beneath the root that the descriptor ``root`` is.

    ``create(parent fd, name, path)`` makes a directory that is missing: one that the archive does not carry.
    """

    def __init__(self, root: int, base: bytes, create: Callable[[int, bytes, bytes], None]) -> None:
        self._root = root
        self._base = base
        self._create = create
        self._open: dict[bytes, Folder] = {}

    def get(self, name: bytes) -> Folder:
        """The directory ``name`` as the archive has it, made if it is missing. Valid until the next call."""
        found = self._open.get(name)
        if found is None:
            parts = clean(name)
            found = Folder(self._find(parts), b"".join(part + b"/" for part in parts))
            if len(self._open) >= _OPEN_AT_ONCE:
                self.forget()
            self._open[name] = found
        return found

    def look(self, parts: list[bytes]) -> int:
        """Open a directory that should be there: a descriptor for the caller to close. Raises ``OSError``."""
        path = b"/".join([self._base, *parts]).lstrip(b"/")
        return open_in_root(self._root, path or b".", _DIRECTORY)

    def directory(self, path: bytes) -> int:
        """Open the directory with this cleaned path, which is no symbolic link. Raises ``OSError``."""
        path = (self._base + b"/" + path).lstrip(b"/")
        return open_in_root(self._root, path or b".", _DIRECTORY | os.O_NOFOLLOW)

    def forget(self, keep: int = -1) -> None:
        """Close all that is kept open, but for the descriptor ``keep``.

        To be called when something went away of which a path may have led through: all but the directory that it was
        in is then found anew.
        """
        kept = {}
        for name, folder in self._open.items():
            if folder.fd == keep:
                kept[name] = folder
            else:
                os.close(folder.fd)
        self._open = kept

    def _find(self, parts: list[bytes]) -> int:
        """Open a directory, after making those on the way that are missing."""
        there = len(parts)
        while True:
            try:
                fd = self.look(parts[:there])
                break
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR) or not there:
                    raise
                there -= 1
        for count in range(there + 1, len(parts) + 1):
            try:
                self._create(fd, parts[count - 1], b"/".join(parts[:count]))
            finally:
                os.close(fd)
            fd = self.look(parts[:count])
        return fd


def clean(name: bytes) -> list[bytes]:
    """The components of a name in an archive. Raises :class:`Refused` for ".." and names of whiteouts."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    for part in parts:
        if part.startswith(b".") and (part == b".." or part.startswith(b".wh.")):
            raise Refused(f"it has {os.fsdecode(part)!r} in its path")
    return parts
