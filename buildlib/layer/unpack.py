"""Creates what a tar archive describes beneath a root. It knows no whiteouts; :mod:`buildlib.layer.apply` does.

Repeated entries: the last one wins, whatever the kinds, except that a directory again only changes its metadata.
Owners, modes (setuid included), xattrs and times become exactly what the archive says; a directory's own at the very
end, so that nothing created in it changes them.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial

from buildlib.errors import LayerError, from_os_error
from buildlib.layer import xattrs
from buildlib.layer.folders import Folder, Folders, Refused, clean
from buildlib.layer.reader import BLOCK_DEVICE, CHAR, DIRECTORY, FILE, LINK, SYMLINK, Entry, Reader
from buildlib.layer.remove import remove
from buildlib.layer.whiteout import is_whiteout
from buildlib.linux import owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildlib.layer.feed import Feed

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

IMPLICIT = Entry()
"""The metadata of a directory that the archive does not carry: always the same, so 1970 rather than now."""
IMPLICIT.mode, IMPLICIT.uid, IMPLICIT.gid, IMPLICIT.mtime, IMPLICIT.xattrs = 0o755, 0, 0, 0, None


class Unpacker:
    """Unpacks the archive that ``feed`` brings below ``base``, a path beneath the directory ``root``.

    ``owner`` replaces all owners. Raises :class:`LayerError`, which names the entry, and :class:`StoreFull`.
    """

    def __init__(self, feed: Feed, root: int, base: str = "", owner: tuple[int, int] | None = None) -> None:
        self.born: tuple[int, int, int] | None = None
        """Owner, group and umask that a new file has here, where nothing in the tree changes them; :func:`born`."""
        self.reader = Reader(feed)
        self.folders = Folders(root, os.fsencode(base).strip(b"/"), self.make_parent)
        self.owner = owner
        self.directories: dict[bytes, Entry | None] = {}
        """Cleaned path of each directory that was made or met, and its entry; None where the archive has none."""
        self.pending: dict[bytes, bytes] = {}
        """Hard links whose target is not there (yet)."""
        self.unsupported: set[str] = set()
        """Names of xattrs that the file system can't store."""
        self.entries = 0

    def run(self) -> None:
        """Unpack everything."""
        try:
            while (entry := self.reader.next()) is not None:
                self.entries += 1
                self._guard(self.unpack, entry)
            self._link_again()
            for path in reversed(self.directories):
                self.reader.last = os.fsdecode(path)
                self._guard(self._finish, path)
        except LayerError as error:
            if error.entry is not None:
                raise
            # The stream itself is damaged; say how far it got.
            last = self.reader.last
            raise LayerError(f"{error} behind entry {last!r}", entry=last, reason=error.reason) from error
        finally:
            self.folders.forget()

    def _guard(self, work: Callable[[Any], None], what: Any) -> None:
        """Do something for the current entry; what goes wrong is told with its name."""
        try:
            work(what)
        except (Refused, ValueError) as error:
            self.reader.fail(str(error), "refused")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise from_os_error(error, f"unpacking {self.reader.last}") from error
            self.reader.fail(f"it can't be created: {error.strerror}", str(error.strerror))

    # --- entries ------------------------------------------------------------------------------------------------------

    def unpack(self, entry: Entry) -> None:
        """One entry."""
        parent, _, name = entry.name.rstrip(b"/").rpartition(b"/")
        if name in (b"", b".", b".."):
            # Rare forms of a name; only these can mean the root itself.
            parts = clean(entry.name)
            if not parts:
                self.root(entry)
                return
            parent, name = b"/".join(parts[:-1]), parts[-1]
        self.member(entry, parent, name)

    def root(self, entry: Entry) -> None:
        """The entry that describes the root directory."""
        if entry.kind != DIRECTORY or not entry.name:
            raise Refused("it stands for the root but is no directory" if entry.name else "it has no name")
        self.directories[b""] = entry

    def member(self, entry: Entry, parent: bytes, name: bytes) -> None:
        """An entry below the root: make it, in place of what is there."""
        folder = self.folders.get(parent)
        path = folder.prefix + name
        if self.pending:
            self.pending.pop(path, None)
        if entry.kind == FILE:
            self._file(entry, folder, name, path)
        elif entry.kind == DIRECTORY:
            self._directory(entry, folder, name, path)
        elif entry.kind == LINK:
            if not self._link(entry.link, folder.fd, name, path):
                self.pending[path] = entry.link
        else:
            self._special(entry, folder, name, path)

    def _file(self, entry: Entry, folder: Folder, name: bytes, path: bytes) -> None:
        mode = 0o600 if self.born is None else entry.mode & 0o777
        try:
            fd = os.open(name, _CREATE, mode, dir_fd=folder.fd)
        except FileExistsError:
            self.replace(folder.fd, name, path)
            fd = os.open(name, _CREATE, mode, dir_fd=folder.fd)
        try:
            if entry.pieces is not None:
                os.ftruncate(fd, entry.size)
                for offset, length in entry.pieces:
                    os.lseek(fd, offset, os.SEEK_SET)
                    self.reader.take(length, partial(_write, fd))
            elif entry.size:
                self.reader.take(entry.size, partial(_write, fd))
            self._describe(fd, entry, self.born)
        finally:
            os.close(fd)

    def _directory(self, entry: Entry, folder: Folder, name: bytes, path: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=folder.fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=folder.fd).st_mode):
                self.remake(folder.fd, name, path)
        self.directories[path] = entry

    def _special(self, entry: Entry, folder: Folder, name: bytes, path: bytes) -> None:
        """A symbolic link, a FIFO or a device."""
        fd = folder.fd
        try:
            self._make(entry, fd, name)
        except FileExistsError:
            self.replace(fd, name, path)
            self._make(entry, fd, name)
        if entry.kind == SYMLINK:
            owners.give_link(name, fd, *(self.owner or (entry.uid, entry.gid)), entry.mtime)
        if entry.xattrs:
            self.set_xattrs(xattrs.beside(fd, os.fsdecode(name)), entry.xattrs)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)

    def _make(self, entry: Entry, fd: int, name: bytes) -> None:
        if entry.kind == SYMLINK:
            os.symlink(entry.link, name, dir_fd=fd)
            return
        if entry.kind == CHAR and entry.major == entry.minor == 0:
            raise Refused("the character device 0:0 would delete what is below it")
        kind = {CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}.get(entry.kind, stat.S_IFIFO)
        device = os.makedev(entry.major, entry.minor) if kind != stat.S_IFIFO else 0
        uid, gid = self.owner or (entry.uid, entry.gid)
        try:
            owners.make_special(name, fd, kind | entry.mode, device, uid, gid)
        except PermissionError:
            raise Refused("device nodes can be made by root only") from None

    def _link(self, target: bytes, fd: int, name: bytes, path: bytes) -> bool:
        """Make a hard link; False where its target is not there."""
        try:
            parts = clean(target)
        except Refused as error:
            raise Refused(f"it is a hard link to {os.fsdecode(target)!r}, and {error}") from None
        if not parts:
            raise Refused("it is a hard link to the root")
        try:
            source = self.folders.look(parts[:-1])
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            found = os.lstat(parts[-1], dir_fd=source)
            if stat.S_ISDIR(found.st_mode) or is_whiteout(found):
                what = "a directory" if stat.S_ISDIR(found.st_mode) else "something deleted"
                raise Refused(f"it is a hard link to {what}, {os.fsdecode(target)!r}")
            try:
                os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
            except FileExistsError:
                there = os.lstat(name, dir_fd=fd)
                if (there.st_dev, there.st_ino) != (found.st_dev, found.st_ino):
                    self.replace(fd, name, path)
                    os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        finally:
            os.close(source)
        return True

    # --- what is in the way -------------------------------------------------------------------------------------------

    def make_parent(self, fd: int, name: bytes, path: bytes) -> None:
        """Make a directory that the archive does not carry; called by :class:`Folders`."""
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            info = os.lstat(name, dir_fd=fd)
            if not is_whiteout(info):
                what = "a symbolic link to nothing" if stat.S_ISLNK(info.st_mode) else "no directory"
                raise Refused(f"{os.fsdecode(path)!r} on its path is {what}") from None
            self.remake(fd, name, path)
        self.directories[path] = None

    def remake(self, fd: int, name: bytes, path: bytes) -> None:
        """Make a directory in place of something else."""
        self.replace(fd, name, path)
        os.mkdir(name, 0o700, dir_fd=fd)

    def replace(self, fd: int, name: bytes, path: bytes) -> None:
        """Remove what an entry is to replace."""
        if remove(fd, name):
            inside = path + b"/"
            for gone in [known for known in self.directories if known == path or known.startswith(inside)]:
                del self.directories[gone]
            for gone in [known for known in self.pending if known.startswith(inside)]:
                del self.pending[gone]
        self.folders.forget(keep=fd)

    # --- metadata -----------------------------------------------------------------------------------------------------

    def _describe(self, fd: int, entry: Entry, born: tuple[int, int, int] | None = None) -> None:
        """Give a file its metadata; ``born`` is what it has already, and what most files of most layers shall have."""
        uid, gid = self.owner or (entry.uid, entry.gid)
        if born is None or (uid, gid) != born[:2]:
            owners.give(fd, uid, gid)
        if born is None or entry.mode & (0o7000 | born[2]):
            os.fchmod(fd, entry.mode)  # behind chown, which takes setuid away
        if entry.xattrs:
            self.set_xattrs(fd, entry.xattrs)  # behind chown, which takes capabilities away
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def set_xattrs(self, target: int | str, values: dict[bytes, bytes]) -> None:
        """Set those attributes that travel; the marks of the overlay would be forged ones and are dropped."""
        for raw, value in values.items():
            name = os.fsdecode(raw)
            if not xattrs.travels(name):
                continue
            try:
                if not xattrs.put(target, name, value):
                    self.unsupported.add(name)
            except OSError as error:
                raise Refused(f"its attribute {name} can't be set: {error.strerror}") from error

    # --- the end ------------------------------------------------------------------------------------------------------

    def _link_again(self) -> None:
        """Make the hard links that came before their targets; those that are still pending then have none here."""
        before = 0
        while len(self.pending) != before:
            before = len(self.pending)
            for path in list(self.pending):
                self.reader.last = os.fsdecode(path)
                self._guard(self._link_pending, path)

    def _link_pending(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        if self._link(self.pending[path], self.folders.get(parent).fd, name, path):
            del self.pending[path]

    def _finish(self, path: bytes) -> None:
        """Give a directory its metadata."""
        try:
            fd = self.folders.directory(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return  # replaced by way of a symbolic link, under another name
            raise
        try:
            self._describe(fd, self.directories[path] or IMPLICIT)
        finally:
            os.close(fd)


def born(root: int) -> tuple[int, int, int] | None:
    """Owner and group of a file that is made below the directory ``root``, and the umask that its mode is subject to.

    ``root`` is fresh: directories below it get their metadata last. None where it has a default ACL, which would make
    other modes.
    """
    try:
        os.getxattr(root, "system.posix_acl_default")
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
    else:
        return None
    with open("/proc/self/status", "rb") as file:
        umask = next((line for line in file if line.startswith(b"Umask:")), None)
    return (os.geteuid(), os.getegid(), int(umask.split()[1], 8)) if umask else None


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
