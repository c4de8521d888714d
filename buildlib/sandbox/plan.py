"""From a runtime spec to the ops of a sandbox, in order. Pure: the same spec always gives the same plan."""

from __future__ import annotations

import os

from buildlib.errors import SandboxError, UsageError
from buildlib.linux.options import parse
from buildlib.oci.runtime import Capabilities, Linux, Process, Root
from buildlib.sandbox.defaults import DEVICE_LINKS, DEVICES
from buildlib.sandbox.ops import command, devices, mounts, namespaces, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.oci.mount import Mount
    from buildlib.oci.runtime import Namespace, RuntimeSpec
    from buildlib.sandbox.op import Op

DETACHED = "detached"
"""Our own type of mount: ``source`` is the number of a descriptor that holds a mount which is nowhere yet."""

JOINABLE = ("ipc", "uts", "network", "cgroup")

SYSCTLS = (
    ("net.", "network"),
    ("fs.mqueue.", "ipc"),
    ("kernel.msg", "ipc"),
    ("kernel.sem", "ipc"),
    ("kernel.shm", "ipc"),
)
"""Which namespace a kernel parameter belongs to, by its prefix, as runc has it."""


def plan(spec: RuntimeSpec, rootfs: str, *, own_init: bool = False, mounted: bool = False) -> tuple[Op, ...]:
    """The ops that a child in its own pid namespace executes to run ``spec`` in the directory ``rootfs``.

    The order is the point: namespaces, then mounts looked up beneath the root while the host's tree is still there,
    then the pivot, then limits and ids, the command last; with ``own_init`` it is not process 1. ``mounted`` says that
    ``rootfs`` is a mount already, in a mount namespace that the child has for itself alone.

    Raises :class:`UsageError` for a spec that says nothing to run, :class:`SandboxError` for one that asks for what
    this sandbox has not.
    """
    _refuse(spec)
    linux, root = spec.linux or Linux(), spec.root or Root()
    return (
        *_namespaces(linux, () if mounted else ("mount",)),
        *(() if mounted else (mounts.Propagation(_propagation(linux.rootfs_propagation)), mounts.BindRoot(rootfs))),
        *(_mount(mount, rootfs) for mount in spec.mounts),
        *_devices(spec, rootfs),
        *_names(spec),
        *_sysctls(linux),
        *([mounts.Mask(rootfs, linux.masked_paths)] if linux.masked_paths else ()),
        *([mounts.ReadOnly(rootfs, linux.readonly_paths)] if linux.readonly_paths else ()),
        # Before the root is made read-only a working directory can still be made; a pivot comes first, so that it
        # is made in the container and by no path of the host.
        mounts.PivotRoot(rootfs),
        *_process(spec.process or Process(), read_only=root.readonly, own_init=own_init),
    )


def _refuse(spec: RuntimeSpec) -> None:
    linux, process_ = spec.linux or Linux(), spec.process
    if process_ is None or not process_.args:
        raise UsageError("there is no command to run")
    if not process_.cwd.startswith("/"):
        raise UsageError(f"the working directory {process_.cwd!r} is not absolute")
    lacking = {
        "a terminal": process_.terminal,
        "a seccomp profile": linux.seccomp,
        "resource limits by cgroup": linux.resources,
        "id mappings": linux.uid_mappings or linux.gid_mappings,
        "hooks": spec.hooks,
    }
    for what, asked in lacking.items():
        if asked:
            raise SandboxError(f"the spec asks for {what}, which this sandbox does not offer")


def _namespaces(linux: Linux, always: tuple[str, ...]) -> Iterator[Op]:
    for namespace in linux.namespaces:
        if namespace.path:
            if namespace.type not in JOINABLE:
                raise SandboxError(f"joining a {namespace.type} namespace is not offered")
            yield namespaces.Join(namespace.type, namespace.path)
        elif namespace.type in ("user", "time"):
            raise SandboxError(f"a {namespace.type} namespace of its own is not offered")
    # Without a mount namespace the mounts would show up on the host, so there always is one. That of pids was made by
    # whoever forked this process.
    fresh = [n.type for n in linux.namespaces if not n.path and n.type not in ("pid", "mount")]
    yield namespaces.Unshare((*always, *fresh))


