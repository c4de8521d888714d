"""What a spec has to do without in a user namespace of an ordinary user, and what takes its place. Pure.

The kernel's rules (user_namespaces(7)): a file system that shows a namespace can be mounted only by whom that belongs
to (sysfs: network, proc: pid, mqueue: ipc), and a mount option can only name ids that are mapped. Device nodes are no
matter of the spec: :mod:`~buildlib.sandbox.ops.devices`.
"""

from __future__ import annotations

from buildlib.oci.mount import Mount
from buildlib.oci.runtime import Linux
from buildlib.oci.value import evolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.oci.runtime import RuntimeSpec


def adapt(spec: RuntimeSpec, *, single: bool = False, shut_in: bool = True) -> RuntimeSpec:
    """``spec`` as it can be had without root.

    ``single``: with no more than one id. Without ``shut_in`` the namespaces are those around it.
    """
    linux = spec.linux or Linux()
    foreign = {"sysfs": "/sys", "proc": "/proc"}
    if shut_in:
        foreign.pop("proc")
    if any(n.type == "network" and not n.path for n in linux.namespaces):
        foreign.pop("sysfs")
    mounts = (mount for mount in spec.mounts if shut_in or mount.type != "mqueue")
    return evolve(spec, mounts=tuple(_adapted(mount, foreign, single) for mount in mounts))


def _adapted(mount: Mount, foreign: dict[str, str], single: bool) -> Mount:
    if mount.type in foreign:
        return Mount("bind", foreign[mount.type], mount.target, ("rbind", *mount.options))
    if single:
        options = tuple(option for option in mount.options if not option.startswith(("gid=", "uid=")))
        return Mount(mount.type, mount.source, mount.target, options)
    return mount
