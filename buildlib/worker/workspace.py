"""Where one request mounts what it needs, seen by nobody else and gone with it."""

from __future__ import annotations

import os

from buildlib.errors import from_os_error
from buildlib.linux import mount
from buildlib.oci.mount import Mount
from buildlib.oci.value import evolve
from buildlib.snapshot.activate import Active, Stacked, activate, merged, passing
from buildlib.snapshot.overlay import Overlay
from buildlib.snapshot.tree import remove_tree
from buildlib.worker.birth import in_user_namespace
from buildlib.worker.running import furniture
from buildlib.worker.tier import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def snapshotter(root: str) -> Overlay:
    """That of this tier for the store at ``root``, with the kind of marks that is allowed here."""
    userxattr = in_user_namespace() or not current().mounts
    if current().driver == "fuse":
        from buildlib.snapshot.fuse import Fuse

        return Fuse(root, userxattr=userxattr)
    if current().driver == "copy":
        from buildlib.snapshot.copy import Copy

        return Copy(root, userxattr=userxattr)
    return Overlay(root, userxattr=userxattr)


class Workspace:
    """A tmpfs of this request with folders to mount in; for operations that are listed as PRIVATE.

    ::

        with Workspace(root) as space:
            tree = space.container(key, parents)      # writable, until the end of the block
            other = space.view(parents)               # read-only

    On the disk it is the folder ``mnt`` of the store, which is always empty outside. Leaving the block unmounts all,
    so that an upper can be renamed as soon as the answer is there.

    Where nothing can be mounted it is a folder of its own in ``tmp/``, and trees are put together on the disk.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.snapshotter = snapshotter(root)
        self.mounting = current().mounts
        self.path = f"{root}/mnt"
        self._places = 0
        self.active: dict[str, Active] = {}
        """What is mounted, by its place."""

    def __enter__(self) -> Workspace:
        try:
            if not self.mounting:
                self.path = passing(f"{self.root}/tmp")  # noqa: S108 - it is the store's own
                return self
            os.makedirs(self.path, 0o700, exist_ok=True)
            memory = mount.new_mount("tmpfs", ("mode=700",), source="tmpfs")
            try:
                mount.move_mount(memory, self.path)
            finally:
                os.close(memory)
        except OSError as error:
            raise from_os_error(error, f"mounting a workspace at {self.path}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmount all, and wait until what was written has arrived in the uppers."""
        if self.mounting:
            mount.umount(self.path, mount.MNT_DETACH)
        try:
            for active in self.active.values():
                active.wait()
        except OSError as error:
            raise from_os_error(error, "gathering what was written") from error
        finally:
            if not self.mounting:
                remove_tree(self.path)

    @property
    def servers(self) -> tuple[int, ...]:
        """The processes that serve file systems here."""
        return tuple(pid for active in self.active.values() for pid in active.servers)

    @property
    def passing(self) -> tuple[str, ...]:
        """Folders on the disk that nobody needs when this is over."""
        return tuple(path for active in self.active.values() for path in active.passing)

    def place(self) -> str:
        """A new, empty folder."""
        self._places += 1
        path = f"{self.path}/{self._places}"
        os.mkdir(path)
        return path

    def show(self, mounts: Sequence[Mount]) -> str:
        """Perform ``mounts`` at a new place and return its path."""
        path = self.place()
        if not self.mounting:
            return self._put_together(mounts, path)
        self.show_at(path, mounts)
        return path

    def _put_together(self, mounts: Sequence[Mount], path: str) -> str:
        (one,) = mounts
        if one.type == "bind":
            return one.source
        active = self.active[path] = Active(path)
        try:
            return active.put_together(Stacked.of(one.options), path)
        except OSError as error:
            raise from_os_error(error, "putting layers together") from error

    def show_at(self, path: str, mounts: Sequence[Mount]) -> None:
        """Perform ``mounts`` at a place; what was mounted there before is gone first."""
        before = self.active.pop(path, None)
        if before is not None:
            before.end()
        self.active[path] = activate(mounts, path)

    def container(self, key: str, parents: Sequence[str], below: Sequence[str] = ()) -> str:
        """The tree of a working container, writable. If it is mounted for all to see, that mount (and no ``below``)."""
        path = self.show(self.snapshotter.mounts(key, parents, below))
        if not self.mounting:
            furniture.clear(path)  # that of a run which ended before it could do so
            self.forgive(furniture.touched(path))
        return path

    def forgive(self, paths: Iterable[str]) -> None:
        """We have touched these in a container's tree: see :meth:`~buildlib.snapshot.copy.tree.Tree.forgive`."""
        for active in self.active.values():
            for tree in active.trees:
                tree.forgive(paths)

    def view(self, parents: Sequence[str], below: Sequence[str] = ()) -> str:
        """The tree of a stack of layers, read-only."""
        return self.show(self.snapshotter.view(parents, below))

    def look(self, key: str, parents: Sequence[str]) -> str:
        """The tree of a working container, read-only; nothing of its own folders is touched."""
        live = merged(self.snapshotter.mounts(key, parents))
        if live is not None:
            return self.show((Mount("bind", live, "", ("bind", "ro")),))
        tree = self._kept_tree(key, parents)
        if tree is not None:
            return self.show((Mount("bind", tree, "", ("bind", "ro")),))
        return self.show(on_top(self.snapshotter.view(parents, [f"{self.root}/empty"]), self.snapshotter.upper(key)))

    def _kept_tree(self, key: str, parents: Sequence[str]) -> str | None:
        """Of the driver that copies: where the container's tree is, if it is as it should be."""
        (one,) = self.snapshotter.mounts(key, parents)
        stack = Stacked.of(one.options)
        if one.type != "copy" or stack.upper is None or not os.path.lexists(stack.upper):
            return None
        from buildlib.snapshot.copy.tree import Tree

        tree = Tree(stack.lowers, stack.upper, userxattr=self.snapshotter.userxattr)
        return tree.path if tree.is_ready else None


def on_top(mounts: Sequence[Mount], folder: str) -> tuple[Mount, ...]:
    """``mounts`` with ``folder`` as the topmost lower directory of the overlay. Pure."""
    changed = []
    for one in mounts:
        first = next((i for i, option in enumerate(one.options) if option.startswith("lowerdir+=")), None)
        if first is not None:
            options = (*one.options[:first], f"lowerdir+={folder}", *one.options[first:])
            one = evolve(one, options=options)
        changed.append(one)
    return tuple(changed)
