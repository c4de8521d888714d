"""Ops that hide or protect what lies in the container's tree: nothing is written, and some of it is not seen."""

from __future__ import annotations

import errno
import os
import stat

from buildlib.linux import mount
from buildlib.linux.beneath import IN_ROOT, NO_SYMLINKS, open_in_root
from buildlib.oci.value import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@frozen
class Mask:
    """Let ``paths`` of the kernel's trees look empty, those that exist."""

    rootfs: str
    paths: tuple[str, ...]

    def describe(self) -> str:
        """One line."""
        return f"mask {' '.join(self.paths)}"

    def execute(self) -> None:
        """A read-only tmpfs over directories, the same over all, /dev/null over files."""
        covers: dict[bool, int] = {}
        try:
            for spot in _existing(self.rootfs, self.paths):
                directory = stat.S_ISDIR(os.fstat(spot).st_mode)
                if directory not in covers:
                    covers[directory] = _nothing() if directory else _null()
                fd = mount.open_tree("", dir_fd=covers[directory], recursive=False)
                try:
                    mount.move_mount(fd, "", dir_fd=spot)
                finally:
                    os.close(fd)
        finally:
            for fd in covers.values():
                os.close(fd)


def _nothing() -> int:
    """An empty directory that stays empty, as a detached mount."""
    options = ("size=0k", "nr_inodes=1", "mode=555")
    return mount.new_mount("tmpfs", options, attributes=mount.ATTR_RDONLY, source="tmpfs")


def _null() -> int:
    """The host's /dev/null, on which nobody in the image had a hand, as a detached mount (CVE-2025-31133)."""
    fd = mount.open_tree("/dev/null", recursive=False)
    info = os.fstat(fd)
    if not stat.S_ISCHR(info.st_mode) or info.st_rdev != os.makedev(1, 3):
        os.close(fd)
        raise OSError(errno.EINVAL, "the machine's /dev/null is something else", "/dev/null")
    return fd


@frozen
class ReadOnly:
    """Forbid writing at and below ``paths``, those that exist."""

    rootfs: str
    paths: tuple[str, ...]

    def describe(self) -> str:
        """One line."""
        return f"make read-only {' '.join(self.paths)}"

    def execute(self) -> None:
        """Bind each on itself, read-only."""
        for spot in _existing(self.rootfs, self.paths):
            fd = mount.open_tree("", dir_fd=spot)
            try:
                mount.set_attributes("", dir_fd=fd, add=mount.ATTR_RDONLY, recursive=True)
                mount.move_mount(fd, "", dir_fd=spot)
            finally:
                os.close(fd)


@frozen
class Seal:
    """Forbid writing to what is mounted at ``targets``, now that all is in it."""

    rootfs: str
    targets: tuple[str, ...]

    def describe(self) -> str:
        """One line."""
        return f"seal {' '.join(self.targets)}"

    def execute(self) -> None:
        """mount_setattr(2) on each mount itself."""
        root = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for target in self.targets:
                spot = open_in_root(root, target, os.O_PATH)
                try:
                    mount.set_attributes("", dir_fd=spot, add=mount.ATTR_RDONLY)
                finally:
                    os.close(spot)
        finally:
            os.close(root)


@frozen
class ReadOnlyRoot:
    """Forbid writing to the root file system itself; what is mounted in it keeps its own rights."""

    rootfs: str

    def describe(self) -> str:
        """One line."""
        return "make / read-only"

    def execute(self) -> None:
        """mount_setattr(2)."""
        mount.set_attributes(self.rootfs, add=mount.ATTR_RDONLY)


def _existing(rootfs: str, paths: tuple[str, ...]) -> Iterator[int]:
    """An O_PATH descriptor of each path that there is, looked up through no link; it is closed by the next one."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in paths:
            try:
                fd = open_in_root(root, path, os.O_PATH, resolve=IN_ROOT | NO_SYMLINKS)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    raise
                continue
            try:
                yield fd
            finally:
                os.close(fd)
    finally:
        os.close(root)
