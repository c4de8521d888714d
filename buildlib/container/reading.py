"""Looking into a working container: files, differences from its base, and a mount for everybody to see."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.container import WorkingContainer


def read_file(container: WorkingContainer, path: str, limit: int) -> bytes:
    """See :meth:`WorkingContainer.read_file`."""
    with container.lock:
        container.refresh()
        fd = os.memfd_create("read", os.MFD_CLOEXEC)
        try:
            args = {"parents": list(container.layers), "key": _key(container), "path": path, "limit": limit}
            container.store.worker.call("read", args, (fd,))
            size = os.fstat(fd).st_size
            os.lseek(fd, 0, os.SEEK_SET)
            with open(fd, "rb", closefd=False) as file:
                return file.read(size)
        finally:
            os.close(fd)


def _key(container: WorkingContainer) -> str | None:
    """The container's id where there is something of its own on disk."""
    from buildlib.container.performing import upper_of
    from buildlib.container.state import CLEAN

    return container.id if container.state.upper != CLEAN and os.path.lexists(upper_of(container)) else None


def diff(container: WorkingContainer) -> list[Any]:
    """See :meth:`WorkingContainer.diff`."""
    with container.lock:
        container.refresh()
        layers, base = container.layers, container.state.base_layers
        steps = [({"layer": layer}, layers[:index]) for index, layer in enumerate(layers) if index >= base]
        if (key := _key(container)) is not None:
            steps.append(({"key": key}, layers))
        found: dict[str, Any] = {}
        for what, parents in steps:
            reply = container.store.worker.call("changes", {**what, "parents": list(parents)})
            merge(found, reply["changes"])
    from buildlib.layer.diff import Change

    return [Change(path, kind, size, mode) for path, (kind, _, size, mode) in sorted(found.items())]


def merge(found: dict[str, Any], changes: list[list[Any]]) -> None:
    """Take the changes of the next layer into what those below it have changed, by path. Pure.

    >>> found = {"/a": ["added", "/a", 1, 0o644]}
    >>> merge(found, [["deleted", "/a", 0, 0], ["changed", "/b", 2, 0o600]])
    >>> found
    {'/b': ['changed', '/b', 2, 384]}
    """
    for kind, path, size, mode in changes:
        before = found.get(path)
        was_new = before is not None and before[0] == "added"
        if kind == "deleted":
            below = f"{path}/"
            for other in [other for other in found if other.startswith(below)]:
                del found[other]
            if was_new:
                del found[path]
                continue
        elif before is not None:
            kind = "added" if was_new else "changed"
        found[path] = [kind, path, size, mode]


def _target(container: WorkingContainer) -> str:
    from buildlib.snapshot.overlay import MERGED

    return f"{container.store.root}/containers/{container.id}/{MERGED}"


def mount_point(container: WorkingContainer) -> str | None:
    """See :attr:`WorkingContainer.mount_point`."""
    target = _target(container)
    if not os.path.lexists(target):
        return None
    from buildlib.linux.mount import is_mount_point

    return target if is_mount_point(target) else None


def mount(container: WorkingContainer, mark: str) -> str:
    """See :meth:`WorkingContainer.mount`; from now on the upper may hold anything (``mark``)."""
    from buildlib.container.performing import executing, make_ready

    target = mount_point(container)
    if target is not None:
        return target
    target = _target(container)
    with executing(container):
        make_ready(container, mark if container.state.upper == "clean" else container.state.upper)
        args = {"key": container.id, "parents": list(container.layers), "target": target}
        container.store.worker.call("mount", args)
    return target


def umount(container: WorkingContainer) -> bool:
    """See :meth:`WorkingContainer.umount`."""
    target = mount_point(container)
    if target is None:
        return False
    container.store.worker.call("umount", {"target": target})
    return True
