"""The op that furnishes a new /dev: nodes and links."""

from __future__ import annotations

import errno
import os
import stat

from buildlib.linux import mount
from buildlib.oci.value import frozen
from buildlib.sandbox.target import mount_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.oci.runtime import Device

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


@frozen
class Devices:
    """Device nodes and symbolic links, each by its path below /dev."""

    rootfs: str
    nodes: tuple[Device, ...]
    links: tuple[tuple[str, str], ...] = ()

    def describe(self) -> str:
        """One line."""
        nodes = " ".join(f"{node.path}({node.type}{node.major}:{node.minor})" for node in self.nodes)
        links = " ".join(f"{path}->{points_to}" for path, points_to in self.links)
        return f"make {nodes} {links}"

    def execute(self) -> None:
        """mknod(2) and symlink(2), all in one open directory."""
        with mount_point(self.rootfs, "/dev", directory=True) as dev:
            for node in self.nodes:
                if os.path.dirname(node.path) == "/dev":
                    _make(dev, node)
                else:
                    with mount_point(self.rootfs, os.path.dirname(node.path), directory=True) as parent:
                        _make(parent, node)
            for path, points_to in self.links:
                _link(dev, path, points_to)


def _make(parent: int, node: Device) -> None:
    name = os.path.basename(node.path)
    mode = 0o666 if node.file_mode is None else node.file_mode & 0o7777
    before = os.umask(0)  # chmod(2) would follow a link that somebody puts in its place
    try:
        os.mknod(name, _KINDS[node.type] | mode, os.makedev(node.major, node.minor), dir_fd=parent)
    except PermissionError:  # in a user namespace nobody makes device nodes; that of the machine is shown instead
        _show(parent, name, node)
        return
    except FileExistsError:
        if not _is(os.stat(name, dir_fd=parent, follow_symlinks=False), node):
            raise
    finally:
        os.umask(before)
    if node.uid or node.gid:
        os.chown(name, node.uid or 0, node.gid or 0, dir_fd=parent, follow_symlinks=False)


def _is(info: os.stat_result, node: Device) -> bool:
    kind, number = _KINDS[node.type], os.makedev(node.major, node.minor)
    return stat.S_IFMT(info.st_mode) == kind and (kind == stat.S_IFIFO or info.st_rdev == number)


def _link(dev: int, path: str, points_to: str) -> None:
    name = os.path.basename(path)
    try:
        os.symlink(points_to, name, dir_fd=dev)
    except FileExistsError:
        if not stat.S_ISLNK(os.stat(name, dir_fd=dev, follow_symlinks=False).st_mode):
            raise
        if os.readlink(name, dir_fd=dev) != points_to:
            raise


def _show(parent: int, name: str, node: Device) -> None:
    """Bind the machine's own node of this path, if it is the same device; it keeps its owner and mode."""
    fd = os.open(node.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not _is(os.fstat(fd), node):
            raise OSError(errno.EPERM, "without root only a device node of this machine can be had", node.path)
        os.mknod(name, stat.S_IFREG | 0o600, dir_fd=parent)
        shown = mount.open_tree("", dir_fd=fd, recursive=False)
    finally:
        os.close(fd)
    try:
        mount.move_mount(shown, name, dir_fd=parent)
    finally:
        os.close(shown)
