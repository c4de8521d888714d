"""The runtime spec (config.json of an OCI bundle), as far as a sandbox looks into it; the rest is carried along."""

from __future__ import annotations

from buildlib.oci import document
from buildlib.oci.document import (
    ALWAYS,
    BOOLEAN,
    INTEGER,
    INTEGERS,
    NULLABLE,
    OBJECT,
    REQUIRED,
    TEXT,
    TEXT_MAP,
    TEXTS,
    Field,
    Kind,
    many,
    one,
)
from buildlib.oci.mount import Mount
from buildlib.oci.value import field, frozen

MOUNTS = Kind(
    lambda value, where: tuple(Mount.from_dict(x, f"{where}[{i}]") for i, x in enumerate(document.array(value, where))),
    lambda held: [mount.to_dict() for mount in held],
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@frozen
class User:
    """Numeric ids; names are resolved by whoever makes the spec."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("uid", "uid", INTEGER, ALWAYS),
        Field("gid", "gid", INTEGER, ALWAYS),
        Field("umask", "umask", INTEGER, NULLABLE),
        Field("additionalGids", "additional_gids", INTEGERS),
    )


@frozen
class Capabilities:
    """Five sets of names like ``CAP_CHOWN``."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = tuple(Field(n, n, TEXTS) for n in ("bounding", "effective", "inheritable", "permitted", "ambient"))


@frozen
class Rlimit:
    """A resource limit, ``type`` like ``RLIMIT_NOFILE``; 2**64 - 1 means no limit."""

    type: str
    hard: int
    soft: int
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("type", "type", TEXT, REQUIRED),
        Field("hard", "hard", INTEGER, REQUIRED),
        Field("soft", "soft", INTEGER, REQUIRED),
    )


@frozen
class Process:
    """What is executed: ``args`` by execve in ``cwd`` with exactly ``env``.

    ``scheduler``, ``io_priority`` and ``exec_cpu_affinity`` are the spec's own JSON objects.
    """

    args: tuple[str, ...] = ()
    cwd: str = "/"
    env: tuple[str, ...] = ()
    user: User = field(factory=User)
    terminal: bool = False
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""
    scheduler: dict[str, Any] | None = field(default=None, hash=False)
    io_priority: dict[str, Any] | None = field(default=None, hash=False)
    exec_cpu_affinity: dict[str, Any] | None = field(default=None, hash=False)
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("terminal", "terminal", BOOLEAN),
        Field("user", "user", one(User), ALWAYS),
        Field("args", "args", TEXTS),
        Field("env", "env", TEXTS),
        Field("cwd", "cwd", TEXT, ALWAYS),
        Field("capabilities", "capabilities", one(Capabilities)),
        Field("rlimits", "rlimits", many(Rlimit)),
        Field("noNewPrivileges", "no_new_privileges", BOOLEAN),
        Field("oomScoreAdj", "oom_score_adj", INTEGER, NULLABLE),
        Field("apparmorProfile", "apparmor_profile", TEXT),
        Field("selinuxLabel", "selinux_label", TEXT),
        Field("scheduler", "scheduler", OBJECT, NULLABLE),
        Field("ioPriority", "io_priority", OBJECT, NULLABLE),
        Field("execCPUAffinity", "exec_cpu_affinity", OBJECT, NULLABLE),
    )


@frozen
class Root:
    """The root file system; ``path`` is relative to the bundle or absolute."""

    path: str = "rootfs"
    readonly: bool = False
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (Field("path", "path", TEXT, REQUIRED), Field("readonly", "readonly", BOOLEAN))


@frozen
class Namespace:
    """A namespace of its own, or the one that ``path`` names. Types: mount pid ipc uts network user cgroup time."""

    type: str
    path: str = ""
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (Field("type", "type", TEXT, REQUIRED), Field("path", "path", TEXT))


@frozen
class IDMapping:
    """``size`` ids from ``container_id`` on are those from ``host_id`` on outside."""

    container_id: int
    host_id: int
    size: int
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("containerID", "container_id", INTEGER, REQUIRED),
        Field("hostID", "host_id", INTEGER, REQUIRED),
        Field("size", "size", INTEGER, REQUIRED),
    )


@frozen
class Device:
    """A device node; ``type`` is c, b, u or p."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("path", "path", TEXT, REQUIRED),
        Field("type", "type", TEXT, REQUIRED),
        Field("major", "major", INTEGER, ALWAYS),
        Field("minor", "minor", INTEGER, ALWAYS),
        Field("fileMode", "file_mode", INTEGER, NULLABLE),
        Field("uid", "uid", INTEGER, NULLABLE),
        Field("gid", "gid", INTEGER, NULLABLE),
    )


@frozen
class Linux:
    """What only Linux has.

    ``resources``, ``seccomp``, ``time_offsets`` and ``personality`` are the spec's own JSON objects.
    """

    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    sysctl: dict[str, str] = field(factory=dict, hash=False)
    resources: dict[str, Any] | None = field(default=None, hash=False)
    cgroups_path: str = ""
    namespaces: tuple[Namespace, ...] = ()
    devices: tuple[Device, ...] = ()
    seccomp: dict[str, Any] | None = field(default=None, hash=False)
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    personality: dict[str, Any] | None = field(default=None, hash=False)
    time_offsets: dict[str, Any] | None = field(default=None, hash=False)
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("uidMappings", "uid_mappings", many(IDMapping)),
        Field("gidMappings", "gid_mappings", many(IDMapping)),
        Field("sysctl", "sysctl", TEXT_MAP),
        Field("resources", "resources", OBJECT, NULLABLE),
        Field("cgroupsPath", "cgroups_path", TEXT),
        Field("namespaces", "namespaces", many(Namespace)),
        Field("devices", "devices", many(Device)),
        Field("seccomp", "seccomp", OBJECT, NULLABLE),
        Field("rootfsPropagation", "rootfs_propagation", TEXT),
        Field("maskedPaths", "masked_paths", TEXTS),
        Field("readonlyPaths", "readonly_paths", TEXTS),
        Field("mountLabel", "mount_label", TEXT),
        Field("personality", "personality", OBJECT, NULLABLE),
        Field("timeOffsets", "time_offsets", OBJECT, NULLABLE),
    )


@frozen
class RuntimeSpec:
    """A container to be run (runtime-spec 1.2, config.md). ``hooks`` are the spec's own JSON object."""

    process: Process | None = None
    root: Root | None = None
    mounts: tuple[Mount, ...] = ()
    hostname: str = ""
    domainname: str = ""
    linux: Linux | None = None
    hooks: dict[str, Any] | None = field(default=None, hash=False)
    annotations: dict[str, str] = field(factory=dict, hash=False)
    oci_version: str = "1.2.0"
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("ociVersion", "oci_version", TEXT, ALWAYS),
        Field("process", "process", one(Process)),
        Field("root", "root", one(Root)),
        Field("hostname", "hostname", TEXT),
        Field("domainname", "domainname", TEXT),
        Field("mounts", "mounts", MOUNTS),
        Field("hooks", "hooks", OBJECT, NULLABLE),
        Field("annotations", "annotations", TEXT_MAP),
        Field("linux", "linux", one(Linux)),
    )

    @classmethod
    def from_dict(cls, value: object) -> RuntimeSpec:
        """From the object of a config.json; raises :class:`FormatError` that names the wrong field."""
        return document.read(cls, value, "config.json")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON has it: it can be sent to another process."""
        return document.write(self)
