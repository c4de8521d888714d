"""The digest of what a copy would write: names, types, modes, owners, link targets, xattrs and bytes; never times.

Made either by reading (:class:`Hasher`) or while copying; both say the same of the same files, so that a copy can
prove that it carried over what its cache key was made of.
"""

from __future__ import annotations

import hashlib
import os
import stat

from buildlib.errors import CopyError
from buildlib.layer import xattrs
from buildlib.worker.copying.walk import ENTER, ENTRY, unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    from buildlib.worker.copying.effect import Effect
    from buildlib.worker.copying.walk import Event
else:
    Protocol = object

BLOCK = 1 << 20
NAMES_LIMIT = 2000
"""Up to so many files are listed one by one, so that a cache miss can name the one that changed."""


class Memo(Protocol):
    """Remembers digests of files by their identity, where that is worth it."""

    def find(self, files: Sequence[os.stat_result]) -> list[str | None]:
        """The digests of ``files``, None for those that are not known."""

    def add(self, file: os.stat_result, digest: str) -> None:
        """Remember."""


class TreeDigest:
    """Builds the digest from what a walk meets; a directory counts by the sorted lines of what is in it."""

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        self.entries = 0
        self._names: dict[str, str] = {}
        self._top: dict[str, str] = {}
        self._stack: list[list[str]] = [[]]
        self._links: dict[tuple[int, int], str] = {}
        self._keep_owner = effect.owner is None

    def _owner(self, info: os.stat_result) -> str:
        # A forced owner is part of the step, not of its input: it is known only where the names can be looked up.
        return f"{info.st_uid}:{info.st_gid}" if self._keep_owner else "-"

    def enter(self) -> None:
        """A directory begins."""
        self._stack.append([])

    def leave(self, name: str, path: str, info: os.stat_result, attributes: str = "") -> None:
        """The directory ends; its own mode and owner count."""
        inside = _seal(sorted(self._stack.pop()))
        mode = self.effect.mode(info.st_mode)
        self._add(f"d {mode:o} {self._owner(info)} {attributes} {inside} {name}", path, inside)

    def leave_contents(self) -> None:
        """The directory ends, of which only the contents are meant."""
        self._stack[-2].append(f"c {_seal(sorted(self._stack.pop()))}")

    def link(self, path: str, info: os.stat_result) -> str:
        """The path under which this file came first; to be called in the order of the walk."""
        return self._links.setdefault((info.st_dev, info.st_ino), path)

    def file(self, name: str, path: str, info: os.stat_result, digest: str) -> None:
        """A regular file; ``digest`` is that of :func:`file_digest`."""
        if info.st_nlink > 1 and (first := self.link(path, info)) != path:
            self._add(f"h {first}\0{name}", path, digest)
        else:
            self._add(f"f {self.effect.mode(info.st_mode):o} {self._owner(info)} {digest} {name}", path, digest)

    def other(self, name: str, path: str, info: os.stat_result, target: str = "") -> None:
        """A symbolic link (whose mode means nothing), a device or a FIFO."""
        link = stat.S_ISLNK(info.st_mode)
        head = "l" if link else f"{stat.S_IFMT(info.st_mode):o} {self.effect.mode(info.st_mode):o} {info.st_rdev}"
        self._add(f"o {head} {self._owner(info)} {target}\0{name}", path, target)

    def text(self, name: str, mode: int, content: bytes) -> None:
        """A file that is given by its content."""
        digest = hashlib.sha256(content).hexdigest()
        self._add(f"t {self.effect.mode(stat.S_IFREG | mode):o} {digest} {name}", name, digest)

    def _add(self, line: str, path: str, short: str) -> None:
        self._stack[-1].append(line)
        self.entries += 1
        if self.entries <= NAMES_LIMIT:
            self._names[path] = short[:12]
        if len(self._stack) <= 2 and len(self._top) < NAMES_LIMIT:
            self._top[path] = short[:12]

    def finish(self) -> str:
        """The digest, as hex of a sha256."""
        return _seal(self._stack[0])

    def brief(self) -> dict[str, str]:
        """Short digests by path, of all that was taken in or of what is at the top where that is too much.

        A record of the cache keeps it, to explain a miss with.
        """
        return self._names if self.entries <= NAMES_LIMIT else self._top


