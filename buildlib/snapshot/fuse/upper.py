"""What is written: copied up, made, hidden, renamed, in exactly the form in which the kernel's overlay leaves an upper.

As with ``index=off,metacopy=off,redirect_dir=off``: an upper refers to nothing below it, hard links to what is below
are broken when one of them is written, and a directory that is not wholly in the upper can't be renamed (EXDEV).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from buildlib.snapshot import marks
from buildlib.snapshot.fuse.stack import Stack
from buildlib.snapshot.metadata import copy_contents, copy_metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildlib.snapshot.fuse.node import Node


class Upper(Stack):
    """A stack with an upper, and ``work``, a folder on the same file system where things are made complete."""

    def __init__(self, lowers: Sequence[bytes], upper: bytes, work: bytes, *, userxattr: bool) -> None:
        super().__init__(lowers, upper)
        self.work = work
        self.userxattr = userxattr
        self._made = 0

    # --- copying up -------------------------------------------------------------------------------------------------

    def copy_up(self, node: Node, *, contents: bool = True) -> bytes:
        """Have it in the upper, with the directories above it, and return its path there.

        Without ``contents`` a file is empty there, but as it was in all else. Times of the directories stay.
        """
        if node.upper:
            return self.path(node)
        if node.is_gone:
            return self._copy_apart(node, contents=contents)
        parent, _ = node.links[0]
        parent_path = self.copy_up(parent)
        source, target = self.path(node), self.upper_path(node)
        before = os.lstat(parent_path)
        info = os.lstat(source)
        fresh = self._fresh()
        self._copy(source, fresh, info, contents=contents)
        if node.is_directory:
            self.below(node)  # before it counts as a directory of the upper
        os.rename(fresh, target)
        os.utime(parent_path, ns=(before.st_atime_ns, before.st_mtime_ns))
        node.upper = True
        if not node.is_directory:
            self.nodes.identify(node, os.lstat(target))
            self._switch(node, target)
        return target

    def _copy_apart(self, node: Node, *, contents: bool) -> bytes:
        """A copy without a name, of what has lost its own but is still open."""
        source, fresh = self.path(node), self._fresh()
        self._copy(source, fresh, os.lstat(source), contents=contents)
        node.orphan = os.open(fresh, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        node.upper = True
        self._switch(node, fresh)
        (os.rmdir if node.is_directory else os.unlink)(fresh)
        return self.path(node)

    def _copy(self, source: bytes, fresh: bytes, info: os.stat_result, *, contents: bool) -> None:
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(fresh, 0o700)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(source), fresh)
        elif kind == stat.S_IFREG:
            into = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                if contents:
                    origin = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        copy_contents(origin, into, info.st_size)
                    finally:
                        os.close(origin)
            finally:
                os.close(into)
        else:
            os.mknod(fresh, kind | 0o600, info.st_rdev)
        copy_metadata(source, fresh, info)

    def _switch(self, node: Node, target: bytes) -> None:
        """Let who reads the file that was below read the one in the upper from now on."""
        for handle in node.handles:
            fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(fd, handle, inheritable=False)
            os.close(fd)
        node.handles.clear()

    def _fresh(self) -> bytes:
        self._made += 1
        return b"%s/%d" % (self.work, self._made)

    # --- making -----------------------------------------------------------------------------------------------------

    def place(self, directory: Node, name: bytes) -> bytes:
        """The path for something new called ``name``; a whiteout gives way to it."""
        path = b"%s/%s" % (self.copy_up(directory), name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return path

    def make(
        self, directory: Node, name: bytes, create: Callable[[bytes], object], *, new_directory: bool = False
    ) -> tuple[Node, os.stat_result]:
        """Let ``create`` make what is called ``name``; nothing of that name is seen yet."""
        if new_directory:
            # Complete before it has its name: else what was deleted would shine through it for a moment.
            fresh = self._fresh()
            create(fresh)
            if self.covers(directory, name):
                marks.make_opaque(fresh, userxattr=self.userxattr)
            path = self.place(directory, name)
            os.rename(fresh, path)
        else:
            path = self.place(directory, name)
            create(path)
        info = os.lstat(path)
        node, _ = self._seen(directory, name, info, path, upper=True)
        if new_directory:
            node.below = []
        return node, info

    def link(self, node: Node, directory: Node, name: bytes) -> None:
        """Give a file one more name."""
        source = self.copy_up(node)
        path = self.place(directory, name)
        if node.orphan < 0:
            os.link(source, path, follow_symlinks=False)
        else:
            # Python follows links, as that of a descriptor is one, only together with a descriptor (linkat(2)).
            os.link(source, path, src_dir_fd=node.orphan, follow_symlinks=True)
            os.close(node.orphan)
            node.orphan = -1
        node.links.append((directory, name))
        directory.children[name] = node

    # --- taking away ------------------------------------------------------------------------------------------------

    def remove(self, directory: Node, name: bytes, node: Node) -> None:
        """Let ``name`` be gone; a directory has to be empty, else ENOTEMPTY."""
        if node.is_directory and self.names(node):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        parent = self.copy_up(directory)
        path = b"%s/%s" % (parent, name)
        covered = self.covers(directory, name)
        if node.upper:
            self._let_go(node, directory, name)
            if node.is_directory:
                self._rmdir(path)
            elif not covered:
                os.unlink(path)
        if covered:
            self._white_out(path)
        self._unname(directory, name, node)

    def _white_out(self, path: bytes) -> None:
        fresh = self._fresh()
        try:
            os.mknod(fresh, stat.S_IFCHR, 0)
        except PermissionError:
            if os.path.lexists(path):
                os.unlink(path)
            marks.make_whiteout(path, userxattr=self.userxattr)
        else:
            os.rename(fresh, path)

    def _rmdir(self, path: bytes) -> None:
        """Remove a directory of the upper in which there are whiteouts at most."""
        with os.scandir(path) as entries:
            for entry in entries:
                os.unlink(entry.path)
        os.rmdir(path)

    def _let_go(self, node: Node, directory: Node, name: bytes) -> None:
        """Before its last name goes: keep hold of what somebody may have open."""
        if len(node.links) == 1 and node.known > 0:
            path = b"%s/%s" % (self.upper_path(directory), name)
            node.orphan = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def _unname(self, directory: Node, name: bytes, node: Node) -> None:
        directory.children.pop(name, None)
        node.drop_link(directory, name)
        if node.is_gone:
            self.nodes.forget(node.number, 0)  # if nobody knows it: its real number may soon be another's

    # --- moving -----------------------------------------------------------------------------------------------------

    def rename(self, old: Node, name: bytes, new: Node, new_name: bytes, node: Node, target: Node | None) -> None:
        """Let ``node``, called ``name`` in ``old``, be called ``new_name`` in ``new``, in place of ``target``."""
        if node is target:
            return  # two names of one file: nothing happens (rename(2))
        if node.is_directory and (not node.upper or self.below(node)):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        if target is not None and target.is_directory and self.names(target):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        source = self.copy_up(node)
        if node.links[0] != (old, name):
            source = b"%s/%s" % (self.upper_path(old), name)
        path = b"%s/%s" % (self.copy_up(new), new_name)
        if node.is_directory and self.covers(new, new_name):
            marks.make_opaque(source, userxattr=self.userxattr)
        self._make_way(new, new_name, path, target, directory=node.is_directory)
        os.rename(source, path)
        if self.covers(old, name):
            self._white_out(source)
        if target is not None:
            self._unname(new, new_name, target)
        old.children.pop(name, None)
        node.drop_link(old, name)
        node.links.append((new, new_name))
        new.children[new_name] = node

    def _make_way(self, new: Node, name: bytes, path: bytes, target: Node | None, *, directory: bool) -> None:
        if target is not None and target.upper:
            self._let_go(target, new, name)
            if target.is_directory:
                self._rmdir(path)
        elif directory:
            self.place(new, name)
