"""Puts layers on a tree, one after the other, as an overlay would show them; files are copied by several threads.

Nobody else may change the tree meanwhile. No symbolic link is followed: each directory was looked at, or made, before
something is put into it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading

from buildlib.snapshot.marks import is_opaque, is_whiteout
from buildlib.snapshot.metadata import copy_contents, copy_metadata
from buildlib.snapshot.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    Job = tuple[bytes, bytes, os.stat_result]
    """From where, to where, and what."""

THREADS = 2


def grow(tree: bytes, layer: bytes, *, link: bool = False, fresh: bool = False) -> None:
    """Let ``tree`` show what is in ``layer``, on top of what is in it.

    With ``link`` files become hard links, which is for trees that nobody writes. ``fresh`` says that the tree is empty.
    Raises ``OSError``.
    """
    work = _Work(link=link)
    work.directory(layer, tree, os.lstat(layer), fresh=fresh)
    work.finish()


class _Work:
    def __init__(self, *, link: bool) -> None:
        self.link = link
        self.files: list[Job] = []
        self.directories: list[Job] = []
        self.links: list[tuple[bytes, bytes]] = []
        self.first: dict[int, bytes] = {}
        """Where the first name of a file with several is, by inode."""

    def directory(self, source: bytes, target: bytes, info: os.stat_result, *, fresh: bool) -> None:
        waiting = [(source, target, info, fresh)]
        while waiting:
            source, target, info, fresh = waiting.pop()
            self.directories.append((source, target, info))
            with os.scandir(source) as entries:
                for entry in entries:
                    below = entry.stat(follow_symlinks=False)
                    path = b"%s/%s" % (target, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        new = self._make_room(entry.path, path, fresh=fresh)
                        waiting.append((entry.path, path, below, new))
                    else:
                        self._file(source, entry.path, path, below, fresh=fresh)

    def _make_room(self, source: bytes, path: bytes, *, fresh: bool) -> bool:
        """Have a directory at ``path``; whether it is empty."""
        if not fresh:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISDIR(os.lstat(path).st_mode) and not is_opaque(source):
                    return False
                remove_tree(os.fsdecode(path))
        os.mkdir(path, 0o700)
        return True

    def _file(self, place: bytes, source: bytes, path: bytes, info: os.stat_result, *, fresh: bool) -> None:
        if not fresh:
            remove_tree(os.fsdecode(path))
        if not info.st_size and is_whiteout(place, source, info):
            return
        if info.st_nlink > 1 and not self.link:
            before = self.first.setdefault(info.st_ino, path)
            if before is not path:
                self.links.append((before, path))
                return
        self.files.append((source, path, info))

    def finish(self) -> None:
        """Copy the files; then links, and the directories, whose times would change otherwise."""
        _share(self.files, self._put)
        for before, path in self.links:
            os.link(before, path, follow_symlinks=False)
        for source, target, info in reversed(self.directories):
            copy_metadata(source, target, info)

    def _put(self, job: Job) -> None:
        source, path, info = job
        if self.link:
            with contextlib.suppress(OSError):  # EMLINK, EPERM, …: then it is copied
                os.link(source, path, follow_symlinks=False)
                return
        put(source, path, info)


def put(source: bytes, path: bytes, info: os.stat_result) -> None:
    """Make at ``path``, where nothing is, a copy of what is no directory: contents and all else. Raises ``OSError``.

    A device that may not be made here is left away.
    """
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFREG:
        into = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if info.st_size:
                origin = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    copy_contents(origin, into, info.st_size)
                finally:
                    os.close(origin)
        finally:
            os.close(into)
    elif kind == stat.S_IFLNK:
        os.symlink(os.readlink(source), path)
    else:
        try:
            os.mknod(path, kind | 0o600, info.st_rdev)
        except OSError as error:
            if error.errno == errno.EPERM and kind in (stat.S_IFCHR, stat.S_IFBLK):
                return
            raise
    copy_metadata(source, path, info)


def _share(jobs: list[Job], work: object) -> None:
    """Do all jobs, several at the same time. Raises the first error."""
    failed: list[BaseException] = []
    rest = iter(jobs)  # of a list: taking the next is one step of the interpreter

    def run() -> None:
        try:
            for job in rest:
                work(job)  # type: ignore[operator]
                if failed:
                    return
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(min(THREADS, len(jobs) // 64 + 1) - 1)]
    for thread in threads:
        thread.start()
    run()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
