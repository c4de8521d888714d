"""Layers without any mount: a container is a real tree, copied once, and what changed in it is found by looking.

The upper stays what counts, in overlay form as everywhere, so that a commit is the same rename. The *tree* beside it is
the layers and the upper put together by :mod:`~buildlib.snapshot.copy.grow`; it can be made again at any time, and
is made once for many steps. What a step has changed in it, :mod:`~buildlib.snapshot.copy.harvest` brings into the
upper: it compares inode, size and times with the :mod:`~buildlib.snapshot.copy.index` of before.
"""

from __future__ import annotations

from buildlib.snapshot.overlay import Overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.oci import Mount

__all__ = ["Copy"]


class Copy(Overlay):
    """A :class:`~buildlib.snapshot.Snapshotter` for where nothing can be mounted.

    Its mounts are only descriptions of what to put together; see :mod:`buildlib.snapshot.copy.tree`.
    """

    name = "copy"
    kind = "copy"

    def view(self, parents: Sequence[str], below: Sequence[str] = ()) -> tuple[Mount, ...]:
        """See :meth:`Snapshotter.view`."""
        return self._overlay(parents, below, "ro", f"workdir={self.root}/tmp")  # noqa: S108 - the store's own
