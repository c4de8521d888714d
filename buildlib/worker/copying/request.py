"""A copy as plain data, which both the client (that hashes) and the worker (that writes) read in the same way."""

from __future__ import annotations

import os

from buildlib.errors import CopyError
from buildlib.oci.value import NamedTuple
from buildlib.patterns import IgnorePattern, IgnorePatterns
from buildlib.worker.copying.digest import TreeDigest
from buildlib.worker.copying.driver import hash_items
from buildlib.worker.copying.effect import Effect
from buildlib.worker.copying.modes import Chmod
from buildlib.worker.copying.select import Origin, close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildlib.worker.copying.digest import Memo
    from buildlib.worker.copying.select import Item
    from buildlib.worker.copying.walk import Identity


class Request(NamedTuple):
    """Which files, and what becomes of them."""

    sources: tuple[str, ...]
    what: str = ""
    """What the sources are from, for errors: "the build context /src"."""
    chown: str | None = None
    chmod: str | None = None
    keep_owner: bool = False
    """Owners stay as they are unless ``chown`` says otherwise; else everything is root's."""
    strip: bool = True
    """setuid and setgid bits go."""
    exclude: tuple[str, ...] = ()
    """Relative to what is copied."""
    ignore: tuple[tuple[str, bool, int, str], ...] = ()
    """Relative to the root of the sources: the fields of each :class:`IgnorePattern`."""
    parents: bool = False
    empty_wildcard: bool = False
    follow: bool = True
    """A source that is a symbolic link means what it leads to."""
    timestamp: int | None = None
    """The time of everything; seconds since 1970."""
    contents: tuple[tuple[str, str, int], ...] = ()
    """Files that are given: name, content in base64, mode."""
    skip: tuple[tuple[int, int], ...] = ()
    """(device, inode) of directories that are passed over."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Request:
        """From JSON."""
        values = {name: fields[name] for name in cls._fields if name in fields}
        for name in ("sources", "exclude"):
            values[name] = tuple(values.get(name, ()))
        for name in ("ignore", "contents", "skip"):
            values[name] = tuple(tuple(item) for item in values.get(name, ()))
        return cls(**values)

    def effect(self, owner: tuple[int, int] | None = None) -> Effect:
        """What the copy does to metadata; ``owner`` is what ``chown`` means in the container, where that is known."""
        if self.chown is None:
            owner = None if self.keep_owner else (0, 0)
        elif owner is None:
            owner = 0, 0  # a forced owner does not enter the digest, so that any will do
        chmod = None if self.chmod is None else Chmod.parse(self.chmod)
        return Effect(owner, chmod, self.strip, self.chown is not None, self.timestamp)

    def origin(self, fd: int) -> Origin:
        """The root of the sources, which is open as ``fd``."""
        return Origin(fd, self.what, IgnorePatterns(tuple(IgnorePattern(*fields) for fields in self.ignore)))

    def select(self, origin: Origin) -> list[Item]:
        """The items to copy; to be closed."""
        exclude = IgnorePatterns.of(self.exclude)
        return origin.select(
            self.sources,
            exclude=exclude,
            parents=self.parents,
            empty_wildcard=self.empty_wildcard,
            follow=self.follow,
        )

    @property
    def skipped(self) -> frozenset[Identity]:
        """``skip`` for a walk."""
        return frozenset(self.skip)

    def texts(self) -> list[tuple[str, bytes, int]]:
        """The files that are given."""
        if not self.contents:
            return []
        import base64

        return [(name, base64.b64decode(text), mode) for name, text, mode in self.contents]


def digest(request: Request, root_fd: int | None, memo: Memo | None = None) -> TreeDigest:
    """The digest of what the request would write, whatever the destination; ``root_fd``: the root of the sources."""
    tree = TreeDigest(request.effect())
    if root_fd is not None and request.sources:
        origin = request.origin(root_fd)
        items = request.select(origin)
        try:
            hash_items(items, origin, tree, memo, request.skipped)
        finally:
            close(items)
    for name, content, mode in request.texts():
        tree.text(name, mode, content)
    return tree


def open_root(path: str, what: str) -> int:
    """Open the directory that sources are relative to. Raises :class:`CopyError`."""
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        place = what or path
        raise CopyError(f"{place}: can't be opened as a directory: {error.strerror}", path=path) from error
