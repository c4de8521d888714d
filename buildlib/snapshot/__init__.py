"""Stacks of layer folders with a writable one on top, described as mounts; nothing here mounts by itself.

The words. A *layer* is a folder ``layers/<layer id>/fs`` in kernel-overlay form: a whiteout is a character device
0:0, an opaque directory carries the ``overlay.opaque`` xattr. It never changes and knows nothing of what is below
it. *Parents* are the layers under something, **base first**. An *active* snapshot has a *key* (the id of a working
container): ``containers/<key>/upper`` holds what was written, ``containers/<key>/work`` belongs to the kernel.

The life of an active snapshot: ``prepare(key, parents)`` makes it; ``mounts(key, parents)`` says how to see and
write it; ``commit(name, key, parents)`` turns what was written into the layer ``name`` and leaves a fresh, empty
upper in place, whose parents are now ``(*parents, name)``; ``remove(key)`` ends it. ``view(parents)`` shows a stack
that can't be written.

``mounts`` and ``view`` are pure functions that return data; ``snapshot.activate`` performs it. The database knows
which layers are whose parents, so a snapshotter has no memory: parents are arguments.

Within an overlay :class:`~buildlib.oci.Mount` each lower directory is an option of its own, ``lowerdir+=<path>``,
**topmost first** (as ``fsconfig(2)`` takes them since Linux 6.5); ``upperdir=`` and ``workdir=`` follow. Paths are
absolute and unescaped. ``below`` adds lower directories at the very bottom of the stack, topmost first: what the
layers hold wins over them, and nothing of them ever reaches the upper.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from buildlib.oci import Mount
else:
    Protocol = object

__all__ = ["Snapshotter"]


class Snapshotter(Protocol):
    """One way to stack layers. Raises :class:`StoreFull`, :class:`StoreError`; :class:`NotFound`: a layer is gone."""

    name: str
    """What ``buildlib info`` prints as the driver."""

    def prepare(self, key: str, parents: Sequence[str]) -> None:
        """Make ``containers/<key>``; its root has mode, owner and xattrs of the topmost parent's root.

        Does nothing if it is there already. A crash in the middle leaves something that ``prepare`` completes.
        """

    def mounts(self, key: str, parents: Sequence[str], below: Sequence[str] = ()) -> tuple[Mount, ...]:
        """The mounts that show the active snapshot, writable; pure."""

    def view(self, parents: Sequence[str], below: Sequence[str] = ()) -> tuple[Mount, ...]:
        """The mounts that show the stack of ``parents``, read-only; pure."""

    def commit(self, name: str, key: str, parents: Sequence[str]) -> None:
        """Turn what was written under ``key`` into the layer ``name``, copying nothing; a fresh upper takes its place.

        The snapshot must not be mounted. After a crash in the middle either ``layers/<name>/fs`` exists, complete,
        or the upper is as it was; :meth:`prepare` with ``(*parents, name)`` then makes the missing upper.
        """

    def remove(self, key: str) -> None:
        """Delete the active snapshot; one that does not exist is fine."""

    def remove_layer(self, name: str) -> None:
        """Delete the layer's folder; one that does not exist is fine."""
