"""Writes a tree as a layer archive, deterministically, and measures it on the way. It changes nothing in the tree.

The archive: entries in the order of :func:`buildlib.layer.walk.walk`; numeric owners, no user names; modification
times in whole seconds, rounded down (what docker, containerd and buildah write, so rebuilding with them agrees); no
access or change times; sparse files as plain data; the second and further names of a file as hard links to the
first; sockets left out; two zero blocks at the end.

The root itself (``./``) is written only when its mode, owner or xattrs are not those of a plain 0755 root:root
directory. A layer without it leaves the root alone; so what is lost is only a root that is set *back* to that.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import namedtuple

from buildlib.errors import LayerError, from_os_error
from buildlib.layer import header, whiteout, xattrs
from buildlib.layer.blocks import SIZE, Block, BlockStream, Stage
from buildlib.layer.walk import ROOT, walk
from buildlib.linux import owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NamedTuple, Protocol

    class TarStats(NamedTuple):
        """What was written: ``size`` in bytes, ``entries``, and the paths of the sockets that were left out."""

        size: int
        entries: int
        skipped: tuple[str, ...] = ()

    class Writable(Protocol):
        """What has a ``write`` that takes all of the bytes; they change after it returns."""

        def write(self, data: memoryview, /) -> object:
            """Write all of ``data``."""
else:
    TarStats = namedtuple("TarStats", "size entries skipped", defaults=((),))


PATH_MAX = 4095
"""No system call takes a longer path, so no engine could unpack such an entry."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_KINDS = {
    stat.S_IFCHR: header.CHAR,
    stat.S_IFBLK: header.BLOCK_DEVICE,
    stat.S_IFIFO: header.FIFO,
}


def write_layer(
    fs_dir: str,
    out: Writable,
    *,
    timestamp: int | None = None,
    clamp: int | None = None,
    overlay: bool = True,
) -> TarStats:
    """Write the tree below ``fs_dir`` to ``out`` as a layer archive; the module says what it looks like.

    ``timestamp`` (seconds since 1970) replaces every modification time, ``clamp`` those that are later. With
    ``overlay`` the folder is in the kernel's overlay form and its whiteouts and opaque marks are translated (OCI
    image-layer spec); without, it is a plain tree. Raises :class:`LayerError` for what no layer can hold: names
    that begin with ``.wh.``, paths of more than 4,095 bytes, files that change meanwhile.
    """

    def write(block: Block) -> None:
        try:
            out.write(block.content)
        except OSError as error:
            raise from_os_error(error, "writing a layer") from error

    return write_stages(fs_dir, [Stage(write)], timestamp, clamp, overlay)


def write_stages(
    fs_dir: str, stages: list[Stage], timestamp: int | None, clamp: int | None, overlay: bool, capacity: int = SIZE
) -> TarStats:
    """:func:`write_layer` into stages of a pipeline, in blocks of ``capacity`` bytes, instead of a file object."""
    try:
        root = os.open(fs_dir, ROOT)
        try:
            with BlockStream(stages, capacity) as stream:
                writer = _Writer(stream, timestamp, clamp, overlay)
                writer.tree(root)
                stream.zeros(2 * header.BLOCK)
            return TarStats(stream.size, writer.entries, tuple(writer.skipped))
        finally:
            os.close(root)
    except OSError as error:
        raise from_os_error(error, f"reading {fs_dir}") from error


