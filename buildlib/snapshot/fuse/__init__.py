"""The overlay in user space: the same folders and marks as the kernel's, for where the kernel refuses to stack them.

:mod:`~buildlib.snapshot.fuse.stack` sees: every look-up, also one that finds nothing, and every listing passes one
method there. :mod:`~buildlib.snapshot.fuse.upper` writes, in the kernel's form, so that an upper becomes a layer by the
same rename. :mod:`~buildlib.snapshot.fuse.operations` answers the kernel with both, in a process of its own
(:mod:`~buildlib.snapshot.fuse.process`). Only :class:`Fuse`
knows of layers and keys.
"""

from __future__ import annotations

from buildlib.snapshot.overlay import Overlay

__all__ = ["Fuse"]


class Fuse(Overlay):
    """A :class:`~buildlib.snapshot.Snapshotter` on our own overlay; the folders are those of the kernel's."""

    name = "fuse"
    kind = "fuse"
