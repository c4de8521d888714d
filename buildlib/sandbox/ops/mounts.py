"""Ops that build the tree the command sees. Every target is looked up beneath the root when it is used."""

from __future__ import annotations

import os
import stat
import sys

from buildlib.linux import mount
from buildlib.linux.options import parse
from buildlib.oci.value import frozen
from buildlib.sandbox.target import guard_proc, mount_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.linux.options import Options

    Triples = tuple[tuple[int, int, int], ...]

KINDS = {
    "private": mount.MS_PRIVATE,
    "slave": mount.MS_SLAVE,
    "shared": mount.MS_SHARED,
    "unbindable": mount.MS_UNBINDABLE,
}


@frozen
class Propagation:
    """How mount events go between the host's tree and this namespace: "private" not at all, "slave" only inwards."""

    kind: str = "private"
    recursive: bool = True

    def describe(self) -> str:
        """One line."""
        return f"make / {'recursively ' if self.recursive else ''}{self.kind}"

    def execute(self) -> None:
        """mount(2) with MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE."""
        mount.set_propagation(KINDS[self.kind], recursive=self.recursive)


@frozen
class BindRoot:
    """Make the root file system a mount of its own, which pivot_root wants. It shares no events: nor would that do."""

    rootfs: str

    def describe(self) -> str:
        """One line."""
        return f"bind {self.rootfs} on itself"

    def execute(self) -> None:
        """Attach a clone of the tree on the tree, in a mount that is private as well."""
        fd = mount.open_tree(self.rootfs)
        try:
            mount.set_attributes("", dir_fd=fd, propagation=mount.MS_PRIVATE, recursive=True)
            mount.make_private(_mount_above(self.rootfs), recursive=False)
            mount.move_mount(fd, self.rootfs)
        finally:
            os.close(fd)


def _mount_above(path: str) -> str:
    path = os.path.realpath(path)
    while not mount.is_mount_point(path):
        path = os.path.dirname(path)
    return path


@frozen
class MountNew:
    """A new file system (proc, tmpfs, sysfs, devpts, …) at ``target``."""

    rootfs: str
    type: str
    source: str
    target: str
    options: tuple[str, ...] = ()
    make: bool = False

    def describe(self) -> str:
        """One line."""
        return f"mount {self.type} at {self.target}" + _words(self.options)

    def execute(self) -> None:
        """Make it, then attach it."""
        options = parse(self.options)
        attributes = (options.attributes & ~options.all_clear) | options.all_attributes
        try:
            fd = mount.new_mount(self.type, options.rest, attributes=attributes, source=self.source or self.type)
        except PermissionError:
            if self.type != "proc":
                raise
            # Within a container: part of its /proc is hidden, so no user namespace in it gets one that shows all
            # (mount_too_revealing() in fs/namespace.c). That of the container, with what is hidden, is what there is.
            fd = mount.open_tree("/proc")
        if options.propagation:
            mount.set_attributes("", dir_fd=fd, propagation=options.propagation)
        _attach(fd, self.rootfs, self.target, make=self.make, copy_up=options.copy_up)


@frozen
class MountBind:
    """What is at ``source`` on the host also at ``target``; with ids mapped, triples (inside, outside, count)."""

    rootfs: str
    source: str
    target: str
    options: tuple[str, ...] = ()
    make: bool = False
    uids: Triples = ()
    gids: Triples = ()

    def describe(self) -> str:
        """One line."""
        return f"bind {self.source} at {self.target}" + _words(self.options)

    def execute(self) -> None:
        """Clone the tree, set its attributes, then attach it."""
        options = parse(self.options)
        fd = mount.open_tree(self.source, recursive=options.recursive)
        if options.idmap:
            map_ids(fd, self.uids, self.gids, recursive=options.idmap == "ridmap")
        set_attributes(fd, options)
        _attach(fd, self.rootfs, self.target, make=self.make)


@frozen
class MountDetached:
    """A mount that is open as ``fd`` and nowhere yet: whoever opened it has looked up its source safely."""

    rootfs: str
    fd: int
    target: str
    options: tuple[str, ...] = ()
    make: bool = False

    def describe(self) -> str:
        """One line."""
        return f"attach mount {self.fd} at {self.target}" + _words(self.options)

    def execute(self) -> None:
        """Set its attributes, then attach it."""
        set_attributes(self.fd, parse(self.options))
        _attach(self.fd, self.rootfs, self.target, make=self.make)


def _words(options: tuple[str, ...]) -> str:
    return f" ({','.join(options)})" if options else ""


def map_ids(fd: int, uids: Triples, gids: Triples, *, recursive: bool) -> None:
    """Show the owners on a detached mount as other ids. Raises ``OSError``: EINVAL for a file system without that."""
    from buildlib.linux.idmap import user_namespace

    space = user_namespace(uids, gids)
    try:
        mount.set_attributes("", dir_fd=fd, add=mount.ATTR_IDMAP, user_namespace=space, recursive=recursive)
    finally:
        os.close(space)


def set_attributes(fd: int, options: Options) -> None:
    """Give a detached clone the attributes of its options. It shares mount events only if they say so."""
    own = 0 if options.all_propagation else options.propagation
    everywhere = 0 if own else options.propagation or mount.MS_PRIVATE
    add, clear = options.all_attributes, options.all_clear
    mount.set_attributes("", dir_fd=fd, add=add, clear=clear, propagation=everywhere, recursive=True)
    if options.attributes or options.clear or own:
        # "ro" without "r" is about the mount itself; both together add up (config.md, "Linux mount options").
        add, clear = options.attributes & ~clear, options.clear & ~add
        mount.set_attributes("", dir_fd=fd, add=add, clear=clear, propagation=own)


def _attach(fd: int, rootfs: str, target: str, *, make: bool, copy_up: bool = False) -> None:
    try:
        guard_proc(fd, target)
        directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        with mount_point(rootfs, target, directory=directory, make=make) as spot:
            if copy_up:
                from buildlib.sandbox.copy_up import copy_up as fill

                fill(spot, fd)
            mount.move_mount(fd, "", dir_fd=spot)
    finally:
        os.close(fd)


@frozen
class PivotRoot:
    """Make ``rootfs`` the root and let go of the host's tree."""

    rootfs: str

    def describe(self) -> str:
        """One line."""
        return f"pivot to {self.rootfs}"

    def execute(self) -> None:
        """pivot_root(2), "." over ".": the old root then lies on the new one and is unmounted from there."""
        forget_modules()
        os.chdir(self.rootfs)
        mount.pivot_root(".", ".")
        mount.umount(".", mount.MNT_DETACH)
        os.chdir("/")


def forget_modules() -> None:
    """Import nothing from here on: it would be a file of the image, run as root and outside of all limits."""
    sys.meta_path.clear()
