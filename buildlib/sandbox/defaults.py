"""What a command gets when nobody says otherwise: the spec that docker would make, without its quirks. Pure."""

from __future__ import annotations

from buildlib.errors import UsageError
from buildlib.oci.mount import Mount
from buildlib.oci.runtime import Capabilities, Device, Linux, Namespace, Process, Root, RuntimeSpec, User
from buildlib.sandbox.seccomp import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildlib.oci.runtime import Rlimit

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
"""The eleven that buildah gives a RUN: docker's without MKNOD, NET_RAW and AUDIT_WRITE."""

MOUNTS = (
    Mount("proc", "proc", "/proc", ("nosuid", "noexec", "nodev")),
    Mount("tmpfs", "tmpfs", "/dev", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    Mount("devpts", "devpts", "/dev/pts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    Mount("tmpfs", "shm", "/dev/shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),  # noqa: S108
    Mount("mqueue", "mqueue", "/dev/mqueue", ("nosuid", "noexec", "nodev")),
    Mount("sysfs", "sysfs", "/sys", ("nosuid", "noexec", "nodev", "ro")),
)

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
"""Those of podman, and /proc/asound, which docker hides and podman makes read-only."""
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

DEVICES = tuple(
    Device(f"/dev/{name}", "c", major, minor, 0o666)
    for name, major, minor in (
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    )
)
"""Those that the runtime spec demands in every container (config-linux.md, "Default Devices")."""

DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
)

NAMESPACES = ("mount", "pid", "ipc", "uts", "cgroup")


def default_spec(
    args: Sequence[str] = (),
    *,
    env: Iterable[str] = (),
    cwd: str = "/",
    user: User | None = None,
    hostname: str = "",
    network: str = "host",
    cap_add: Iterable[str] = (),
    cap_drop: Iterable[str] = (),
    no_new_privileges: bool = False,
    rlimits: Iterable[Rlimit] = (),
    mounts: Iterable[Mount] = (),
    readonly: bool = False,
    insecure: bool = False,
    devices: Iterable[Device] = (),
) -> RuntimeSpec:
    """The spec of a command in a sandbox. ``env`` are words "K=V"; ``mounts`` come after the usual ones.

    ``network`` is "host" (share the host's) or "none" (only loopback). Capabilities are named "CAP_CHOWN" or "chown";
    "all" means every one. ``insecure`` gives all of them, hides nothing of /proc and /sys and filters no system calls;
    ``devices`` are those beyond the usual ones. Raises :class:`UsageError` for a network or capability that there is
    not.
    """
    if network not in ("host", "none"):
        raise UsageError(f"network is {network!r}; it can be host or none")
    given = capabilities(("all",) if insecure else cap_add, cap_drop)
    types = NAMESPACES if network == "host" else (*NAMESPACES, "network")
    return RuntimeSpec(
        process=Process(
            args=tuple(args),
            cwd=cwd,
            env=tuple(env),
            user=user or User(umask=0o022),
            capabilities=Capabilities(bounding=given, effective=given, permitted=given),
            rlimits=tuple(rlimits),
            no_new_privileges=no_new_privileges,
        ),
        root=Root(readonly=readonly),
        mounts=(*(MOUNTS if not insecure else _writable(MOUNTS)), *mounts),
        hostname=hostname,
        linux=Linux(
            namespaces=tuple(Namespace(name) for name in types),
            devices=tuple(devices),
            masked_paths=() if insecure else MASKED_PATHS,
            readonly_paths=() if insecure else READONLY_PATHS,
            seccomp=None if insecure else DEFAULT,
        ),
    )


def _writable(mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    return tuple(Mount(m.type, m.source, m.target, tuple(o for o in m.options if o != "ro")) for m in mounts)


def capabilities(add: Iterable[str] = (), drop: Iterable[str] = ()) -> tuple[str, ...]:
    """The default set, changed: first everything is added, then dropped, as ``docker run`` does it."""
    add, drop = tuple(add), tuple(drop)
    if not add and not drop:
        return tuple(sorted(CAPABILITIES))
    from buildlib.linux.caps import NAMES

    def full(words: Iterable[str]) -> set[str]:
        names = {word.upper() if word.upper().startswith("CAP_") else f"CAP_{word.upper()}" for word in words}
        if "CAP_ALL" in names:
            return set(NAMES)
        unknown = names - set(NAMES)
        if unknown:
            raise UsageError(f"there is no capability {min(unknown)}")
        return names

    added, dropped = full(add), full(drop)
    # "drop all, add these" keeps what was asked for by name.
    base = set() if dropped == set(NAMES) else set(CAPABILITIES) - dropped
    return tuple(sorted(base | (added if dropped == set(NAMES) else added - dropped)))
