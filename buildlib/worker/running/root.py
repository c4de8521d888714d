"""The root of a run: the container's tree with a place for every mount, of which nothing stays in the upper.

Places that the image lacks come from throw-away lower directories. Three cases, from the usual to the odd:

1. *Below* the layers lies a tree with every target. What the layers have wins over it, so it needs no attributes.
2. Where a link leads elsewhere, or a layer hides what is below (whiteout, opaque directory), the places that are still
   missing are made *above* the layers, each folder on the way as the tree shows it.
3. What the upper itself hides, or a container that is mounted for all to see and so can't be stacked anew, or whose
   tree is a copy of the layers, gets its places made in the tree, and taken away after the run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from buildlib.errors import SandboxError
from buildlib.linux import beneath
from buildlib.sandbox.target import make_spots
from buildlib.snapshot.activate import merged
from buildlib.worker.workspace import on_top

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from buildlib.worker.workspace import Workspace

    Target = tuple[str, bool]
    """A path from the root, and whether it is a directory (else a file)."""
    Lack = tuple[list[str], bool]
    """The paths that would have to be made for a target, outermost first, and whether the last is a directory."""


def prepare(
    space: Workspace, key: str, parents: Sequence[str], targets: Sequence[Target]
) -> tuple[str, list[dict[str, Any]]]:
    """Mount the container's tree so that every one of ``targets`` exists in it.

    Returns its path, and what :func:`clear` has to be told after the run: nothing but in the third case.
    """
    places = targets_in_the_root(targets)
    if space.snapshotter.kind == "copy":
        mounts, shared = space.snapshotter.mounts(key, parents), True
    else:
        below = space.place()
        _furnish(below, places)
        mounts = space.snapshotter.mounts(key, parents, (below,))
        shared = merged(mounts) is not None
    tree = space.show(mounts)
    lacking = _lacking(tree, places)
    if lacking and not shared:
        above = space.place()
        _cover(tree, above, lacking)
        space.show_at(tree, on_top(mounts, above))
        lacking = _lacking(tree, places)
    if not lacking:
        return tree, []
    made: list[dict[str, Any]] = []
    with _root(tree) as root:
        try:
            for spots, directory in lacking:
                spots = _missing(root, spots[-1]) if spots else []  # one of the others may have made some meanwhile
                if spots:
                    made.append(_make_for_now(root, spots, directory))
        except OSError as error:
            _clear(root, made)
            what = f"making the mount point {spots[-1]}"
            raise SandboxError(f"{what}: {error.strerror}", op=what, errno=error.errno) from error
    return tree, made


def clear(space: Workspace, key: str, parents: Sequence[str], made: Sequence[dict[str, Any]]) -> None:
    """Take away the mount points that :func:`prepare` made in the tree, as far as the run has left them alone."""
    with _root(space.container(key, parents)) as root:
        _clear(root, made)
    space.forgive(os.path.dirname(place["spots"][0]) for place in made)


def targets_in_the_root(targets: Sequence[Target]) -> list[Target]:
    """Those that lie in no earlier target: what is below another mount is not the container's business. Pure."""
    places: list[Target] = []
    hidden: list[str] = []
    for path, directory in targets:
        if not any(path == other or path.startswith(f"{other}/") for other in hidden):
            places.append((path, directory))
        hidden.append(path)
    return places


def _furnish(folder: str, places: Sequence[Target]) -> None:
    for path, directory in places:
        with contextlib.suppress(FileExistsError, NotADirectoryError):  # in each other's way: seen when mounting
            if directory:
                os.makedirs(folder + path, 0o755, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(folder + path), 0o755, exist_ok=True)
                os.mknod(folder + path, 0o644)


def _lacking(tree: str, places: Sequence[Target]) -> list[Lack]:
    """What is missing for each target that is missing; see :func:`~buildlib.linux.beneath.missing`."""
    found = []
    with _root(tree) as root:
        for path, directory in places:
            try:
                # One look for what is nearly always there.
                os.close(beneath.open_in_root(root, path, os.O_PATH))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                found.append((_missing(root, path), directory))
    return found


def _missing(root: int, path: str) -> list[str]:
    try:
        return beneath.missing(root, path)
    except OSError as error:
        what = f"finding the mount point {path}"
        raise SandboxError(f"{what}: {error.strerror}", op=what, errno=error.errno) from error


def _cover(tree: str, above: str, lacking: Sequence[Lack]) -> None:
    """Make what is lacking in the folder ``above``, and the folders on the way exactly as ``tree`` has them."""
    copied: dict[str, None] = {}
    for spots, directory in lacking:
        if not spots:  # there now, or a circle of links
            continue
        on_the_way = os.path.dirname(spots[0])
        os.makedirs(above + on_the_way, exist_ok=True)
        while on_the_way != "/":
            copied[on_the_way] = None
            on_the_way = os.path.dirname(on_the_way)
        _furnish(above, [(spots[-1], directory)])
    # Innermost first: making entries changes the times of what holds them.
    for path in sorted(copied, key=len, reverse=True):
        _copy_attributes(tree + path, above + path)


def _copy_attributes(model: str, folder: str) -> None:
    # Both paths go through no link: `missing` gave them so, and nobody else has this mount.
    info = os.lstat(model)
    os.chown(folder, info.st_uid, info.st_gid)
    os.chmod(folder, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(model, follow_symlinks=False):
        try:
            os.setxattr(folder, name, os.getxattr(model, name, follow_symlinks=False))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:  # user.* on a tmpfs before Linux 6.6
                raise
    os.utime(folder, ns=(info.st_atime_ns, info.st_mtime_ns))


def _make_for_now(root: int, spots: list[str], directory: bool) -> dict[str, Any]:
    before = _parent_times(root, spots[0])
    make_spots(root, spots, directory=directory)
    return {"spots": spots, "directory": directory, "before": before, "made": _parent_times(root, spots[0])}


def _clear(root: int, made: Sequence[dict[str, Any]]) -> None:
    for place in reversed(made):
        spots = place["spots"]
        with contextlib.suppress(OSError):  # the run has put something there, or taken it away: then it is its own
            now = _parent_times(root, spots[0])
            for spot in reversed(spots):
                _remove(root, spot, directory=place["directory"] or spot != spots[-1])
            # Nobody but us has changed that folder? Then it is as if nobody had.
            times = place["before"] if now == list(place["made"]) else now
            with _parent(root, spots[0]) as (parent, _):
                os.utime(f"/proc/self/fd/{parent}", ns=(times[0], times[1]))


def _remove(root: int, spot: str, *, directory: bool) -> None:
    with _parent(root, spot) as (parent, name):
        if directory:
            os.rmdir(name, dir_fd=parent)
        elif os.stat(name, dir_fd=parent, follow_symlinks=False).st_size == 0:
            os.unlink(name, dir_fd=parent)


def _parent_times(root: int, spot: str) -> list[int]:
    with _parent(root, spot) as (parent, _):
        info = os.fstat(parent)
        return [info.st_atime_ns, info.st_mtime_ns]


@contextlib.contextmanager
def _parent(root: int, spot: str) -> Iterator[tuple[int, str]]:
    """The folder that holds ``spot``, through no link, and the name in there."""
    path, name = os.path.split(spot)
    resolve = beneath.IN_ROOT | beneath.NO_SYMLINKS
    fd = beneath.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY, resolve=resolve)
    try:
        yield fd, name
    finally:
        os.close(fd)


@contextlib.contextmanager
def _root(tree: str) -> Iterator[int]:
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
