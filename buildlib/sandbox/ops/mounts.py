"""Ops that build the tree the command sees. Every target is looked up beneath the root when it is used."""

from __future__ import annotations

import errno
import os
import stat
import sys

from buildlib.linux import mount
from buildlib.linux.beneath import IN_ROOT, NO_SYMLINKS, open_in_root
from buildlib.linux.options import parse
from buildlib.oci.value import frozen
from buildlib.sandbox.target import mount_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@frozen
class Propagation:
    """Keep mount events of the host's tree out ("private"), or let only those of the host in ("slave")."""

    kind: str = "private"

    def describe(self) -> str:
        """One line."""
        return f"make / recursively {self.kind}"

    def execute(self) -> None:
        """mount(2) with MS_PRIVATE or MS_SLAVE."""
        mount.set_propagation(mount.MS_SLAVE if self.kind == "slave" else mount.MS_PRIVATE)


@frozen
class BindRoot:
    """Make the root file system a mount of its own, which pivot_root wants."""

    rootfs: str

    def describe(self) -> str:
        """One line."""
        return f"bind {self.rootfs} on itself"

    def execute(self) -> None:
        """Attach a clone of the tree on the tree."""
        mount.bind(self.rootfs, self.rootfs)


@frozen
class MountNew:
    """A new file system (proc, tmpfs, sysfs, devpts, …) at ``target``."""

    rootfs: str
    type: str
    source: str
    target: str
    options: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line."""
        return f"mount {self.type} at {self.target}" + (f" ({','.join(self.options)})" if self.options else "")

    def execute(self) -> None:
        """Make it, then attach it."""
        options = parse(self.options)
        fd = mount.new_mount(self.type, options.rest, attributes=options.attributes, source=self.source)
        _attach(fd, self.rootfs, self.target)


@frozen
class MountBind:
    """What is at ``source`` on the host also at ``target``."""

    rootfs: str
    source: str
    target: str
    options: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line."""
        return f"bind {self.source} at {self.target}" + (f" ({','.join(self.options)})" if self.options else "")

    def execute(self) -> None:
        """Clone the tree, set its attributes, then attach it."""
        fd = mount.open_tree(self.source, recursive=parse(self.options).recursive)
        _set_and_attach(fd, self.rootfs, self.target, self.options)


@frozen
class MountDetached:
    """A mount that is open as ``fd`` and nowhere yet: whoever opened it has looked up its source safely."""

    rootfs: str
    fd: int
    target: str
    options: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line."""
        return f"attach mount {self.fd} at {self.target}" + (f" ({','.join(self.options)})" if self.options else "")

    def execute(self) -> None:
        """Set its attributes, then attach it."""
        _set_and_attach(self.fd, self.rootfs, self.target, self.options)


def _set_and_attach(fd: int, rootfs: str, target: str, words: tuple[str, ...]) -> None:
    options = parse(words)
    mount.set_attributes(
        "",
        dir_fd=fd,
        add=options.attributes,
        clear=options.clear,
        propagation=options.propagation or mount.MS_PRIVATE,
        recursive=True,
    )
    _attach(fd, rootfs, target)


def _attach(fd: int, rootfs: str, target: str) -> None:
    try:
        with mount_point(rootfs, target, directory=stat.S_ISDIR(os.fstat(fd).st_mode)) as spot:
            mount.move_mount(fd, "", dir_fd=spot)
    finally:
        os.close(fd)


@frozen
class Mask:
    """Let ``paths`` of the kernel's trees look empty, those that exist."""

    rootfs: str
    paths: tuple[str, ...]

    def describe(self) -> str:
        """One line."""
        return f"mask {' '.join(self.paths)}"

    def execute(self) -> None:
        """A read-only tmpfs over a directory, /dev/null over a file."""
        for spot in _existing(self.rootfs, self.paths):
            if stat.S_ISDIR(os.fstat(spot).st_mode):
                options = ("size=0k", "nr_inodes=1", "mode=555")
                fd = mount.new_mount("tmpfs", options, attributes=mount.ATTR_RDONLY, source="tmpfs")
            else:
                # The host's: nobody in the image had a hand on it (CVE-2025-31133).
                fd = mount.open_tree("/dev/null", recursive=False)
            try:
                mount.move_mount(fd, "", dir_fd=spot)
            finally:
                os.close(fd)


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
class ReadOnlyRoot:
    """Forbid writing to the root file system itself; what is mounted in it keeps its own rights."""

    rootfs: str

    def describe(self) -> str:
        """One line."""
        return "make / read-only"

    def execute(self) -> None:
        """mount_setattr(2)."""
        mount.set_attributes(self.rootfs, add=mount.ATTR_RDONLY)


@frozen
class PivotRoot:
    """Make ``rootfs`` the root and let go of the host's tree."""

    rootfs: str

    def describe(self) -> str:
        """One line."""
        return f"pivot to {self.rootfs}"

    def execute(self) -> None:
        """pivot_root(2), "." over ".": the old root then lies on the new one and is unmounted from there."""
        # From here on an import would run a file of the image, as root and outside of all limits.
        sys.meta_path.clear()
        os.chdir(self.rootfs)
        mount.pivot_root(".", ".")
        mount.umount(".", mount.MNT_DETACH)
        os.chdir("/")


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
