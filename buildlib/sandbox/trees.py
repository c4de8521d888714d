"""From a mount of a runtime spec to the op that performs it. Pure."""

from __future__ import annotations

from buildlib.errors import SandboxError
from buildlib.linux.mount import ATTR_RDONLY
from buildlib.linux.options import parse
from buildlib.sandbox.ops import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.linux.options import Options
    from buildlib.oci.mount import Mount
    from buildlib.oci.runtime import IDMapping, Linux
    from buildlib.sandbox.op import Op

    Triples = tuple[tuple[int, int, int], ...]

DETACHED = "detached"
"""Our own type of mount: ``source`` is the number of a descriptor that holds a mount which is nowhere yet."""

_IDLE = frozenset(
    ("sync", "async", "dirsync", "mand", "nomand", "silent", "loud", "lazytime", "nolazytime", "iversion", "noiversion")
)
"""Options of a file system as a whole, which a bind can't change and which the spec allows all the same."""

_LABELLED = ("tmpfs", "devpts", "mqueue", "ramfs")


def bind_or_new(mount: Mount, rootfs: str, linux: Linux, *, make: bool) -> Op:
    """The op for ``mount``; with ``make`` its target is made where it is missing. Raises :class:`SandboxError`."""
    options = parse(mount.options)
    where = f"mounts ({mount.target}): "
    if not mount.target.strip("/"):
        raise SandboxError(f"{where}nothing can be mounted on the root")
    if mount.type == DETACHED:
        return mounts.MountDetached(rootfs, int(mount.source), mount.target, mount.options, make)
    if options.bind or mount.type == "bind":
        return _bind(mount, options, rootfs, linux, make=make)
    if options.idmap or mount.extra.get("uidMappings"):
        raise SandboxError(f"{where}only a bind can show owners as other ids")
    if options.copy_up and mount.type != "tmpfs":
        raise SandboxError(f"{where}tmpcopyup is for a tmpfs")
    words = _writable(mount.options) if sealed(mount) else mount.options
    if linux.mount_label and mount.type in _LABELLED:
        words = (*words, f'context="{linux.mount_label}"')
    return mounts.MountNew(rootfs, mount.type, mount.source, mount.target, words, make)


def sealed(mount: Mount) -> bool:
    """Whether it becomes read-only only when all is mounted: what lies in it has to be made first."""
    options = parse(mount.options)
    attributes = options.attributes | options.all_attributes
    return mount.type == "tmpfs" and not options.bind and bool(attributes & ATTR_RDONLY)


def _writable(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in ("ro", "rro"))


def _bind(mount: Mount, options: Options, rootfs: str, linux: Linux, *, make: bool) -> Op:
    where = f"mounts ({mount.target}): "
    unknown = [word for word in options.rest if word not in _IDLE and not word.startswith("x-")]
    if unknown or options.copy_up:
        raise SandboxError(f"{where}a bind has no option {unknown[0] if unknown else 'tmpcopyup'!r}")
    if not mount.source:
        raise SandboxError(f"{where}a bind needs a source")
    uids, gids = _maps(mount, options, linux)
    words = mount.options
    if (uids or gids) and not options.idmap:  # mappings alone ask for it as well (config.md, "mounts")
        words = (*words, "idmap")
    return mounts.MountBind(rootfs, mount.source, mount.target, words, make, uids, gids)


def _maps(mount: Mount, options: Options, linux: Linux) -> tuple[Triples, Triples]:
    """Those of the mount, else those of the container."""
    given = [
        tuple((int(m["containerID"]), int(m["hostID"]), int(m["size"])) for m in mount.extra.get(name) or ())
        for name in ("uidMappings", "gidMappings")
    ]
    if bool(given[0]) != bool(given[1]):
        raise SandboxError(f"mounts ({mount.target}): uidMappings and gidMappings need each other")
    if given[0] or not options.idmap:
        return given[0], given[1]
    if not linux.uid_mappings or not linux.gid_mappings:
        raise SandboxError(f"mounts ({mount.target}): {options.idmap} without mappings")
    return _triples(linux.uid_mappings), _triples(linux.gid_mappings)


def _triples(mappings: tuple[IDMapping, ...]) -> Triples:
    return tuple((m.container_id, m.host_id, m.size) for m in mappings)
