"""The kernel's questions, answered from an overlay of directories (fuse(4), libfuse's fuse_lowlevel.h).

All that changes the files comes through here, so the kernel may remember names, attributes and contents for ever. No
handler ever waits for anything but the disk: they are coroutines only because pyfuse3 wants them to be.
"""

# ruff: noqa: D402 - a handler is described by the system call that it answers

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from itertools import count

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError

from buildlib.snapshot.fuse.upper import Upper
from buildlib.snapshot.marks import is_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildlib.snapshot.fuse.node import Node
    from buildlib.snapshot.fuse.stack import Stack

FOR_EVER = 1e9
"""Seconds."""


class Operations(pyfuse3.Operations):
    """Answers for one :class:`Stack`; what writes is refused (EROFS) unless it is an :class:`Upper`."""

    enable_writeback_cache = True
    supports_dot_lookup = False

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.stack = stack
        self.files: dict[int, Node] = {}
        """The node of each descriptor by which the kernel reads or writes one."""
        self.listings: dict[int, tuple[Node, list[bytes]]] = {}
        self._numbers = count(1)

    # --- names ------------------------------------------------------------------------------------------------------

    async def lookup(self, parent: int, name: bytes, ctx: object) -> EntryAttributes:
        """A miss is an answer, too, which the kernel remembers."""
        with errors():
            found = self.stack.find(self.stack.nodes[parent], name)
        if found is None:
            nothing = EntryAttributes()
            nothing.st_ino, nothing.entry_timeout = 0, FOR_EVER
            return nothing
        return self._told(*found)

    async def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        """The kernel has no more use for these numbers."""
        for number, times in inodes:
            self.stack.nodes.forget(number, times)

    async def opendir(self, number: int, ctx: object) -> int:
        """A listing, which :meth:`readdir` fills."""
        handle = next(self._numbers)
        self.listings[handle] = (self.stack.nodes[number], [])
        return handle

    async def readdir(self, handle: int, start: int, token: pyfuse3.ReaddirToken) -> None:
        """Entries with their attributes from the place ``start``; at the beginning the directory is read anew."""
        directory, names = self.listings[handle]
        with errors():
            if start == 0:
                names[:] = [b".", b"..", *self.stack.names(directory)]
            for place in range(start, len(names)):
                if not self._entry(directory, names[place], place + 1, token):
                    return

    def _entry(self, directory: Node, name: bytes, following: int, token: pyfuse3.ReaddirToken) -> bool:
        if name in (b".", b".."):  # never looked up by the kernel, so not counted
            info = self.stack.stat(directory)
            return pyfuse3.readdir_reply(token, name, self._attributes(directory, info), following)
        found = self.stack.find(directory, name)
        if found is None:  # deleted since
            return True
        if not pyfuse3.readdir_reply(token, name, self._attributes(*found), following):
            self.stack.nodes.forget(found[0].number, 0)
            return False
        found[0].known += 1
        return True

    async def releasedir(self, handle: int) -> None:
        """It is closed."""
        del self.listings[handle]

    async def fsyncdir(self, handle: int, datasync: bool) -> None:
        """See :meth:`fsync`."""
        raise FUSEError(errno.ENOSYS)

    # --- attributes -------------------------------------------------------------------------------------------------

    async def getattr(self, number: int, ctx: object) -> EntryAttributes:
        """stat(2)."""
        with errors():
            node = self.stack.nodes[number]
            return self._attributes(node, self.stack.stat(node))

    def _told(self, node: Node, info: os.stat_result) -> EntryAttributes:
        """An entry that the kernel gets to know, and will forget some day."""
        node.known += 1
        return self._attributes(node, info)

    def _attributes(self, node: Node, info: os.stat_result) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = node.number
        entry.st_mode, entry.st_uid, entry.st_gid = info.st_mode, info.st_uid, info.st_gid
        # The number of subdirectories of a merged directory is not known; 1 says so, as for the kernel's overlay.
        entry.st_nlink = info.st_nlink if not node.is_directory or self._is_whole(node) else 1
        entry.st_rdev, entry.st_size = info.st_rdev, info.st_size
        entry.st_blocks, entry.st_blksize = info.st_blocks, info.st_blksize
        entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns = info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns
        entry.entry_timeout = entry.attr_timeout = FOR_EVER
        return entry

    @staticmethod
    def _is_whole(directory: Node) -> bool:
        return directory.upper and directory.below == []

    async def setattr(
        self, number: int, attr: EntryAttributes, fields: pyfuse3.SetattrFields, handle: int | None, ctx: object
    ) -> EntryAttributes:
        """chmod(2), chown(2), truncate(2), utimensat(2), all in one."""
        with errors():
            node = self.stack.nodes[number]
            if self._is_of_no_matter(node, fields):
                return self._attributes(node, self.stack.stat(node))
            emptied = fields.update_size and attr.st_size == 0
            path = self._upper().copy_up(node, contents=not emptied)
            before = self.stack.stat(node)
            if fields.update_size:
                os.truncate(path, attr.st_size)
            if fields.update_uid or fields.update_gid:
                uid = attr.st_uid if fields.update_uid else -1
                os.chown(path, uid, attr.st_gid if fields.update_gid else -1, follow_symlinks=node.orphan >= 0)
            if fields.update_mode:
                os.chmod(path, stat.S_IMODE(attr.st_mode))
            if fields.update_atime or fields.update_mtime:
                atime = attr.st_atime_ns if fields.update_atime else before.st_atime_ns
                mtime = attr.st_mtime_ns if fields.update_mtime else before.st_mtime_ns
                os.utime(path, ns=(atime, mtime), follow_symlinks=node.orphan >= 0)
            return self._attributes(node, self.stack.stat(node))

    @staticmethod
    def _is_of_no_matter(node: Node, fields: pyfuse3.SetattrFields) -> bool:
        """Whether it says no more than that time has passed, as the kernel does when it drops a file."""
        if fields.update_mode or fields.update_uid or fields.update_gid or fields.update_size:
            return False
        return node.is_gone or not (fields.update_atime or fields.update_mtime)

    async def readlink(self, number: int, ctx: object) -> bytes:
        """readlink(2)."""
        with errors():
            return os.readlink(self.stack.path(self.stack.nodes[number]))

    async def statfs(self, ctx: object) -> pyfuse3.StatvfsData:
        """statvfs(3), of the file system that takes what is written."""
        with errors():
            real = os.statvfs(self.stack.path(self.stack.nodes.root))
        data = pyfuse3.StatvfsData()
        for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax"):
            setattr(data, f"f_{name}", getattr(real, f"f_{name}"))
        return data

    # --- extended attributes ----------------------------------------------------------------------------------------

    async def getxattr(self, number: int, name: bytes, ctx: object) -> bytes:
        """getxattr(2); the marks of the overlay are not for anybody's eyes."""
        with errors():
            if is_mark(os.fsdecode(name)):
                raise FUSEError(errno.ENODATA)
            node = self.stack.nodes[number]
            return os.getxattr(self.stack.path(node), name, follow_symlinks=node.orphan >= 0)

    async def listxattr(self, number: int, ctx: object) -> list[bytes]:
        """listxattr(2)."""
        with errors():
            node = self.stack.nodes[number]
            names = os.listxattr(self.stack.path(node), follow_symlinks=node.orphan >= 0)
            return [os.fsencode(name) for name in names if not is_mark(name)]

    async def setxattr(self, number: int, name: bytes, value: bytes, ctx: object) -> None:
        """setxattr(2); the marks can't be forged."""
        with errors():
            if is_mark(os.fsdecode(name)):
                raise FUSEError(errno.EOPNOTSUPP)
            node = self.stack.nodes[number]
            os.setxattr(self._upper().copy_up(node), name, value, follow_symlinks=node.orphan >= 0)

    async def removexattr(self, number: int, name: bytes, ctx: object) -> None:
        """removexattr(2)."""
        with errors():
            node = self.stack.nodes[number]
            follow = node.orphan >= 0
            if is_mark(os.fsdecode(name)):
                raise FUSEError(errno.ENODATA)
            os.getxattr(self.stack.path(node), name, follow_symlinks=follow)  # nothing there? Then nothing is copied
            os.removexattr(self._upper().copy_up(node), name, follow_symlinks=follow)

    # --- making, removing, renaming -----------------------------------------------------------------------------------

    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext) -> EntryAttributes:
        """mkdir(2)."""
        with errors():
            directory = self.stack.nodes[parent]
            mode |= self.stack.stat(directory).st_mode & stat.S_ISGID
            return self._make(directory, name, os.mkdir, mode, ctx, new_directory=True)

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> EntryAttributes:
        """mknod(2), but for what would be a whiteout."""
        if stat.S_ISCHR(mode) and rdev == 0:
            raise FUSEError(errno.EPERM)
        with errors():
            directory = self.stack.nodes[parent]
            return self._make(directory, name, lambda path: os.mknod(path, mode, rdev), mode, ctx)

    async def symlink(self, parent: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext) -> EntryAttributes:
        """symlink(2)."""
        with errors():
            directory = self.stack.nodes[parent]
            return self._make(directory, name, lambda path: os.symlink(target, path), None, ctx)

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """open(2) with O_CREAT, of what is not there."""
        opened = []

        def create(path: bytes) -> None:
            opened.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))

        with errors():
            entry = self._make(self.stack.nodes[parent], name, create, mode, ctx)
            return self._opened(self.stack.nodes[entry.st_ino], opened[0]), entry

    def _make(
        self,
        directory: Node,
        name: bytes,
        create: object,
        mode: int | None,
        ctx: pyfuse3.RequestContext,
        *,
        new_directory: bool = False,
    ) -> EntryAttributes:
        """Make something that belongs to who asked; the kernel has applied the umask."""
        above = self.stack.stat(directory)
        gid = above.st_gid if above.st_mode & stat.S_ISGID else ctx.gid

        def complete(path: bytes) -> None:
            create(path)  # type: ignore[operator]
            if (ctx.uid, gid) != (os.geteuid(), os.getegid()) or above.st_mode & stat.S_ISGID:
                os.chown(path, ctx.uid, gid, follow_symlinks=False)
            if mode is not None:
                os.chmod(path, stat.S_IMODE(mode))

        return self._told(*self._upper().make(directory, name, complete, new_directory=new_directory))

    async def link(self, number: int, parent: int, name: bytes, ctx: object) -> EntryAttributes:
        """link(2)."""
        with errors():
            node = self.stack.nodes[number]
            self._upper().link(node, self.stack.nodes[parent], name)
            return self._told(node, self.stack.stat(node))

    async def unlink(self, parent: int, name: bytes, ctx: object) -> None:
        """unlink(2)."""
        with errors():
            directory = self.stack.nodes[parent]
            node, _ = self._there(directory, name)
            self._upper().remove(directory, name, node)

    async def rmdir(self, parent: int, name: bytes, ctx: object) -> None:
        """rmdir(2)."""
        await self.unlink(parent, name, ctx)

    async def rename(self, old: int, name: bytes, new: int, new_name: bytes, flags: int, ctx: object) -> None:
        """rename(2) and RENAME_NOREPLACE of renameat2(2)."""
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise FUSEError(errno.EINVAL)
        with errors():
            directory, other = self.stack.nodes[old], self.stack.nodes[new]
            node, _ = self._there(directory, name)
            found = self.stack.find(other, new_name)
            if found is not None and flags & pyfuse3.RENAME_NOREPLACE:
                raise FUSEError(errno.EEXIST)
            self._upper().rename(directory, name, other, new_name, node, found[0] if found else None)

    # --- contents ---------------------------------------------------------------------------------------------------

    async def open(self, number: int, flags: int, ctx: object) -> FileInfo:
        """open(2). Who only writes may have to be read for as well: the kernel fills pages (writeback cache)."""
        with errors():
            node = self.stack.nodes[number]
            if flags & os.O_ACCMODE == os.O_RDONLY and not flags & os.O_TRUNC:
                fd = os.open(self.stack.path(node), os.O_RDONLY | os.O_CLOEXEC)
                if not node.upper and isinstance(self.stack, Upper):
                    node.handles.add(fd)
            else:
                path = self._upper().copy_up(node, contents=not flags & os.O_TRUNC)
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags & os.O_TRUNC)
            return self._opened(node, fd)

    def _opened(self, node: Node, fd: int) -> FileInfo:
        self.files[fd] = node
        return FileInfo(fh=fd, keep_cache=True)

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        """pread(2)."""
        with errors():
            return os.pread(handle, size, offset)

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        """pwrite(2)."""
        with errors():
            done = os.pwrite(handle, data, offset)
            while done < len(data):
                done += os.pwrite(handle, memoryview(data)[done:], offset + done)
            return done

    async def flush(self, handle: int) -> None:
        """Nothing is kept back here; the kernel need not ask again."""
        raise FUSEError(errno.ENOSYS)

    async def fsync(self, handle: int, datasync: bool) -> None:
        """As a ``volatile`` overlay: nothing is promised beyond a crash of the machine."""
        raise FUSEError(errno.ENOSYS)

    async def release(self, handle: int) -> None:
        """It is closed."""
        self.files.pop(handle).handles.discard(handle)
        os.close(handle)

    # --- within -----------------------------------------------------------------------------------------------------

    def _upper(self) -> Upper:
        if not isinstance(self.stack, Upper):
            raise FUSEError(errno.EROFS)
        return self.stack

    def _there(self, directory: Node, name: bytes) -> tuple[Node, os.stat_result]:
        found = self.stack.find(directory, name)
        if found is None:
            raise FUSEError(errno.ENOENT)
        return found


@contextmanager
def errors() -> Iterator[None]:
    """What the kernel said to us is what we say to the kernel."""
    try:
        yield
    except OSError as error:
        raise FUSEError(error.errno or errno.EIO) from None
    except KeyError:  # a number that it has forgotten
        raise FUSEError(errno.ESTALE) from None
