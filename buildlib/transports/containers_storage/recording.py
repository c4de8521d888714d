"""Unpacks a layer and records its tar-split in the same pass."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from attrs import frozen

from buildlib.layer.apply import Applied, LayerUnpacker, unpack
from buildlib.layer.feed import Feed
from buildlib.layer.reader import FILE, Entry, Reader
from buildlib.layer.whiteout import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildlib.content import Readable
    from buildlib.transports.containers_storage.tarsplit import Recorder

_PIECE = 1 << 18


@frozen
class Recorded:
    """What was unpacked, and what containers-storage wants to know besides."""

    applied: Applied
    has_root: bool
    """Whether the archive says what its root directory is like."""
    uids: tuple[int, ...]
    gids: tuple[int, ...]


def unpack_recording(stream: Readable, fs_dir: str, recorder: Recorder, *, userxattr: bool = False) -> Recorded:
    """Unpack the layer in ``stream`` into ``fs_dir``; see :func:`buildlib.layer.apply.apply` for form and errors."""
    made: list[_Unpacker] = []
    feed = _Feed(stream, recorder)
    reader = _Reader(feed, recorder)

    def make(root: int) -> LayerUnpacker:
        made.append(_Unpacker(feed, root, userxattr, recorder))
        made[0].reader = reader
        return made[0]

    with feed:
        applied = unpack(feed, fs_dir, make)
    recorder.finish()
    has_root = made[0].directories.get(b"") is not None
    return Recorded(applied, has_root, tuple(sorted(reader.uids)), tuple(sorted(reader.gids)))


class _Feed(Feed):
    """Tells the recorder of all that is taken: as raw bytes, unless the reader says that it is content."""

    def __init__(self, source: Readable, recorder: Recorder) -> None:
        super().__init__(source)
        self._recorder = recorder
        self.is_content = False

    def take(self, count: int) -> bytes:
        """See :meth:`Feed.take`."""
        parts: list[bytes] = []
        self.pump(count, lambda view: parts.append(bytes(view)))
        return b"".join(parts)

    def pump(self, count: int, use: Callable[[memoryview], object]) -> int:
        """See :meth:`Feed.pump`."""
        record = self._recorder.content if self.is_content else self._recorder.raw

        def both(data: memoryview) -> None:
            record(data)
            use(data)

        return super().pump(count, both)

    def drain(self) -> None:
        """See :meth:`Feed.drain`: what is behind the end of the archive belongs to it too."""
        while self.pump(_PIECE, lambda _: None):
            pass
        super().drain()


class _Reader(Reader):
    """Knows which bytes are content that is unpacked as a file and can be read back from there."""

    def __init__(self, feed: _Feed, recorder: Recorder) -> None:
        super().__init__(feed)
        self._recording = feed
        self._recorder = recorder
        self._untaken: Entry | None = None
        self.uids: set[int] = set()
        self.gids: set[int] = set()

    def next(self) -> Entry | None:
        """See :meth:`Reader.next`."""
        if self._untaken is not None:
            # Nobody took the content: a whiteout with something in it, or a file of AUFS's own.
            self._recorder.entry(self._untaken.name)
            self._untaken = None
        entry = super().next()
        if entry is None:
            return None
        if not os.path.basename(entry.name.rstrip(b"/")).startswith(PREFIX):
            self.uids.add(entry.uid)
            self.gids.add(entry.gid)
        if entry.kind == FILE and entry.size and entry.pieces is None:
            self._untaken = entry
        else:
            # Also sparse files: what is stored of them, map and pieces, is not what is read from the file.
            self._recorder.entry(entry.name)
        return entry

    def take(self, count: int, use: Callable[[memoryview], object]) -> None:
        """See :meth:`Reader.take`."""
        entry, self._untaken = self._untaken, None
        if entry is None:
            super().take(count, use)
            return
        self._recorder.begin(entry.name)
        self._recording.is_content = True
        try:
            super().take(count, use)
        finally:
            self._recording.is_content = False
        self._recorder.end()


class _Unpacker(LayerUnpacker):
    def __init__(self, feed: _Feed, root: int, userxattr: bool, recorder: Recorder) -> None:
        super().__init__(feed, root, userxattr)
        self._recorder = recorder

    def replace(self, fd: int, name: bytes, path: bytes) -> None:
        """See :meth:`Unpacker.replace`."""
        self._recorder.replaced(path)
        super().replace(fd, name, path)