def _propagation(words: str) -> str:
    kind = words.removeprefix("r") or "private"
    if kind not in ("private", "slave"):
        raise SandboxError(f"rootfsPropagation {words!r} is not offered", hint="use rprivate or rslave")
    return kind


def _mount(mount: Mount, rootfs: str) -> Op:
    if mount.type == DETACHED:
        return mounts.MountDetached(rootfs, int(mount.source), mount.target, mount.options)
    if parse(mount.options).bind:
        return mounts.MountBind(rootfs, mount.source, mount.target, mount.options)
    return mounts.MountNew(rootfs, mount.type, mount.source, mount.target, mount.options)


def _devices(spec: RuntimeSpec, rootfs: str) -> Iterator[Op]:
    """Nodes and links of /dev, where /dev is a file system made for this container."""
    at_dev = [mount for mount in spec.mounts if mount.target.rstrip("/") == "/dev"]
    if not at_dev or at_dev[-1].type != "tmpfs":
        return
    nodes = {device.path: device for device in (*DEVICES, *(spec.linux or Linux()).devices)}
    for path, node in nodes.items():
        if os.path.normpath(path) != path or not path.startswith("/dev/"):
            raise SandboxError(f"the device {path} would lie outside /dev")
        if node.type not in ("c", "b", "u", "p"):
            raise SandboxError(f"the device {path} has the type {node.type!r}; there are c, b, u and p")
    yield devices.Devices(rootfs, tuple(nodes.values()), DEVICE_LINKS)


def _names(spec: RuntimeSpec) -> Iterator[Op]:
    own: list[Namespace] = [n for n in (spec.linux or Linux()).namespaces if not n.path]
    if spec.hostname or spec.domainname:
        if not any(n.type == "uts" for n in own):
            raise SandboxError("a host name needs a uts namespace of its own")
        yield namespaces.Names(spec.hostname, spec.domainname)
    if any(n.type == "network" for n in own):
        yield namespaces.LoopbackUp()


def _sysctls(linux: Linux) -> Iterator[Op]:
    """Only what belongs to a namespace of the container: anything else would be set for the host."""
    own = {n.type for n in linux.namespaces if not n.path}
    for name, value in sorted(linux.sysctl.items()):
        owner = next((kind for prefix, kind in SYSCTLS if name.replace("/", ".").startswith(prefix)), None)
        if owner not in own:
            raise SandboxError(f"the sysctl {name} belongs to no namespace of the container")
        yield namespaces.Sysctl(name, value)


def _process(spec: Process, *, read_only: bool, own_init: bool) -> Iterator[Op]:
    user, sets = spec.user, spec.capabilities or Capabilities()
    yield process.FreshKeyring()
    if spec.oom_score_adj is not None:
        yield process.OomScore(spec.oom_score_adj)
    for limit in spec.rlimits:
        yield process.Limit(limit.type, limit.soft, limit.hard)
    yield process.WorkDir(spec.cwd, user.uid, user.gid)
    if read_only:
        yield mounts.ReadOnlyRoot("/")
    yield process.Umask(0o022 if user.umask is None else user.umask)
    if user.uid != 0:
        yield process.OwnOutput(user.uid)
    yield command.Vet(spec.args, spec.env)
    yield process.Identity(
        user.uid,
        user.gid,
        user.additional_gids,
        bounding=sets.bounding,
        effective=sets.effective,
        permitted=sets.permitted,
        inheritable=sets.inheritable,
        ambient=sets.ambient,
    )
    yield process.DieWithParent()
    if spec.no_new_privileges:
        yield process.NoNewPrivileges()
    yield (command.Supervise if own_init else command.Execute)(spec.args, spec.env)
