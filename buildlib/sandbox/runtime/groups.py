"""The control group of a container: which one the spec means, made and limited."""

from __future__ import annotations

import errno
import os

from buildlib.errors import SandboxError
from buildlib.linux.cgroups import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.oci.runtime import Linux

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def make(container: str, linux: Linux, *, systemd: bool) -> tuple[Cgroup | None, bool]:
    """The group that ``linux.cgroupsPath`` names, with its limits; and whether it was made here, not found.

    A spec that says nothing gets one of its own below ``/buildlib``. Without root and without anything asked for,
    there may be none. Raises :class:`SandboxError`.
    """
    if systemd:
        hint = "let the engine use the cgroupfs manager"
        raise SandboxError("--systemd-cgroup: groups are made by their file system, not by systemd", hint=hint)
    path = linux.cgroups_path or f"/buildlib/{container}"
    if path.count(":") == 2 and "/" not in path:
        hint = "let the engine use the cgroupfs manager"
        raise SandboxError(f"linux.cgroupsPath {path}: this is a slice of systemd", hint=hint)
    asked = any(value for name, value in (linux.resources or {}).items() if name != "devices")
    group = None
    try:
        group = Cgroup.at(path)
        made = not group.exists()
        group.create()
    except SandboxError as error:
        if os.geteuid() == 0 or asked or (group and error.errno not in _FORBIDDEN):
            raise
        return None, False
    try:
        group.apply(linux.resources or {})
    except SandboxError:
        if made:
            group.remove()
        raise
    return group, made
