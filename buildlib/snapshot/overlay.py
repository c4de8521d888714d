"""The kernel-overlay snapshotter: folders, renames and mount descriptions. It never mounts and never copies a file."""

from __future__ import annotations

import os
from contextlib import contextmanager

from buildlib.errors import NotFound, from_os_error
from buildlib.snapshot.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildlib.oci import Mount

OPTIONS = ("index=off", "metacopy=off", "redirect_dir=nofollow")
"""What makes an upper self-contained, so that it can become a layer, and lowers harmless.

metacopy or a redirect would leave pointers into the lower layers in the upper. ``nofollow`` rather than ``off``:
with ``off`` the kernel may still *follow* redirects that it finds in a layer (redirect_always_follow), and with
userxattr it is the only value allowed (Documentation/filesystems/overlayfs.rst, "redirect_dir").
"""

VOLATILE = "volatile"
"""Skips the syncfs() of the whole underlying file system at each umount (25 ms a step on a busy ext4).

It promises nothing after a crash of the machine, as does the store for layers. The kernel marks the work directory
and refuses to mount it again; :func:`renew` takes the mark away.
"""

MERGED = "merged"
"""Beside ``upper`` and ``work``: where a working container is mounted for all to see, while it is."""


class Overlay:
    """A :class:`~buildlib.snapshot.Snapshotter` on overlayfs, in the folders of the store at ``root``.

    With ``userxattr`` the marks are ``user.overlay.*`` instead of ``trusted.overlay.*``: for user namespaces.
    """

    name = "overlay"
    kind = "overlay"
    """The type of its mounts."""

    def __init__(self, root: str, *, userxattr: bool = False) -> None:
        self.root = root
        self.userxattr = userxattr

    def layer(self, name: str) -> str:
        """The folder that holds the layer's files."""
        return f"{self.root}/layers/{name}/fs"

    def upper(self, key: str) -> str:
        """The folder that receives what is written."""
        return f"{self.root}/containers/{key}/upper"

    def prepare(self, key: str, parents: Sequence[str]) -> None:
        """See :meth:`Snapshotter.prepare`."""
        folder = f"{self.root}/containers/{key}"
        with _storing(f"preparing {folder}"):
            # An overlay without upper needs two lowers and one with upper needs one: `empty` is always the last.
            os.makedirs(f"{self.root}/empty", 0o755, exist_ok=True)
            os.makedirs(f"{folder}/work", 0o700, exist_ok=True)
            if os.path.lexists(f"{folder}/upper"):
                return
            # Under another name until its attributes are right: `upper` is either complete or absent.
            fresh = f"{folder}/upper.new"
            remove_tree(fresh)
            os.mkdir(fresh)
            if parents:
                self._adopt_root(fresh, parents[-1])
            else:
                os.chmod(fresh, 0o755)  # noqa: S103 - "/" of a container; the store itself is 0700
            os.rename(fresh, f"{folder}/upper")

    def _adopt_root(self, fresh: str, parent: str) -> None:
        model = self.layer(parent)
        try:
            info = os.stat(model)
        except FileNotFoundError:
            raise NotFound(f"layer {parent}: {model} is gone", kind="layer", name=parent) from None
        os.chown(fresh, info.st_uid, info.st_gid)
        os.chmod(fresh, info.st_mode & 0o7777)
        for name in os.listxattr(model):
            if not name.startswith(("trusted.overlay.", "user.overlay.")):
                os.setxattr(fresh, name, os.getxattr(model, name))

    def mounts(self, key: str, parents: Sequence[str], below: Sequence[str] = ()) -> tuple[Mount, ...]:
        """See :meth:`Snapshotter.mounts`."""
        folder = f"{self.root}/containers/{key}"
        return self._overlay(parents, below, f"upperdir={folder}/upper", f"workdir={folder}/work", VOLATILE)

    def view(self, parents: Sequence[str], below: Sequence[str] = ()) -> tuple[Mount, ...]:
        """See :meth:`Snapshotter.view`."""
        if not parents and not below:
            # Nothing to stack: overlayfs wants two lower directories, so this is the empty one itself.
            from buildlib.oci import Mount

            return (Mount("bind", f"{self.root}/empty", "", ("bind", "ro")),)
        return self._overlay(parents, below, "ro")

    def _overlay(self, parents: Sequence[str], below: Sequence[str], *more: str) -> tuple[Mount, ...]:
        from buildlib.oci import Mount

        # The kernel refuses a directory that is there twice (ELOOP). Some images have a layer twice; the lower one of
        # two equal layers shows nothing that the upper one does not show already.
        lowers = dict.fromkeys([*map(self.layer, reversed(parents)), *below, f"{self.root}/empty"])
        marks = ("userxattr",) if self.userxattr else ()
        options = (*(f"lowerdir+={lower}" for lower in lowers), *more, *OPTIONS, *marks)
        return (Mount(self.kind, self.kind, "", options),)

    def commit(self, name: str, key: str, parents: Sequence[str]) -> None:
        """See :meth:`Snapshotter.commit`: a rename, whatever the size."""
        layer = f"{self.root}/layers/{name}"
        with _storing(f"committing {self.upper(key)} as layer {name}"):
            os.makedirs(layer, 0o700, exist_ok=True)
            os.rename(self.upper(key), f"{layer}/fs")
        self.prepare(key, (*parents, name))

    def remove(self, key: str) -> None:
        """See :meth:`Snapshotter.remove`."""
        self._remove(f"{self.root}/containers/{key}")

    def remove_layer(self, name: str) -> None:
        """See :meth:`Snapshotter.remove_layer`."""
        self._remove(f"{self.root}/layers/{name}")

    def _remove(self, folder: str) -> None:
        with _storing(f"removing {folder}"):
            remove_tree(folder)


def renew(workdir: str) -> None:
    """Take away the mark that a volatile mount left in ``workdir``; call it before mounting. No mark is fine."""
    mark = f"{workdir}/work/incompat"
    if os.path.lexists(mark):
        with _storing(f"removing {mark}"):
            remove_tree(mark)


@contextmanager
def _storing(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise from_os_error(error, doing) from error
