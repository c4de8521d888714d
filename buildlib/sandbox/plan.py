"""From a runtime spec to the ops of a sandbox, in order. Pure: the same spec always gives the same plan."""

from __future__ import annotations

import os

from buildlib.errors import SandboxError, UsageError
from buildlib.oci.runtime import Linux, Root
from buildlib.sandbox.defaults import DEVICE_LINKS, DEVICES
from buildlib.sandbox.identity import identity
from buildlib.sandbox.ops import cgroups, devices, hiding, mounts, namespaces
from buildlib.sandbox.trees import DETACHED, bind_or_new, sealed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from buildlib.oci.runtime import Namespace, RuntimeSpec
    from buildlib.sandbox.op import Op

__all__ = ["DETACHED", "plan"]

SYSCTLS = (
    ("net.", "network"),
    ("fs.mqueue.", "ipc"),
    ("kernel.msg", "ipc"),
    ("kernel.sem", "ipc"),
    ("kernel.shm", "ipc"),
    ("kernel.domainname", "uts"),
    ("kernel.hostname", "uts"),
)
"""Which namespace a kernel parameter belongs to, by its prefix, as runc has it."""

_JOINING = ("user", "ipc", "uts", "network", "pid", "cgroup", "time", "mount")
"""The order in which namespaces are joined: the user namespace first gives the rights for the others."""

_CLOCKS = ("monotonic", "boottime")


