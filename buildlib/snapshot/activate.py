"""Performing the mounts that a snapshotter described. It knows the options, and nothing of layers and keys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildlib.errors import from_os_error
from buildlib.linux import mount as kernel
from buildlib.linux.options import parse
from buildlib.linux.overlay import mount_overlay
from buildlib.snapshot.overlay import MERGED, VOLATILE, renew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.oci import Mount


def activate(mounts: Sequence[Mount], target: str) -> None:
    """Perform ``mounts`` in order at ``target`` (each at its own ``target`` below it), in this mount namespace.

    An upper may be mounted once only. So where the container is mounted already, at :data:`MERGED` beside its upper,
    that mount is shown at ``target`` too, and what was asked to be ``below`` the layers is not there.

    Raises :class:`StoreError`; on the way a mount may be left behind, which goes with the mount namespace.
    """
    for mount in mounts:
        place = os.path.join(target, mount.target.lstrip("/")) if mount.target else target
        try:
            _perform(mount, place)
        except OSError as error:
            raise from_os_error(error, f"mounting {mount.type} at {place}") from error


def merged(mounts: Sequence[Mount]) -> str | None:
    """Where the container that ``mounts`` describe is mounted already in this mount namespace, or None."""
    for mount in mounts:
        for option in mount.options:
            if option.startswith("upperdir="):
                spot = f"{os.path.dirname(option.removeprefix('upperdir='))}/{MERGED}"
                # The directory exists while it is a mount point, so nearly always one look is enough.
                return spot if os.path.lexists(spot) and kernel.is_mount_point(spot) else None
    return None


def _perform(mount: Mount, place: str) -> None:
    options = parse(mount.options)
    live = merged((mount,))
    if live is not None:
        kernel.bind(live, place, attributes=options.attributes)
    elif options.bind or mount.type == "bind":
        kernel.bind(mount.source, place, recursive=options.recursive, attributes=options.attributes)
    elif mount.type == "overlay":
        _overlay(place, options.rest, options.attributes)
    else:
        fd = kernel.new_mount(mount.type, options.rest, attributes=options.attributes, source=mount.source)
        try:
            kernel.move_mount(fd, place)
        finally:
            os.close(fd)


def _overlay(place: str, options: Sequence[str], attributes: int) -> None:
    lowers, named, rest = [], {}, []
    for option in options:
        name, _, value = option.partition("=")
        if name == "lowerdir+":
            lowers.append(value)
        elif name in ("upperdir", "workdir"):
            named[name] = value
        else:
            rest.append(option)
    upper, work = named.get("upperdir"), named.get("workdir")
    if work is not None and VOLATILE in rest:
        renew(work)
    mount_overlay(place, lowers, upper, work, rest, attributes=attributes)
