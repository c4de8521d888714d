"""Removes what an archive replaces, by an open directory and a name; it follows no link and leaves no directory."""

from __future__ import annotations

import os
import stat

from buildlib.layer.walk import DIRECTORY, walk


def remove(dir_fd: int, name: bytes) -> bool:
    """Delete ``name`` in an open directory, a directory with all that is in it; tell whether it was one."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except IsADirectoryError:
        pass
    else:
        return False
    fd = os.open(name, DIRECTORY, dir_fd=dir_fd)
    try:
        directories = []
        for path, child, info, parent, _ in walk(fd, overlay=False):
            if stat.S_ISDIR(info.st_mode):
                directories.append(path)
            else:
                os.unlink(child, dir_fd=parent)
        for path in reversed(directories):
            os.rmdir(path, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)
    return True
