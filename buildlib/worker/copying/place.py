"""Where things are put beneath a root: directories made on the way, links resolved in the root and never outside."""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from buildlib.errors import CopyError, from_os_error
from buildlib.linux import beneath

MAX_LINKS = 40


class Place:
    """The root of a container, open as ``fd``; new directories belong to ``owner`` and have ``mode``."""

    def __init__(self, fd: int, owner: tuple[int, int] = (0, 0), mode: int = 0o755) -> None:
        self.fd = fd
        self.owner = owner
        self.mode = mode

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` is, or links to, a directory."""
        try:
            fd = beneath.open_in_root(self.fd, path, os.O_PATH)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(error, path) from error
        try:
            return stat.S_ISDIR(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def directory(self, path: str, mode: int | None = None) -> tuple[int, list[str]]:
        """A descriptor of the directory ``path``, to be closed, and which directories had to be made for it."""
        uid, gid = self.owner
        try:
            fd, made = beneath.make_dirs(self.fd, path, self.mode if mode is None else mode, uid=uid, gid=gid)
        except OSError as error:
            raise self._unusable(error, path) from error
        os.close(fd)
        try:
            return beneath.open_in_root(self.fd, path, os.O_RDONLY | os.O_DIRECTORY), made
        except OSError as error:
            raise self._unusable(error, path) from error

    def target(self, path: str) -> tuple[int, str, str]:
        """Where a file called ``path`` is to be made: its directory (open, to be closed), that one's path, the name.

        A symbolic link at ``path`` is followed, to the end and also to nothing.
        """
        for _ in range(MAX_LINKS):
            where, name = posixpath.split(path)
            fd, _made = self.directory(where)
            try:
                link = os.readlink(name, dir_fd=fd)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOENT):
                    return fd, where, name
                os.close(fd)
                raise self._unusable(error, path) from error
            os.close(fd)
            path = posixpath.join(where, link)
            if posixpath.basename(path) in ("", ".", ".."):
                raise CopyError(f"{path}: a link there leads to a directory that is missing", path=path)
        raise self._unusable(OSError(errno.ELOOP, os.strerror(errno.ELOOP)), path)

    @staticmethod
    def _unusable(error: OSError, path: str) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return from_os_error(error, f"making {path} in the container")
        if error.errno == errno.ENOTDIR:
            return CopyError(
                f"{path}: exists in the container and is not a directory",
                hint="a destination with a trailing slash, or for several sources, has to be a directory",
                path=path,
            )
        return CopyError(f"{path}: can't be used in the container: {error.strerror}", path=path)