def plan(
    spec: RuntimeSpec,
    rootfs: str,
    *,
    own_init: bool = False,
    mounted: bool = False,
    cgroup: Mapping[str, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> tuple[Op, ...]:
    """The ops that a child in its own pid namespace executes to run ``spec`` in the directory ``rootfs``.

    The order is the point: namespaces, then mounts looked up beneath the root while the host's tree is still there,
    then the pivot, then limits and ids, the command last; with ``own_init`` it is not process 1. ``mounted`` says that
    ``rootfs`` is a mount already, in a mount namespace that the child has for itself alone, and that nothing may be
    made in it. ``cgroup`` is a group to join, hierarchy → directory: whoever made it has limited it and removes it.
    ``about`` are the fields of the container's state (id, bundle) that a listener of seccomp is told.

    Raises :class:`UsageError` for a spec that says nothing to run, :class:`SandboxError` that names the field for one
    that asks for what this sandbox has not.
    """
    _refuse(spec, cgroup)
    linux, root = spec.linux or Linux(), spec.root or Root()
    types = {namespace.type for namespace in linux.namespaces if not namespace.path}
    joined = any(namespace.type == "mount" and namespace.path for namespace in linux.namespaces)
    return (
        *([cgroups.JoinGroup(tuple(sorted(cgroup.items())))] if cgroup else ()),
        *_namespaces(linux, () if mounted or joined else ("mount",)),
        *(() if joined else _tree(spec, rootfs, mounted=mounted, own_groups="cgroup" in types)),
        *_names(spec),
        *_sysctls(linux),
        *([hiding.Mask(rootfs, linux.masked_paths)] if linux.masked_paths else ()),
        *([hiding.ReadOnly(rootfs, linux.readonly_paths)] if linux.readonly_paths else ()),
        *_user(linux),
        # Before the root is made read-only a working directory can still be made; a pivot comes first, so that it
        # is made in the container and by no path of the host.
        *identity(spec, _pivot(linux, rootfs, joined), read_only=root.readonly, own_init=own_init, about=about or {}),
    )


def _pivot(linux: Linux, rootfs: str, joined: bool) -> list[Op]:
    if joined:
        return []
    kind = linux.rootfs_propagation
    steps: list[Op] = [mounts.PivotRoot(rootfs)]
    if kind and kind.removeprefix("r") != "private":
        steps.append(mounts.Propagation(kind.removeprefix("r"), recursive=kind.startswith("r")))
    return steps


def _refuse(spec: RuntimeSpec, cgroup: Mapping[str, str] | None) -> None:
    linux, process = spec.linux or Linux(), spec.process
    if process is None or not process.args:
        raise UsageError("there is no command to run")
    if not process.cwd.startswith("/"):
        raise UsageError(f"the working directory {process.cwd!r} is not absolute")
    lacking = {
        "process.terminal": process.terminal,
        "linux.resources": linux.resources and cgroup is None,
        "hooks": spec.hooks,
        "linux.intelRdt": linux.extra.get("intelRdt"),
        "linux.memoryPolicy": linux.extra.get("memoryPolicy"),
        "linux.netDevices": linux.extra.get("netDevices"),
    }
    for field, asked in lacking.items():
        if asked:
            raise SandboxError(f"{field}: the spec asks for it, and this sandbox does not offer it")
    if any(n.type == "mount" and n.path for n in linux.namespaces) and (
        spec.mounts or linux.masked_paths or linux.readonly_paths
    ):
        raise SandboxError("mounts: in a mount namespace that is joined the tree is used as it is")
    if linux.rootfs_propagation.removeprefix("r") not in ("", *mounts.KINDS):
        raise SandboxError(f"linux.rootfsPropagation: there is no {linux.rootfs_propagation!r}")


def _namespaces(linux: Linux, always: tuple[str, ...]) -> Iterator[Op]:
    for namespace in linux.namespaces:
        if namespace.type not in _JOINING:
            raise SandboxError(f"linux.namespaces: there is no type {namespace.type!r}")
    for namespace in sorted((n for n in linux.namespaces if n.path), key=lambda n: _JOINING.index(n.type)):
        if namespace.type == "pid":
            raise SandboxError("linux.namespaces: a process joins no pid namespace, only its children do")
        if namespace.type != "user":
            yield namespaces.Join(namespace.type, namespace.path)
    # Without a mount namespace the mounts would show up on the host, so there always is one. That of pids was made by
    # whoever forked this process; that of users comes last, see OpenUser.
    fresh = [n.type for n in linux.namespaces if not n.path and n.type not in ("pid", "mount", "user")]
    if always or fresh:
        yield namespaces.Unshare((*always, *fresh))
    if linux.time_offsets:
        if "time" not in fresh:
            raise SandboxError("linux.timeOffsets: they need a time namespace of its own")
        yield namespaces.TimeOffsets(tuple(_offsets(linux.time_offsets)))


def _offsets(given: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    for clock, offset in sorted(given.items()):
        if clock not in _CLOCKS:
            raise SandboxError(f"linux.timeOffsets: there is no clock {clock!r}")
        yield clock, int(offset.get("secs") or 0), int(offset.get("nanosecs") or 0)


def _tree(spec: RuntimeSpec, rootfs: str, *, mounted: bool, own_groups: bool) -> Iterator[Op]:
    linux = spec.linux or Linux()
    if not mounted:
        kind = linux.rootfs_propagation.removeprefix("r")
        # A bind that shall share mount events can do so only while the host's tree does.
        yield mounts.Propagation(kind if kind in ("private", "shared") else "slave")
        yield mounts.BindRoot(rootfs)
    for mount in spec.mounts:
        if mount.type in ("cgroup", "cgroup2"):
            yield cgroups.MountGroups(rootfs, mount.target, mount.options, own=own_groups, make=not mounted)
        else:
            yield bind_or_new(mount, rootfs, linux, make=not mounted)
    yield from _devices(spec, rootfs, mounted=mounted)
    targets = tuple(mount.target for mount in spec.mounts if sealed(mount))
    if targets:
        yield hiding.Seal(rootfs, targets)


def _devices(spec: RuntimeSpec, rootfs: str, *, mounted: bool) -> Iterator[Op]:
    """Nodes and links of /dev, unless that is somebody else's."""
    at_dev = [mount for mount in spec.mounts if mount.target.rstrip("/") == "/dev"]
    if at_dev[-1].type != "tmpfs" if at_dev else mounted:
        return
    nodes = {device.path: device for device in (*DEVICES, *(spec.linux or Linux()).devices)}
    for path, node in nodes.items():
        if os.path.normpath(path) != path or not path.startswith("/dev/"):
            raise SandboxError(f"linux.devices: the device {path} would lie outside /dev")
        if node.type not in ("c", "b", "u", "p"):
            raise SandboxError(f"linux.devices: {path} has the type {node.type!r}; there are c, b, u and p")
    yield devices.Devices(rootfs, tuple(nodes.values()), DEVICE_LINKS)


def _names(spec: RuntimeSpec) -> Iterator[Op]:
    own: list[Namespace] = [n for n in (spec.linux or Linux()).namespaces if not n.path]
    if spec.hostname or spec.domainname:
        if not any(n.type == "uts" for n in (spec.linux or Linux()).namespaces):
            raise SandboxError("hostname: a host name needs a uts namespace of its own")
        yield namespaces.Names(spec.hostname, spec.domainname)
    if any(n.type == "network" for n in own):
        yield namespaces.LoopbackUp()


def _sysctls(linux: Linux) -> Iterator[Op]:
    """Only what belongs to a namespace of the container: anything else would be set for the host."""
    types = {n.type for n in linux.namespaces}
    for name, value in sorted(linux.sysctl.items()):
        owner = next((kind for prefix, kind in SYSCTLS if name.replace("/", ".").startswith(prefix)), None)
        if owner not in types:
            raise SandboxError(f"linux.sysctl: {name} belongs to no namespace of the container")
        yield namespaces.Sysctl(name, value)


def _user(linux: Linux) -> Iterator[Op]:
    found = next((n for n in linux.namespaces if n.type == "user"), None)
    if found is None:
        if linux.uid_mappings or linux.gid_mappings:
            raise SandboxError("linux.uidMappings, linux.gidMappings: they need a user namespace")
        return
    uids, gids = (
        tuple((m.container_id, m.host_id, m.size) for m in mappings)
        for mappings in (linux.uid_mappings, linux.gid_mappings)
    )
    if not found.path and not (uids and gids):
        raise SandboxError("linux.uidMappings, linux.gidMappings: a user namespace needs both")
    yield namespaces.OpenUser(found.path, uids, gids)