def _seal(lines: list[str]) -> str:
    return hashlib.sha256("\0\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def attributes_of(fd: int) -> list[tuple[str, bytes]]:
    """The extended attributes that travel with an open file, sorted by name."""
    names = xattrs.names(fd)
    return xattrs.travelling(fd, names) if names else []


def seal_attributes(attributes: list[tuple[str, bytes]]) -> str:
    """A digest of extended attributes; "" for none."""
    if not attributes:
        return ""
    return hashlib.sha256(repr(attributes).encode("utf-8", "surrogateescape")).hexdigest()


def combine(content: str, attributes: list[tuple[str, bytes]]) -> str:
    """The digest of a file of that content and those extended attributes."""
    if not attributes:
        return content
    return hashlib.sha256(f"{content} {seal_attributes(attributes)}".encode()).hexdigest()


class Hasher:
    """Reads trees and files and feeds a :class:`TreeDigest`. What ``memo`` knows is not read again."""

    def __init__(self, tree: TreeDigest, memo: Memo | None, what: str = "") -> None:
        self.tree = tree
        self.memo = memo
        self.what = what

    def contents(self, fd: int, events: Iterable[Event], prefix: str = "") -> None:
        """Take in everything below the directory ``fd``; ``prefix`` is where the items of a copy differ."""
        tree = self.tree
        tree.enter()
        waiting: list[list[tuple[str, str, os.stat_result]]] = [[]]
        for event, holder, name, path, info in events:
            shown = prefix + path
            if event == ENTRY:
                if info.st_nlink > 1:
                    tree.link(shown, info)
                waiting[-1].append((name, shown, info))
            elif event == ENTER:
                tree.enter()
                waiting.append([])
            else:
                self._files(holder, waiting.pop())
                tree.leave(name, shown, info, seal_attributes(attributes_of(holder)))
        self._files(fd, waiting.pop())
        tree.leave_contents()

    def _files(self, holder: int, files: list[tuple[str, str, os.stat_result]], called: str | None = None) -> None:
        """The files of one directory at once: one question to the memo."""
        if not files:
            return
        regular = [info for _, _, info in files if stat.S_ISREG(info.st_mode)]
        known = iter(self.memo.find(regular) if self.memo is not None else [None] * len(regular))
        for name, path, info in files:
            if stat.S_ISREG(info.st_mode):
                self.tree.file(called or name, path, info, next(known) or self._read(holder, name, path, info))
            else:
                target = self._target(holder, name, path) if stat.S_ISLNK(info.st_mode) else ""
                self.tree.other(called or name, path, info, target)

    def file(self, holder: int, name: str, shown: str, info: os.stat_result) -> None:
        """Take in one thing that is not a directory; it counts under the name ``shown``."""
        self._files(holder, [(name, shown, info)], called=shown)

    def _target(self, holder: int, name: str, path: str) -> str:
        try:
            return os.readlink(name, dir_fd=holder)
        except OSError as error:
            raise unreadable(error, self.what, path) from error

    def _read(self, holder: int, name: str, path: str, info: os.stat_result) -> str:
        try:
            digest, after = file_digest(holder, name, info)
        except OSError as error:
            raise unreadable(error, self.what, path) from error
        if identity(after) != identity(info):
            raise changed(self.what, path)
        if self.memo is not None:
            self.memo.add(after, digest)
        return digest


def identity(info: os.stat_result) -> tuple[int, int, int, int, int]:
    """What stays the same as long as the contents do."""
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def changed(what: str, path: str) -> CopyError:
    """The error for a file that is being written to."""
    place = "/".join(part for part in (what, path) if part)
    return CopyError(f"{place}: changed while it was read", hint="leave it alone, or exclude it", path=place)


def file_digest(holder: int, name: str, info: os.stat_result) -> tuple[str, os.stat_result]:
    """The digest of a regular file's bytes and extended attributes, and its state after that was read.

    No more is read than ``info`` says there is: a file may grow faster than it can be read.
    """
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=holder)
    try:
        content = hashlib.sha256()
        left = info.st_size
        while left > 0 and (block := os.read(fd, min(left, BLOCK))):
            content.update(block)
            left -= len(block)
        return combine(content.hexdigest(), attributes_of(fd)), os.fstat(fd)
    finally:
        os.close(fd)
