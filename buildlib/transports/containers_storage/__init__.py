"""``containers-storage:[[driver@]root[+runroot][:options]]image``: the store of podman, buildah, skopeo and CRI-O.

Images are read in place and written so that those programs see and run them at once; the format and the rules are
those of containers/storage and containers/image:

A **store** is a folder, the graph root. ``overlay/ID/diff`` has the files of a layer in the kernel's overlay form,
``overlay/ID/lower`` names the layers below by the short links in ``overlay/l``. ``overlay-layers/layers.json`` lists
the layers, and ``ID.tar-split.gz`` next to it has what it takes to make the original archive of a layer again.
``overlay-images/images.json`` lists the images; manifests and configs are their **big data**, files next to it.

A layer's **id** depends on those below it: the hex of its DiffID at the base, of ``sha256(PARENT+DIFFID)`` above. An
image's id is the hex of its config's digest.

Each list has a **lock file**, taken as a record lock; who changed the list writes 64 bytes into it that nobody wrote
before, so that running engines notice. Locks are taken in one order: storage, layers, images. A layer that is flagged
**incomplete** in the list belongs to somebody who died while writing: whoever loads the list next deletes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildlib.transports.containers_storage.reading import StorageSource
    from buildlib.transports.containers_storage.settings import Settings
    from buildlib.transports.containers_storage.writing import StorageDestination


def source(rest: str, *, settings: Settings | None = None, tmp: str | None = None) -> StorageSource:
    """The image that ``rest`` names. ``settings`` say where the store is if ``rest`` does not."""
    from buildlib.transports.containers_storage import names
    from buildlib.transports.containers_storage.reading import StorageSource

    return StorageSource(f"containers-storage:{rest}", names.parse(rest, settings), tmp)


def destination(rest: str, *, settings: Settings | None = None, tmp: str | None = None) -> StorageDestination:
    """A place for the image that ``rest`` names; the store is made where there is none."""
    from buildlib.transports.containers_storage import names
    from buildlib.transports.containers_storage.writing import StorageDestination

    return StorageDestination(f"containers-storage:{rest}", names.parse(rest, settings))
