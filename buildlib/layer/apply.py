"""Unpacks a layer archive into a folder in the kernel's overlay form, on its own: without the layers below it.

``.wh.NAME`` becomes a character device 0:0 and ``.wh..wh..opq`` the opaque xattr of its directory. As the spec has
it, whiteouts only mean the layers below: an entry of the same name in the same archive stays, before or behind, and if
it is a directory it becomes opaque. AUFS's own files (``.wh..wh.aufs`` and so on) are ignored.

Where docker, containerd, buildah and umoci agree, so does this: a leading "/" means the root, symbolic links on the way
are followed within the root. Where hostile input is concerned it is strict: "..", hard links out of the tree or to
whiteouts, character devices 0:0, impossible numbers and damaged headers are errors that name the entry. overlay's
xattrs are dropped, for images that leaked them exist. There is no limit on the count or size of entries.
"""

from __future__ import annotations

import os
import stat

from attrs import field, frozen

from buildlib.errors import from_os_error
from buildlib.layer import whiteout
from buildlib.layer.feed import Feed
from buildlib.layer.folders import Refused
from buildlib.layer.unpack import Unpacker, born
from buildlib.layer.walk import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildlib.layer.reader import Entry
    from buildlib.oci import Digest


@frozen
class Applied:
    """What was unpacked: digests and sizes of the archive and of the blob that it came in.

    If ``missing_parents`` or ``pending_links`` is not empty, the folder becomes a layer only by
    :func:`~buildlib.layer.complete.complete`, and serves above those parents only. ``missing_parents`` are paths of
    directories without an entry of their own, parents first; ``"."`` says that the root itself is opaque.
    ``pending_links`` are pairs (path, target) of hard links whose target is not in this archive.
    """

    diff_id: Digest
    tar_size: int
    blob_digest: Digest | None
    blob_size: int
    missing_parents: list[str] = field(factory=list, hash=False)
    pending_links: list[list[str]] = field(factory=list, hash=False)
    unsupported: tuple[str, ...] = ()
    """Names of xattrs that the store's file system can't keep."""
    entries: int = 0


def apply(stream_fd: int, fs_dir: str, *, userxattr: bool = False, blob: bool = True) -> Applied:
    """Unpack the layer archive in ``stream_fd`` (plain, gzip, zstd, bzip2, xz) into ``fs_dir``, made if it is missing.

    ``fs_dir`` must be empty, and the umask of this process must stay as it is meanwhile. The stream is read to its very
    end. With ``userxattr`` opaque directories are marked ``user.overlay.opaque``; without ``blob`` the digest of what
    comes is not computed. What was unpacked before an error stays there for the caller to remove. Raises
    :class:`LayerError` for a corrupt or hostile archive, :class:`StoreFull`, :class:`StoreError`.
    """
    with Feed(stream_fd, blob=blob) as feed:
        return unpack(feed, fs_dir, lambda root: LayerUnpacker(feed, root, userxattr))


def unpack(feed: Feed, fs_dir: str, make: Callable[[int], LayerUnpacker]) -> Applied:
    """:func:`apply` with a feed that runs, and an unpacker of the caller's own: ``make`` gets the open ``fs_dir``."""
    try:
        os.makedirs(fs_dir, exist_ok=True)
        root = os.open(fs_dir, ROOT)
    except OSError as error:
        raise from_os_error(error, f"unpacking into {fs_dir}") from error
    try:
        os.fchown(root, 0, 0)
        os.fchmod(root, 0o755)
        unpacker = make(root)
        unpacker.born = born(root)
        unpacker.run()
        feed.drain()
    finally:
        os.close(root)
    missing = [path for path, entry in unpacker.directories.items() if entry is None]
    return Applied(
        feed.tar_digest,
        feed.tar_size,
        feed.blob_digest,
        feed.blob_size,
        ["."] * unpacker.opaque_root + [os.fsdecode(path) for path in missing],
        [[os.fsdecode(path), os.fsdecode(target)] for path, target in unpacker.pending.items()],
        tuple(sorted(unpacker.unsupported)),
        unpacker.entries,
    )


class LayerUnpacker(Unpacker):
    """Unpacks with the meaning that names have in a layer."""

    def __init__(self, feed: Feed, root: int, userxattr: bool) -> None:
        super().__init__(feed, root)
        self.userxattr = userxattr
        self.opaque_root = False

    def member(self, entry: Entry, parent: bytes, name: bytes) -> None:
        """See :meth:`Unpacker.member`."""
        if whiteout.PREFIX not in entry.name:
            super().member(entry, parent, name)
        elif _is_meta(parent if name == whiteout.OPAQUE_NAME else entry.name):
            return
        elif name == whiteout.OPAQUE_NAME:
            folder = self.folders.get(parent)
            whiteout.make_opaque(folder.fd, userxattr=self.userxattr)
            self.opaque_root |= not folder.prefix
        elif name.startswith(whiteout.PREFIX):
            self._whiteout(self.folders.get(parent).fd, name.removeprefix(whiteout.PREFIX))
        else:
            super().member(entry, parent, name)

    def _whiteout(self, fd: int, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise Refused("it is a whiteout of nothing")
        try:
            whiteout.make_whiteout(name, fd)
        except FileExistsError:
            # An entry of this archive, which stays; but what a directory holds below this layer is gone.
            if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                self._make_opaque(fd, name)

    def remake(self, fd: int, name: bytes, path: bytes) -> None:
        """See :meth:`Unpacker.remake`: a directory in place of a whiteout hides what the whiteout hid."""
        was_whiteout = whiteout.is_whiteout(os.lstat(name, dir_fd=fd))
        super().remake(fd, name, path)
        if was_whiteout:
            self._make_opaque(fd, name)

    def _make_opaque(self, fd: int, name: bytes) -> None:
        own = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            whiteout.make_opaque(own, userxattr=self.userxattr)
        finally:
            os.close(own)


def _is_meta(name: bytes) -> bool:
    """Whether a name is one of AUFS's own, or lies in a directory that is."""
    return any(part.startswith(whiteout.META_PREFIX) for part in name.split(b"/"))
