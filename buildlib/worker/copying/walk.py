"""Going through a source tree by directory descriptors: sorted, filtered, never through a symbolic link."""

from __future__ import annotations

import os
import stat

from buildlib.errors import CopyError
from buildlib.linux import owners
from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildlib.patterns import IgnorePatterns, Verdict

MAX_DEPTH = 200
"""Directories are held open on the way down, on both sides of a copy: twice this stays below 1024 descriptors."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

ENTER, ENTRY, LEAVE = 1, 2, 3
"""What :func:`walk` reports: a directory before and after what is in it, and anything that is not a directory."""

if TYPE_CHECKING:
    Event = tuple[int, int, str, str, os.stat_result]
    Identity = tuple[int, int]


class Rule(NamedTuple):
    """Patterns, and where the walked tree lies seen from where the patterns are rooted ("" for the same place)."""

    patterns: IgnorePatterns
    prefix: str = ""

    def path(self, path: str) -> str:
        """The path as the patterns have to see it."""
        return f"{self.prefix}/{path}" if self.prefix and path else self.prefix or path


class Filter:
    """Several sets of patterns at once: what any of them leaves out is left out."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rule for rule in rules if rule.patterns)

    def start(self) -> tuple[Verdict, ...]:
        """The verdicts on the root of the walk."""
        return tuple(rule.patterns.verdict(rule.prefix) for rule in self.rules)

    def below(self, parent: tuple[Verdict, ...], path: str) -> tuple[Verdict, ...]:
        """The verdicts on ``path``, given those on its directory."""
        return tuple(
            rule.patterns.below(above, rule.path(path)) for rule, above in zip(self.rules, parent, strict=True)
        )

    def may_prune(self, path: str, verdicts: tuple[Verdict, ...]) -> bool:
        """Whether nothing below the directory can be wanted."""
        return any(
            verdict.excluded and rule.patterns.may_prune(rule.path(path))
            for rule, verdict in zip(self.rules, verdicts, strict=True)
        )


class _Frame:
    """A directory on the way down; ``entered`` says whether it was reported yet."""

    __slots__ = ("entered", "entries", "fd", "name", "path", "stat", "verdicts")

    def __init__(self, fd: int, name: str, path: str, info: os.stat_result, verdicts: tuple[Verdict, ...]) -> None:
        self.fd = fd
        self.name = name
        self.path = path
        self.stat = info
        self.verdicts = verdicts
        self.entered = False
        with os.scandir(fd) as found:
            entries = sorted(found, key=_name, reverse=True)
        self.entries = entries  # taken from the end


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def walk(fd: int, filter: Filter, skip: frozenset[Identity] = frozenset(), *, what: str = "") -> Iterator[Event]:
    """Everything below the directory ``fd``: ``(event, directory fd, name, path, stat)``.

    ``path`` is relative to ``fd``. For ENTER and LEAVE the descriptor is the directory's own, else that of the
    directory that holds the entry; it is closed after LEAVE, ``fd`` itself never. A directory that is left out is
    reported all the same as soon as something below it is not. ``skip`` holds (device, inode) of directories that
    are passed over: the store does not copy itself. Sockets are passed over: they mean nothing without their process.

    Raises :class:`CopyError` that names the path (below ``what``) that can't be read, or is nested too deeply.
    """
    frames: list[_Frame] = []
    try:
        frame = _Frame(fd, "", "", os.fstat(fd), filter.start())
        frame.entered = True
        frames.append(frame)
        while frames:
            frame = frames[-1]
            if not frame.entries:
                if frame.fd != fd and frame.entered:
                    yield LEAVE, frame.fd, frame.name, frame.path, frame.stat
                frames.pop()
                if frame.fd != fd:
                    os.close(frame.fd)
                continue
            name = frame.entries[-1].name
            path = f"{frame.path}/{name}" if frame.path else name
            yield from _step(frames, frame, path, filter, skip)
    except OSError as error:
        raise unreadable(error, what, path if frames else "") from error
    finally:
        for frame in frames:
            if frame.fd != fd:
                os.close(frame.fd)


def _step(frames: list[_Frame], frame: _Frame, path: str, filter: Filter, skip: frozenset[Identity]) -> Iterator[Event]:
    entry = frame.entries.pop()
    verdicts = frame.verdicts
    excluded = False
    if filter.rules:
        verdicts = filter.below(verdicts, path)
        excluded = any(verdict.excluded for verdict in verdicts)
    info = owners.told_at(entry.stat(follow_symlinks=False), frame.fd, entry.name)
    if stat.S_ISDIR(info.st_mode):
        if (info.st_dev, info.st_ino) in skip or (excluded and filter.may_prune(path, verdicts)):
            return
        if len(frames) > MAX_DEPTH:
            raise CopyError(f"{path[:200]}…: directories are nested deeper than {MAX_DEPTH}", path=path)
        fd = os.open(entry.name, DIRECTORY, dir_fd=frame.fd)
        try:
            child = _Frame(fd, entry.name, path, owners.told(os.fstat(fd), fd), verdicts)
        except BaseException:
            os.close(fd)
            raise
        frames.append(child)
        if not excluded:
            yield from _enter(frames)
    elif not excluded and not stat.S_ISSOCK(info.st_mode):
        if not frame.entered:
            yield from _enter(frames)
        yield ENTRY, frame.fd, entry.name, path, info


def _enter(frames: list[_Frame]) -> Iterator[Event]:
    for frame in frames:
        if not frame.entered:
            frame.entered = True
            yield ENTER, frame.fd, frame.name, frame.path, frame.stat


def unreadable(error: OSError, what: str, path: str) -> CopyError:
    """The error that says which file of ``what`` could not be read."""
    place = "/".join(part for part in (what, path) if part) or "."
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return CopyError(f"{place}: changed while it was read", hint="leave it alone, or exclude it", path=place)
    return CopyError(f"{place}: can't be read: {error.strerror}", hint="make it readable, or exclude it", path=place)
