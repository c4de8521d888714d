"""Finding the sources of a copy beneath a root: names, wildcards, ``--parents``; and saying why one is missing."""

from __future__ import annotations

import os
import posixpath
import stat

from buildlib.errors import CopyError, UsageError
from buildlib.linux import owners
from buildlib.linux.beneath import open_in_root
from buildlib.oci.value import NamedTuple
from buildlib.patterns import IgnorePatterns, go_match, has_wildcard
from buildlib.worker.copying import rules
from buildlib.worker.copying.walk import Filter, Rule, unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NOTHING = IgnorePatterns()


class Item(NamedTuple):
    """One thing to copy, found and open."""

    source: str
    """As it was asked for."""
    name: str
    """What a file is called in a destination that is a directory."""
    path: str
    """Its real path from the root of the sources; no link is in it."""
    fd: int
    """The directory itself, whose contents are meant, or else the directory that holds the entry."""
    entry: str
    """The name in that directory; "" for a directory."""
    info: os.stat_result
    filter: Filter
    must_match: bool
    """Whether it is an error when the walk finds nothing (``--parents`` names its sources that way)."""


class Origin:
    """Where sources come from: the root open as ``fd``; ``what`` names it in errors, like "the build context /src"."""

    def __init__(self, fd: int, what: str, ignore: IgnorePatterns = _NOTHING) -> None:
        self.fd = fd
        self.what = what
        self.ignore = ignore
        self.follow = True
        self._base = os.readlink(f"/proc/self/fd/{fd}")

    def select(
        self,
        sources: Sequence[str],
        *,
        exclude: IgnorePatterns = _NOTHING,
        parents: bool = False,
        empty_wildcard: bool = False,
        follow: bool = True,
    ) -> list[Item]:
        """The items that ``sources`` mean, in that order; those of a wildcard are sorted.

        Raises one :class:`CopyError` that names each source that is missing, or left out by the ignore patterns.
        ``empty_wildcard`` allows a pattern that matches nothing. Without ``follow`` a source that is a symbolic link
        is the link itself.
        """
        self.follow = follow
        items: list[Item] = []
        absent: list[CopyError] = []
        try:
            for source in sources:
                found = self._with_parents(source, exclude) if parents else self._plain(source, exclude)
                if not found and not (empty_wildcard and has_wildcard(source)):
                    absent.append(self._missing(source))
                items += found
            if absent:
                message = "; ".join(error.message for error in absent)
                raise CopyError(message, hint=absent[0].hint, path=absent[0].path)
        except BaseException:
            close(items)
            raise
        return items

    def _with_parents(self, source: str, exclude: IgnorePatterns) -> list[Item]:
        base, pattern = rules.split_pivot(source)
        only = Rule(rules.only(pattern))
        item = self._item(source, base, exclude, (only,), must_match=True)
        return [item] if item is not None else []

    def _plain(self, source: str, exclude: IgnorePatterns) -> list[Item]:
        path = rules.clean_source(source)
        if not has_wildcard(path):
            item = self._item(source, path, exclude)
            return [item] if item is not None else []
        items = []
        for match in self._expand(path):
            base = posixpath.basename(match)
            if exclude.matches(base):
                continue
            item = self._item(source, match, exclude, wild=True)
            if item is not None:
                items.append(item)
        if not items and (item := self._item(source, path, exclude)) is not None:
            items.append(item)  # a file whose name looks like a pattern
        return items

    def _expand(self, pattern: str) -> list[str]:
        """The paths that match, component by component: "*" never matches a slash (``filepath.Match``)."""
        found = [""]
        for part in pattern.split("/"):
            if not has_wildcard(part):
                found = [posixpath.join(base, part) for base in found]
                continue
            try:
                found = [
                    posixpath.join(base, name) for base in found for name in self._names(base) if go_match(part, name)
                ]
            except UsageError:
                return []
        return found

    def _names(self, path: str) -> list[str]:
        try:
            fd = open_in_root(self.fd, path or ".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def _item(
        self,
        source: str,
        path: str,
        exclude: IgnorePatterns,
        more: tuple[Rule, ...] = (),
        *,
        wild: bool = False,
        must_match: bool = False,
    ) -> Item | None:
        """The item at ``path``, None if it is missing or ignored; links are followed."""
        name = posixpath.basename(path)
        real = self._real(path, follow=self.follow)
        if real is None and wild:
            real = self._real(path, follow=False)
        if real is None:
            return None
        try:
            holder = open_in_root(self.fd, posixpath.dirname(real) or ".", os.O_RDONLY | os.O_DIRECTORY)
            entry = posixpath.basename(real)
            info = os.stat(entry, dir_fd=holder, follow_symlinks=False) if entry else os.fstat(holder)
            info = owners.told_at(info, holder, entry or ".")
            if not stat.S_ISDIR(info.st_mode):
                if any(self.ignore.matches(seen) for seen in (path, real)) or must_match:
                    os.close(holder)
                    return None
                return Item(source, name, real, holder, entry, info, Filter(), must_match)
            os.close(holder)
            fd = open_in_root(self.fd, real or ".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise unreadable(error, self.what, path) from error
        ignored = Rule(self.ignore, real)
        keeps = not self.ignore.matches(real) or not self.ignore.may_prune(real)
        if not keeps:
            os.close(fd)
            return None
        filter = Filter((ignored, Rule(exclude), *more))
        return Item(source, name, real, fd, "", info, filter, must_match or self.ignore.matches(real))

    def _real(self, path: str, *, follow: bool) -> str | None:
        """``path`` with all links resolved within the root, relative to it; None if nothing is there."""
        flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
        try:
            fd = open_in_root(self.fd, path or ".", flags)
        except OSError:
            return None
        try:
            real = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return posixpath.relpath(real, self._base) if real != self._base else ""

    def missing(self, item: Item) -> CopyError:
        """The error for an item of which nothing is left to copy."""
        return self._missing(item.source)

    def _missing(self, source: str) -> CopyError:
        path = rules.clean_source(source)
        within = f" in {self.what}" if self.what else ""
        reason = self.ignore.why(path) if self.ignore else None
        if reason is not None and self._real(path, follow=True) is not None:
            return CopyError(
                f"{source}: left out by the pattern {reason}",
                hint=f"change the pattern, or add !{path} behind it",
                path=source,
            )
        if has_wildcard(path):
            return CopyError(f"{source}: nothing{within} matches", hint=self._near(path), path=source)
        return CopyError(f"{source}: no such file{within}", hint=self._near(path), path=source)

    def _near(self, path: str) -> str:
        """What may have been meant: names like it in the deepest directory that exists."""
        import difflib

        where, wanted = "", path
        parts = path.split("/")
        for index, part in enumerate(parts):
            wanted = part
            if index == len(parts) - 1 or self._real("/".join(parts[: index + 1]), follow=True) is None:
                break
            where = "/".join(parts[: index + 1])
        names = self._names(where)
        near = difflib.get_close_matches(wanted, names, 3, 0.6)
        if near:
            return "did you mean " + " or ".join(posixpath.join(where, name) for name in near) + "?"
        listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        return f"{where or 'the top of it'} holds {listed or 'nothing'}"


def close(items: Sequence[Item]) -> None:
    """Close the descriptors of items."""
    for item in items:
        os.close(item.fd)
