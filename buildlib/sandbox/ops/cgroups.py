"""Ops on control groups: to be in one, and to see it in the container."""

from __future__ import annotations

import os

from buildlib.errors import SandboxError
from buildlib.linux import mount
from buildlib.linux.options import parse
from buildlib.oci.value import frozen
from buildlib.sandbox.target import mount_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.linux.cgroups import Hierarchy


@frozen
class MakeGroup:
    """Make a control group, hierarchy → path as pairs, with the limits of ``linux.resources``."""

    paths: tuple[tuple[str, str], ...]
    resources: dict[str, Any]

    def describe(self) -> str:
        """One line."""
        return f"make control group {self.paths[0][1]} with limits of {', '.join(self.resources)}"

    def execute(self) -> None:
        """mkdir(2) in each hierarchy, then its files. Raises :class:`SandboxError` that names the field."""
        from buildlib.linux.cgroups import Cgroup

        group = Cgroup(dict(self.paths))
        try:
            group.create()
        except SandboxError as error:
            what = f"linux.resources ({', '.join(self.resources)}): no control group can be made for it"
            hint = "without root it takes a group that was handed over: systemd-run --user --scope -p Delegate=yes …"
            raise SandboxError(f"{what}: {error}", op=error.op, errno=error.errno, hint=hint) from error
        group.apply(self.resources)


@frozen
class JoinGroup:
    """Move this process into a control group, of which the directories are given: hierarchy → path, as pairs."""

    paths: tuple[tuple[str, str], ...]

    def describe(self) -> str:
        """One line."""
        return f"join control group {self.paths[0][1]}"

    def execute(self) -> None:
        """Write cgroup.procs in each hierarchy."""
        from buildlib.linux.cgroups import Cgroup

        Cgroup(dict(self.paths)).add(0)


@frozen
class MountGroups:
    """The control groups at ``target``, from the container's own on: v2, or a directory with each hierarchy of v1.

    With a cgroup namespace they are mounted anew; without (``own`` is False) the group's directory is shown.
    """

    rootfs: str
    target: str
    options: tuple[str, ...] = ()
    own: bool = True
    make: bool = False

    def describe(self) -> str:
        """One line."""
        return f"mount control groups at {self.target}" + (f" ({','.join(self.options)})" if self.options else "")

    def execute(self) -> None:
        """One mount for v2 alone; else a tmpfs to mount the hierarchies in, by the names that they have out here."""
        from buildlib.linux.cgroups import UNIFIED, mounted

        attributes = parse(self.options).attributes
        found = mounted()
        with mount_point(self.rootfs, self.target, directory=True, make=self.make) as spot:
            if [hierarchy.names for hierarchy in found] == [(UNIFIED,)]:
                _attach(self._mount(found[0], attributes), "", spot)
                return
            folder = mount.new_mount("tmpfs", ("mode=755",), attributes=attributes & ~mount.ATTR_RDONLY, source="tmpfs")
            try:
                mount.move_mount(folder, "", dir_fd=spot)
                for hierarchy in found:
                    self._furnish(folder, hierarchy, attributes)
                mount.set_attributes("", dir_fd=folder, add=attributes)
            finally:
                os.close(folder)

    def _furnish(self, folder: int, hierarchy: Hierarchy, attributes: int) -> None:
        name = os.path.basename(hierarchy.mount)
        os.mkdir(name, 0o755, dir_fd=folder)
        _attach(self._mount(hierarchy, attributes), name, folder)
        for controller in hierarchy.names:
            if len(hierarchy.names) > 1 and controller != name:
                os.symlink(name, controller, dir_fd=folder)

    def _mount(self, hierarchy: Hierarchy, attributes: int) -> int:
        if self.own:
            return mount.new_mount(*_what(hierarchy), attributes=attributes, source="cgroup")
        fd = mount.open_tree(hierarchy.mount + hierarchy.own, recursive=False)
        mount.set_attributes("", dir_fd=fd, add=attributes, propagation=mount.MS_PRIVATE)
        return fd


def _what(hierarchy: Hierarchy) -> tuple[str, tuple[str, ...]]:
    if hierarchy.names == ("",):
        return "cgroup2", ()
    named = any(name.startswith("name=") for name in hierarchy.names)
    return "cgroup", ("none", *hierarchy.names) if named else hierarchy.names


def _attach(fd: int, name: str, folder: int) -> None:
    try:
        mount.move_mount(fd, name, dir_fd=folder)
    finally:
        os.close(fd)
