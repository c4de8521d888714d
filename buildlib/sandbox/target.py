"""Where something is mounted in a root file system: looked up beneath its root at the moment of use."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from buildlib.linux import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KERNEL_TREES = ("/proc", "/sys", "/dev")
"""Must be directories of the image and no links: else ``/proc -> /etc`` would let an image choose what is hidden by
the kernel's files, and what of them is not (CVE-2019-16884, CVE-2023-27561)."""


@contextlib.contextmanager
def mount_point(rootfs: str, path: str, *, directory: bool) -> Iterator[int]:
    """An O_PATH descriptor of ``path`` in ``rootfs``, to mount on.

    One that is missing is made if it lies in something mounted for this run, as ``/dev/pts`` does, and never in the
    root file system itself: whatever is made there would end in a layer. Raises ``OSError``.
    """
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = _open(root, path, directory)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        os.close(root)


def _open(root: int, path: str, directory: bool) -> int:
    resolve = beneath.IN_ROOT | (beneath.NO_SYMLINKS if path.rstrip("/") in KERNEL_TREES else 0)
    try:
        return _checked(beneath.open_in_root(root, path, os.O_PATH, resolve=resolve), path, directory)
    except FileNotFoundError:
        _make(root, path, directory)
    except OSError as error:
        if error.errno == errno.ELOOP and resolve & beneath.NO_SYMLINKS:
            raise OSError(errno.ELOOP, "the image has a symbolic link there", path) from None
        raise
    return _checked(beneath.open_in_root(root, path, os.O_PATH), path, directory)


def _checked(fd: int, path: str, directory: bool) -> int:
    is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    if is_directory == directory:
        return fd
    os.close(fd)
    if directory:
        raise NotADirectoryError(errno.ENOTDIR, "there is no directory to mount a directory on", path)
    raise IsADirectoryError(errno.EISDIR, "there is a directory, so no file can be mounted on it", path)


def _make(root: int, path: str, directory: bool) -> None:
    spots = beneath.missing(root, path)
    parent = beneath.open_in_root(root, os.path.dirname(spots[0]), os.O_PATH | os.O_DIRECTORY)
    try:
        if os.fstat(parent).st_dev == os.fstat(root).st_dev:
            raise FileNotFoundError(errno.ENOENT, "there is no such mount point in the image", path)
    finally:
        os.close(parent)
    make_spots(root, spots, directory=directory)


def make_spots(root: int, spots: list[str], *, directory: bool) -> None:
    """Make the paths that :func:`~buildlib.linux.beneath.missing` named: directories, the last maybe an empty file."""
    for spot in spots:
        parent = beneath.open_in_root(root, os.path.dirname(spot), os.O_PATH | os.O_DIRECTORY)
        name = os.path.basename(spot)
        try:
            if directory or spot != spots[-1]:
                os.mkdir(name, 0o755, dir_fd=parent)
            else:
                os.mknod(name, 0o644, dir_fd=parent)
        finally:
            os.close(parent)
