"""Performing the mounts that a snapshotter described. It knows the options, and nothing of layers and keys."""

from __future__ import annotations

import os

from buildlib.errors import from_os_error
from buildlib.linux import mount as kernel
from buildlib.linux.options import parse
from buildlib.linux.overlay import mount_overlay
from buildlib.linux.process import start_time
from buildlib.oci.value import NamedTuple
from buildlib.snapshot.overlay import MERGED, VOLATILE, renew
from buildlib.snapshot.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.oci import Mount
    from buildlib.snapshot.copy.tree import Tree


class Active:
    """What :func:`activate` has mounted. It is over when :meth:`end` returns, and not before: an upper is complete."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.mounted = 0
        self.servers: list[int] = []
        """Processes that serve a file system until it is unmounted."""
        self.trees: list[Tree] = []
        """What was put together on the disk, to be harvested."""
        self.passing: list[str] = []
        """Folders that nobody needs afterwards."""

    def end(self) -> None:
        """Unmount all of it."""
        for _ in range(self.mounted):
            kernel.umount(self.target, kernel.MNT_DETACH)
        self.mounted = 0
        self.wait()

    def wait(self) -> None:
        """Somebody else has unmounted it, or does so: wait until all that was written has arrived."""
        while self.servers:
            os.waitpid(self.servers.pop(), 0)
        while self.trees:
            self.trees.pop().harvest()
        while self.passing:
            remove_tree(self.passing.pop())

    def put_together(self, stack: Stacked, place: str) -> str:
        """The stack as a tree on the disk, without any mount: its path, which is ``place`` if it is only for reading.

        Raises ``OSError``.
        """
        from buildlib.snapshot.copy.tree import Tree, show

        if stack.upper is None:
            show(stack.lowers, place)
            self.passing.append(place)
            return place
        tree = Tree(stack.lowers, stack.upper, userxattr="userxattr" in stack.rest)
        tree.make_ready()
        self.trees.append(tree)
        return tree.path


def activate(mounts: Sequence[Mount], target: str, *, lasting: bool = False) -> Active:
    """Perform ``mounts`` in order at ``target`` (each at its own ``target`` below it), in this mount namespace.

    An upper may be mounted once only. So where the container is mounted already, at :data:`MERGED` beside its upper,
    that mount is shown at ``target`` too, and what was asked to be ``below`` the layers is not there. What is to be
    ``lasting`` stays when this process ends.

    Raises :class:`StoreError`; on the way a mount may be left behind, which goes with the mount namespace.
    """
    active = Active(target)
    for mount in mounts:
        place = os.path.join(target, mount.target.lstrip("/")) if mount.target else target
        try:
            _perform(mount, place, active, lasting=lasting)
        except OSError as error:
            raise from_os_error(error, f"mounting {mount.type} at {place}") from error
        active.mounted += not mount.target
    return active


def merged(mounts: Sequence[Mount]) -> str | None:
    """Where the container that ``mounts`` describe is mounted already in this mount namespace, or None."""
    for mount in mounts:
        for option in mount.options:
            if option.startswith("upperdir="):
                spot = f"{os.path.dirname(option.removeprefix('upperdir='))}/{MERGED}"
                # The directory exists while it is a mount point, so nearly always one look is enough.
                return spot if os.path.lexists(spot) and kernel.is_mount_point(spot) else None
    return None


def _perform(mount: Mount, place: str, active: Active, *, lasting: bool) -> None:
    options = parse(mount.options)
    live = merged((mount,))
    if live is not None:
        kernel.bind(live, place, attributes=options.attributes)
    elif options.bind or mount.type == "bind":
        kernel.bind(mount.source, place, recursive=options.recursive, attributes=options.attributes)
    elif mount.type == "overlay":
        stack = Stacked.of(options.rest)
        if stack.work is not None and VOLATILE in stack.rest:
            renew(stack.work)
        mount_overlay(place, stack.lowers, stack.upper, stack.work, stack.rest, attributes=options.attributes)
    elif mount.type == "fuse":
        _serve(place, Stacked.of(options.rest), active, options.attributes, lasting=lasting)
    elif mount.type == "copy":
        stack = Stacked.of(options.rest)
        own = passing(stack.work or "")
        kernel.bind(active.put_together(stack, own), place, attributes=options.attributes)
    else:
        fd = kernel.new_mount(mount.type, options.rest, attributes=options.attributes, source=mount.source)
        try:
            kernel.move_mount(fd, place)
        finally:
            os.close(fd)


def passing(folder: str) -> str:
    """A new folder whose name says that it is ours, so that it is swept when we are dead; see buildlib.content."""
    # In a pid namespace of our own getpid() is 1; /proc is that of the host.
    pid = int(os.readlink("/proc/self"))
    path = f"{folder}/{pid}.{start_time(pid)}.{int.from_bytes(os.urandom(6))}"
    os.mkdir(path, 0o700)
    return path


def _serve(place: str, stack: Stacked, active: Active, attributes: int, *, lasting: bool) -> None:
    from buildlib.snapshot.fuse.process import serve

    marks = "userxattr" in stack.rest
    server = serve(
        place, stack.lowers, stack.upper, stack.work, userxattr=marks, attributes=attributes, lasting=lasting
    )
    active.servers.append(server)


class Stacked(NamedTuple):
    """The options of an overlay, sorted."""

    lowers: tuple[str, ...]
    """Topmost first."""
    upper: str | None
    work: str | None
    rest: tuple[str, ...]

    @classmethod
    def of(cls, options: Sequence[str]) -> Stacked:
        """From the options of a :class:`Mount`, ``ro`` and the like taken out."""
        lowers, named, rest = [], {}, []
        for option in options:
            name, _, value = option.partition("=")
            if name == "lowerdir+":
                lowers.append(value)
            elif name in ("upperdir", "workdir"):
                named[name] = value
            else:
                rest.append(option)
        return cls(tuple(lowers), named.get("upperdir"), named.get("workdir"), tuple(rest))