class _Writer:
    """The state of one archive: what was linked to already, what was counted."""

    def __init__(self, stream: BlockStream, timestamp: int | None, clamp: int | None, overlay: bool) -> None:
        self.stream = stream
        self.timestamp = timestamp
        self.clamp = clamp
        self.overlay = overlay
        self.entries = 0
        self.skipped: list[str] = []
        self.links: dict[tuple[int, int], bytes] = {}
        """The first name of each file that has several."""

    def tree(self, root: int) -> None:
        """Write everything."""
        self._directory(b"./", owners.told(os.fstat(root), root), root)
        for path, name, info, parent, own in walk(root, overlay=self.overlay):
            if name.startswith(".wh."):
                _fail(path, "is a name that means a deletion in a layer", hint="rename or remove it")
            if len(path) > PATH_MAX:
                _fail(path, f"has a path of {len(path)} bytes; {PATH_MAX} is the most that can be unpacked")
            kind = stat.S_IFMT(info.st_mode)
            if kind == stat.S_IFDIR:
                self._directory(path + b"/", info, own)
            elif self.overlay and whiteout.is_whiteout(info):
                folder, slash, last = path.rpartition(b"/")
                self._mark(folder + slash + whiteout.PREFIX + last)
            elif kind == stat.S_IFSOCK:
                self.skipped.append(os.fsdecode(path))  # it means nothing without its process
            elif info.st_nlink > 1 and (first := self._first(path, info)) is not None:
                self._entry(path, header.LINK, info, link=first)
            elif kind == stat.S_IFREG:
                self._file(path, name, info, parent)
            else:
                self._special(kind, path, name, info, parent)

    def _first(self, path: bytes, info: os.stat_result) -> bytes | None:
        """The name under which this file was written already, or None: now it is."""
        first = self.links.setdefault((info.st_dev, info.st_ino), path)
        return None if first is path else first

    def _file(self, path: bytes, name: str, info: os.stat_result, parent: int) -> None:
        size = info.st_size
        fd = os.open(name, _FILE, dir_fd=parent)
        try:
            present = xattrs.names(fd)
            found = self._xattrs(path, fd, present) if present else ()
            self._entry(path, header.FILE, info, size=size, xattrs=found)
            # Fewer blocks than bytes: there are holes (or the file system packs), whose zeros needn't be read.
            copied = self._sparse(fd, size) if info.st_blocks * 512 < size else self.stream.padded(fd, size)
        finally:
            os.close(fd)
        if copied != size:
            _fail(path, "shrank while it was read")

    def _sparse(self, fd: int, size: int) -> int:
        position = 0
        while position < size:
            try:
                start = min(os.lseek(fd, position, os.SEEK_DATA), size)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                start = size  # nothing but a hole from here on
            self.stream.zeros(start - position)
            if start < size:
                end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
                os.lseek(fd, start, os.SEEK_SET)
                got = self.stream.copy(fd, end - start)
                if got != end - start:
                    return start + got
                start = end
            position = start
        self.stream.zeros(-size % header.BLOCK)
        return size

    def _special(self, kind: int, path: bytes, name: str, info: os.stat_result, parent: int) -> None:
        """A symbolic link, a FIFO or a device."""
        itself = xattrs.beside(parent, name)
        found = self._xattrs(path, itself, xattrs.names(itself))
        if kind == stat.S_IFLNK:
            target = os.fsencode(os.readlink(name, dir_fd=parent))
            self._entry(path, header.SYMLINK, info, link=target, xattrs=found)
        else:
            device = (os.major(info.st_rdev), os.minor(info.st_rdev))
            self._entry(path, _KINDS[kind], info, device=device if kind != stat.S_IFIFO else None, xattrs=found)

    def _directory(self, path: bytes, info: os.stat_result, fd: int) -> None:
        present = xattrs.names(fd)
        found = self._xattrs(path, fd, present)
        plain = stat.S_IMODE(info.st_mode) == 0o755 and info.st_uid == info.st_gid == 0 and not found
        if path != b"./" or not plain:
            self._entry(path, header.DIRECTORY, info, xattrs=found)
        if present and self.overlay and whiteout.opaque_mark(fd) == b"y":
            self._mark(path.removeprefix(b"./") + whiteout.OPAQUE_NAME)

    def _xattrs(self, path: bytes, target: int | str, present: list[str]) -> list[tuple[str, bytes]]:
        if not present:
            return []
        if self.overlay and not xattrs.POINTERS.isdisjoint(present):
            _fail(path, "points into a lower layer (overlay metacopy or redirect), so it can't be written on its own")
        return xattrs.travelling(target, present)

    def _mark(self, path: bytes) -> None:
        """A whiteout: an empty file without any metadata, so that its bytes depend on its name only."""
        self.stream.header(header.encode(path, header.FILE, 0, 0, 0, 0, 0))
        self.entries += 1

    def _entry(
        self,
        path: bytes,
        kind: bytes,
        info: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] | None = None,
        xattrs: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        mtime = self.timestamp
        if mtime is None:
            mtime = int(info[stat.ST_MTIME])  # in whole seconds, rounded down
            if self.clamp is not None and mtime > self.clamp:
                mtime = self.clamp
        mode = info.st_mode & 0o7777
        try:
            data = header.encode(
                path, kind, mode, info.st_uid, info.st_gid, size, mtime, link=link, device=device, xattrs=xattrs
            )
        except ValueError as error:
            _fail(path, str(error))
        self.stream.header(data)
        self.entries += 1


def _fail(path: bytes, reason: str, hint: str | None = None) -> None:
    name = os.fsdecode(path)
    raise LayerError(f"{name!r} {reason}", hint=hint, entry=name, reason=reason)
