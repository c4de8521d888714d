"""What a spec has to do without in a user namespace of an ordinary user, and what takes its place. Pure.

The kernel's rules (user_namespaces(7)): sysfs can be mounted only by whom the network namespace belongs to, a mount
option can only name ids that are mapped. Device nodes are no matter of the spec: :mod:`~buildlib.sandbox.ops.devices`.
"""

from __future__ import annotations

from buildlib.oci.mount import Mount
from buildlib.oci.runtime import Linux
from buildlib.oci.value import evolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.oci.runtime import RuntimeSpec


def adapt(spec: RuntimeSpec, *, single: bool = False) -> RuntimeSpec:
    """``spec`` as it can be had without root; ``single``: with no more than one id."""
    linux = spec.linux or Linux()
    own_network = any(n.type == "network" and not n.path for n in linux.namespaces)
    return evolve(spec, mounts=tuple(_adapted(mount, own_network, single) for mount in spec.mounts))


def _adapted(mount: Mount, own_network: bool, single: bool) -> Mount:
    if mount.type == "sysfs" and not own_network:
        return Mount("bind", "/sys", mount.target, ("rbind", *mount.options))
    if single:
        options = tuple(option for option in mount.options if not option.startswith(("gid=", "uid=")))
        return Mount(mount.type, mount.source, mount.target, options)
    return mount
