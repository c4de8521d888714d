"""Deleting trees of any depth, whoever made them; it follows no symbolic link and enters no mount."""

from __future__ import annotations

import errno
import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Delete ``path``, a directory with all below it or anything else; a missing one is fine. Raises ``OSError``.

    A build can nest directories deeper than recursion, PATH_MAX or the descriptor limit go, so this holds one
    directory open, walks down by names and up again through "..". Nobody else may move directories of the tree
    meanwhile. Something mounted in it is an error, EBUSY, before anything below that is touched.
    """
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    except OSError:
        os.unlink(path)
        return
    try:
        device = os.fstat(fd).st_dev
        names: list[str] = []
        """The way down from ``path`` to the directory that is open."""
        waiting = [_unlink_files(fd)]
        """For each directory on that way the subdirectories that are left."""
        while True:
            if waiting[-1]:
                names.append(waiting[-1].pop())
                _step(fd, names[-1])
                if os.fstat(fd).st_dev != device:
                    raise OSError(errno.EBUSY, "something is mounted there", "/".join([path, *names]))
                waiting.append(_unlink_files(fd))
            elif names:
                waiting.pop()
                _step(fd, "..")
                os.rmdir(names.pop(), dir_fd=fd)
            else:
                break
    finally:
        os.close(fd)
    os.rmdir(path)


def _step(fd: int, name: str) -> None:
    """Let ``fd`` be the directory ``name`` beneath what it was; it stays the one descriptor to close."""
    beside = os.open(name, _DIRECTORY, dir_fd=fd)
    os.dup2(beside, fd, inheritable=False)
    os.close(beside)


def _unlink_files(fd: int) -> list[str]:
    """Delete all but the subdirectories of an open directory; return their names."""
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=fd)
    return directories
