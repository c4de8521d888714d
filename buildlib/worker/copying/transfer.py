"""Writing files beneath a root: bytes, holes and hard links, then owner, mode, xattrs and times, in that order."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat

from buildlib.errors import CopyError, from_os_error
from buildlib.linux import owners
from buildlib.linux.beneath import open_in_root
from buildlib.worker.copying.digest import (
    BLOCK,
    TreeDigest,
    attributes_of,
    changed,
    combine,
    file_digest,
    identity,
    seal_attributes,
)
from buildlib.worker.copying.walk import DIRECTORY, ENTER, ENTRY, unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildlib.errors import BuildlibError
    from buildlib.worker.copying.effect import Effect
    from buildlib.worker.copying.place import Place
    from buildlib.worker.copying.walk import Event

ATTEMPTS = 3
"""How often a file is read anew that changes while it is read."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ACL = "system.posix_acl_access"


class Transfer:
    """One copy into one root. ``tree``, where given, receives the digest of what was written.

    The umask has to be 0. Raises :class:`CopyError`, and :class:`StoreFull` when the disk is.
    """

    def __init__(self, place: Place, effect: Effect, tree: TreeDigest | None, what: str = "") -> None:
        self.place = place
        self.effect = effect
        self.tree = tree
        self.what = what
        self.entries = 0
        self.bytes = 0
        self._links: dict[tuple[int, int], tuple[str, int]] = {}

    def contents(self, events: Iterable[Event], into: int, path: str, prefix: str = "") -> None:
        """Copy what a walk reports into the directory ``into``, which is ``path`` in the root."""
        targets = [(into, path, _inherits_group(into))]
        if self.tree is not None:
            self.tree.enter()
        try:
            for event, holder, name, inner, info in events:
                at, where, inherits = targets[-1]
                if event == ENTRY:
                    self._entry(holder, name, info, at, name, where, inherits, prefix + inner)
                elif event == ENTER:
                    if self.tree is not None:
                        self.tree.enter()
                    fd = self._directory(at, name, f"{where}/{name}")
                    targets.append((fd, f"{where}/{name}", _inherits_group(fd)))
                else:
                    targets.pop()
                    self._leave(holder, name, info, at, where, prefix + inner)
                    os.close(at)
        finally:
            for fd, _, _ in targets[1:]:
                os.close(fd)
        if self.tree is not None:
            self.tree.leave_contents()

    def file(self, holder: int, name: str, info: os.stat_result, at: int, where: str, called: str, shown: str) -> None:
        """Copy what is not a directory to ``called`` in the directory ``at``, which is ``where`` in the root."""
        self._entry(holder, name, info, at, called, where, _inherits_group(at), shown, tree_name=shown)

    def text(self, name: str, content: bytes, mode: int, at: int, where: str, called: str) -> None:
        """Write the file ``name``, which has no source but its bytes, to ``called`` in the directory ``at``."""
        place = f"{where}/{called}"
        bits = self.effect.mode(stat.S_IFREG | mode)
        with _writing(place):
            fd = self._create(at, called, bits, place)
            try:
                _write(fd, content)
                owners.give(fd, *(self.effect.owner or (0, 0)))
                os.fchmod(fd, bits)
            finally:
                os.close(fd)
        self.entries += 1
        self.bytes += len(content)
        if self.tree is not None:
            self.tree.text(name, mode, content)

    @property
    def chowned(self) -> bool:
        """Whether everything gets an owner that was asked for, rather than root for want of a better one."""
        return self.effect.chowned

    def unpacked(self, holder: int, name: str, shown: str, info: os.stat_result, entries: int, size: int) -> None:
        """Take note of an archive that was extracted instead of copied; for the digest it is a file like others."""
        self.entries += entries
        self.bytes += size
        if self.tree is not None:
            digest, after = file_digest(holder, name, info)
            self.tree.file(shown, shown, info, digest if identity(after) == identity(info) else "")

    # -- directories

    def _directory(self, at: int, name: str, place: str) -> int:
        """The directory ``name`` in ``at``, made if it is missing; a link to a directory is followed in the root."""
        with _writing(place):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=at)
            try:
                return os.open(name, DIRECTORY, dir_fd=at)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
        try:
            return open_in_root(self.place.fd, place, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise CopyError(
                f"{place} is not a directory in the container, but one is to be copied there",
                hint="remove it first, or copy elsewhere",
                path=place,
            ) from error

    def _leave(self, holder: int, name: str, info: os.stat_result, fd: int, where: str, shown: str) -> None:
        try:
            attributes = attributes_of(holder)
        except OSError as error:
            raise unreadable(error, self.what, shown) from error
        with _writing(where):
            self._finish(fd, info, attributes, owned=False, moded=False)
        self.entries += 1
        if self.tree is not None:
            self.tree.leave(name, shown, info, seal_attributes(attributes))

    # -- everything else

    def _entry(
        self,
        holder: int,
        name: str,
        info: os.stat_result,
        at: int,
        called: str,
        where: str,
        inherits: bool,
        shown: str,
        tree_name: str | None = None,
    ) -> None:
        place = f"{where}/{called}"
        self.entries += 1
        if stat.S_ISREG(info.st_mode):
            if info.st_nlink > 1 and self._linked(info, at, called, place):
                digest = ""
            else:
                digest = self._regular(holder, name, info, at, called, place, inherits, shown)
                if info.st_nlink > 1:
                    copy = os.stat(called, dir_fd=at, follow_symlinks=False)
                    self._links[info.st_dev, info.st_ino] = place, copy.st_ino
            if self.tree is not None:
                self.tree.file(tree_name or name, shown, info, digest)
            return
        target = ""
        if stat.S_ISLNK(info.st_mode):
            try:
                target = os.readlink(name, dir_fd=holder)
            except OSError as error:
                raise unreadable(error, self.what, shown) from error
        self._special(info, target, at, called, place)
        if self.tree is not None:
            self.tree.other(tree_name or name, shown, info, target)

    def _linked(self, info: os.stat_result, at: int, called: str, place: str) -> bool:
        """Make a hard link to the copy that this file already has, if it still has one."""
        first, inode = self._links.get((info.st_dev, info.st_ino), ("", 0))
        if not first or first == place:
            return False
        with _writing(place):
            fd = open_in_root(self.place.fd, first, os.O_PATH | os.O_NOFOLLOW)
            try:
                if os.fstat(fd).st_ino != inode:  # a later source has taken its name
                    return False
                self._clear(at, called, place)
                os.link(f"/proc/self/fd/{fd}", called, dst_dir_fd=at, follow_symlinks=True)
            finally:
                os.close(fd)
        return True

    def _regular(
        self,
        holder: int,
        name: str,
        info: os.stat_result,
        at: int,
        called: str,
        place: str,
        inherits: bool,
        shown: str,
    ) -> str:
        """Copy a file such that all of it is of one moment; its digest, "" if it is not the one the walk saw."""
        now = info
        for _ in range(ATTEMPTS):
            try:
                source = os.open(name, _READ, dir_fd=holder)
            except OSError as error:
                raise unreadable(error, self.what, shown) from error
            try:
                digest = self._bytes(source, now, at, called, place, inherits, shown)
                after = os.fstat(source)
            finally:
                os.close(source)
            # Size and times are those of before, so nobody wrote meanwhile.
            if identity(after) == identity(now):
                return digest if now is info else ""
            if not stat.S_ISREG(after.st_mode):
                break
            now = after
        raise changed(self.what, shown)

    def _bytes(
        self, source: int, info: os.stat_result, at: int, called: str, place: str, inherits: bool, shown: str
    ) -> str:
        """Create the file with all that belongs to it; the digest of its bytes and attributes, "" if nobody asked."""
        bits = self.effect.mode(info.st_mode)
        size = info.st_size
        content = ""
        try:
            attributes = attributes_of(source)
            small = size < BLOCK and info.st_blocks * 512 >= size
            data = os.read(source, size + 1) if small else b""
        except OSError as error:
            raise unreadable(error, self.what, shown) from error
        if len(data) > size:  # it grew, or lies about its size as files of /proc do
            raise changed(self.what, shown)
        try:
            fd = self._create(at, called, bits & 0o777, place)
            try:
                if small:
                    if os.write(fd, data) != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    if self.tree is not None:
                        content = hashlib.sha256(data).hexdigest()
                else:
                    content = _large(source, fd, info, self.tree is not None)
                self._finish(fd, info, attributes, owned=not inherits, moded=not inherits and bits <= 0o777)
            finally:
                os.close(fd)
        except OSError as error:
            # Half a file helps nobody, and on a full disk its room is needed.
            with contextlib.suppress(OSError):
                os.unlink(called, dir_fd=at)
            raise unwritable(error, place) from error
        self.bytes += size
        return combine(content, attributes) if content else ""

    def _create(self, at: int, called: str, mode: int, place: str) -> int:
        try:
            return os.open(called, _CREATE, mode, dir_fd=at)
        except FileExistsError:
            self._clear(at, called, place)
            return os.open(called, _CREATE, mode, dir_fd=at)

    def _clear(self, at: int, called: str, place: str) -> None:
        """Take away what stands in the way of a file; a directory stays, and that is an error."""
        try:
            os.unlink(called, dir_fd=at)
        except FileNotFoundError:
            pass
        except IsADirectoryError as error:
            raise CopyError(
                f"{place} is a directory in the container, but a file is to be copied there",
                hint="remove it first, or copy elsewhere",
                path=place,
            ) from error

    def _special(self, info: os.stat_result, target: str, at: int, called: str, place: str) -> None:
        """A symbolic link, device or FIFO."""
        with _writing(place):
            self._clear(at, called, place)
            if stat.S_ISLNK(info.st_mode):
                os.symlink(target, called, dir_fd=at)
                owners.give_link(called, at, *self.effect.ids(info), self.effect.times(info)[1])
            else:
                mode = stat.S_IFMT(info.st_mode) | self.effect.mode(info.st_mode)
                owners.make_special(called, at, mode, info.st_rdev, *self.effect.ids(info))
            os.utime(called, ns=self.effect.times(info), dir_fd=at, follow_symlinks=False)

    def _finish(
        self, fd: int, info: os.stat_result, attributes: list[tuple[str, bytes]], *, owned: bool, moded: bool
    ) -> None:
        """Owner, mode, attributes, times. ``owned``, ``moded``: a new file has 0:0 and its mode already."""
        ids = self.effect.ids(info)
        if not owned or ids != (0, 0):
            owners.give(fd, *ids)
            moded = moded and ids == (0, 0)
        if not moded:
            os.fchmod(fd, self.effect.mode(info.st_mode))
        for name, value in attributes:
            # After chown, which takes file capabilities away. An ACL would undo --chmod, for its mask is the mode.
            if name != _ACL or self.effect.chmod is None:
                os.setxattr(fd, name, value)
        os.utime(fd, ns=self.effect.times(info))


@contextlib.contextmanager
def _writing(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(error, place) from error


def unwritable(error: OSError, place: str) -> BuildlibError:
    """The error that says what the kernel refused while ``place`` was written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return from_os_error(error, f"copying to {place}")
    return CopyError(f"{place}: can't be written: {error.strerror}", path=place)


def _inherits_group(fd: int) -> bool:
    """Whether what is made in the directory may not be 0:0 with just the mode asked for: setgid, or a default ACL."""
    if os.fstat(fd).st_mode & stat.S_ISGID:
        return True
    try:
        return bool(os.getxattr(f"/proc/self/fd/{fd}", "system.posix_acl_default"))
    except OSError:
        return False


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _large(source: int, fd: int, info: os.stat_result, hashing: bool) -> str:
    """Copy a file that is large or has holes; holes stay holes."""
    content = hashlib.sha256()
    end = 0
    for start, stop in _extents(source, info):
        if hashing:
            _hash_zeros(content, start - end)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(fd, start, os.SEEK_SET)
        left = stop - start
        while left:
            if hashing:
                data = os.read(source, min(left, BLOCK))
                content.update(data)
                _write(fd, data)
                moved = len(data)
            else:
                moved = os.sendfile(fd, source, None, left)
            if not moved:  # it shrank: the caller sees that it changed
                return content.hexdigest()
            left -= moved
        end = stop
    if hashing:
        _hash_zeros(content, info.st_size - end)
    os.ftruncate(fd, info.st_size)
    return content.hexdigest() if hashing else ""


def _extents(source: int, info: os.stat_result) -> Iterable[tuple[int, int]]:
    """Where a file holds data: (start, end)."""
    size = info.st_size
    if info.st_blocks * 512 >= size:
        yield 0, size
        return
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return
            raise
        at = min(os.lseek(source, start, os.SEEK_HOLE), size)
        yield start, at


def _hash_zeros(content: hashlib._Hash, count: int) -> None:
    zeros = bytes(min(count, BLOCK))
    while count > 0:
        content.update(zeros[:count])
        count -= len(zeros[:count])
