"""Looking into a working container: files, differences from its base, and a mount for everybody to see."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from buildlib.container import WorkingContainer
    from buildlib.display import Changes
    from buildlib.store import Store


def read_file(container: WorkingContainer, path: str, limit: int) -> bytes:
    """See :meth:`WorkingContainer.read_file`."""
    with container.lock:
        container.refresh()
        with open_file(container.store, path, container.layers, own_key(container), limit) as file:
            return file.read()


def open_file(store: Store, path: str, layers: Sequence[str], key: str | None = None, limit: int = 1 << 40) -> BinaryIO:
    """A copy in memory of the file ``path`` in a stack of layers, with the upper of the container ``key`` on top."""
    fd = os.memfd_create("file", os.MFD_CLOEXEC)
    try:
        store.worker.call("read", {"parents": list(layers), "key": key, "path": path, "limit": limit}, (fd,))
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return open(fd, "rb")


def own_key(container: WorkingContainer) -> str | None:
    """The container's id where there is something of its own on disk."""
    from buildlib.container.performing import upper_of
    from buildlib.container.state import CLEAN

    return container.id if container.state.upper != CLEAN and os.path.lexists(upper_of(container)) else None


def diff(container: WorkingContainer) -> Changes:
    """See :meth:`WorkingContainer.diff`."""
    from buildlib.comparison import changed_above
    from buildlib.display import Changes

    with container.lock:
        container.refresh()
        found = changed_above(container.store, container.layers, container.state.base_layers, own_key(container))
    return Changes(found[path] for path in sorted(found))


def _target(container: WorkingContainer) -> str:
    from buildlib.snapshot.overlay import MERGED

    return f"{container.store.root}/containers/{container.id}/{MERGED}"


def mount_point(container: WorkingContainer) -> str | None:
    """See :attr:`WorkingContainer.mount_point`."""
    target = _target(container)
    if not os.path.lexists(target):
        return None
    from buildlib.linux.mount import is_mount_point

    process = container.store.mounter
    if not is_mount_point(target, "self" if process is None else process):
        return None
    return _seen(target, process)


def _seen(target: str, process: int | None) -> str:
    """Where this process sees what is mounted at ``target`` in the mount namespace of ``process``."""
    # For whom the namespace belongs to, that is open (proc_pid_root(5)).
    return target if process is None else f"/proc/{process}/root{target}"


def mount(container: WorkingContainer, mark: str) -> str:
    """See :meth:`WorkingContainer.mount`; from now on the upper may hold anything (``mark``)."""
    from buildlib.container.performing import executing, make_ready

    point = mount_point(container)
    if point is not None:
        return point
    target = _target(container)
    with executing(container):
        make_ready(container, mark if container.state.upper == "clean" else container.state.upper)
        args = {"key": container.id, "parents": list(container.layers), "target": target}
        container.store.worker.call("mount", args)
    return _seen(target, container.store.mounter)


def umount(container: WorkingContainer) -> bool:
    """See :meth:`WorkingContainer.umount`."""
    if mount_point(container) is None:
        return False
    container.store.worker.call("umount", {"target": _target(container)})
    return True
