"""How commands are run in a working container, beyond what the image's config says: a value that the container keeps.

Buildah's ``from`` takes these settings for all later runs, its ``run`` some for one. :func:`shape` puts them into the
runtime spec; whether the kernel lets the sandbox do what the spec asks for is found out there. Pure, but for a profile
of seccomp that lies in a file.
"""

from __future__ import annotations

from buildlib.errors import UsageError
from buildlib.oci.value import evolve, fields, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildlib.oci.runtime import Linux, Process, RuntimeSpec

NAMESPACES = {"ipc": "ipc", "pid": "pid", "uts": "uts", "cgroupns": "cgroup", "userns": "user"}
"""Fields for kinds of namespaces, and what the runtime spec calls those."""

LIMITS = frozenset(
    (
        "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
        "rtprio", "rttime", "sigpending", "stack",
    )
)  # fmt: skip
"""What setrlimit(2) limits."""

UNLIMITED = (1 << 64) - 1


@frozen
class RunOptions:
    """Settings of runs. An empty value leaves a setting as it is by default.

    ``network``, ``ipc``, ``pid``, ``uts``, ``cgroupns`` and ``userns``: "host", "private", "none" (of the network), or
    ``ns:PATH`` of a namespace to join. ``uid_map`` and ``gid_map``: ``container:host:length``. ``add_hosts``:
    ``NAME:IP``. ``dns``: servers, or "none" for no resolv.conf of ours. ``ulimits``: ``NAME=SOFT[:HARD]``, -1 for
    unlimited. ``memory``, ``memory_swap`` and ``shm_size`` in bytes. ``cpu_period`` and ``cpu_quota`` in microseconds.
    ``security``: ``seccomp=unconfined|FILE``, ``apparmor=NAME``, ``label=…``, ``no-new-privileges``,
    ``mask=PATH[:PATH]``, ``unmask=ALL|PATH[:PATH]``. ``group_add``: more groups of the user, looked up in the
    container. ``volumes``: folders of the host, ``(source, target, read only)``. Raises :class:`UsageError`.
    """

    network: str = ""
    ipc: str = ""
    pid: str = ""
    uts: str = ""
    cgroupns: str = ""
    userns: str = ""
    uid_map: tuple[str, ...] = ()
    gid_map: tuple[str, ...] = ()
    isolation: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    cdi_folders: tuple[str, ...] = ()
    """Where CDI specifications lie, instead of the usual folders."""
    group_add: tuple[str, ...] = ()
    add_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    no_hosts: bool = False
    no_hostname: bool = False
    ulimits: tuple[str, ...] = ()
    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    shm_size: int = 0
    security: tuple[str, ...] = ()
    volumes: tuple[tuple[str, str, bool], ...] = ()
    no_proxy: bool = False
    """The proxy variables of the host are not for its commands; heeded by whoever reads the environment."""

    def __attrs_post_init__(self) -> None:
        check(self)

    def over(self, other: RunOptions) -> RunOptions:
        """``other`` with these settings on top: lists are joined, all else is replaced where it is set here."""
        changes: dict[str, Any] = {}
        for name, value in self.given().items():
            changes[name] = (*getattr(other, name), *value) if isinstance(value, tuple) else value
        return evolve(other, **changes) if changes else other

    def given(self) -> dict[str, Any]:
        """The settings that are not empty."""
        return {name: value for name in _NAMES if (value := getattr(self, name))}

    @classmethod
    def of(cls, given: dict[str, Any]) -> RunOptions:
        """The inverse of :meth:`given`, also after JSON."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        if "volumes" in values:
            values["volumes"] = tuple((source, target, read_only) for source, target, read_only in values["volumes"])
        return cls(**values)

    @property
    def decisive(self) -> dict[str, Any]:
        """What of it can matter to what a command makes, and so is part of its key: no limits of time and memory."""
        return {name: value for name, value in self.given().items() if name not in _INDIFFERENT}


_NAMES = tuple(each.name for each in fields(RunOptions))
_INDIFFERENT = frozenset(
    (
        "memory", "memory_swap", "cpu_shares", "cpu_period", "cpu_quota", "cpuset_cpus", "cpuset_mems", "cgroup_parent",
        "isolation", "volumes", "no_proxy", "network", "cap_add", "cap_drop", "devices",
        "cdi_folders",
    )
)  # fmt: skip
"""Limits; and what the key of a run has in its own words."""


def check(options: RunOptions) -> None:
    """Raise :class:`UsageError` for what can't be meant."""
    for name in ("network", *NAMESPACES):
        word = getattr(options, name)
        known = ("", "host", "private", "none") if name == "network" else ("", "host", "private")
        if word not in known and not word.startswith("ns:/"):
            raise UsageError(f'there is no {name} "{word}"', hint=f"it is {', '.join(known[1:])} or ns:PATH")
    for text in options.ulimits:
        ulimit(text)
    for text in options.add_hosts:
        host_line(text, "127.0.0.1")
    for text in (*options.uid_map, *options.gid_map):
        mapping(text)
    if 0 < options.memory_swap < options.memory:
        raise UsageError("the limit of memory and swap is below that of memory alone")


def ulimit(text: str) -> tuple[str, int, int]:
    """Name, soft and hard limit of ``nofile=1024:2048``."""
    name, equals, rest = text.partition("=")
    soft, colon, hard = rest.partition(":")
    name = name.lower().removeprefix("rlimit_")
    try:
        low = int(soft)
        high = int(hard) if colon else low
    except ValueError:
        equals = ""
    if not equals or name not in LIMITS:
        raise UsageError(f'invalid ulimit "{text}"', hint="write it as nofile=1024:2048; names are those of setrlimit")
    if high != -1 and (low > high or low == -1):
        raise UsageError(f'invalid ulimit "{text}": the soft limit must not be above the hard one')
    return name, UNLIMITED if low == -1 else low, UNLIMITED if high == -1 else high


def host_line(text: str, gateway: str) -> str:
    """The line of /etc/hosts for ``name[;name…]:ip``; the address ``host-gateway`` is ``gateway``."""
    names, _, address = text.partition(":")
    address = gateway if address == "host-gateway" else address.strip("[]")
    import ipaddress

    try:
        ipaddress.ip_address(address)
    except ValueError:
        names = ""
    if not names or any(letter.isspace() for letter in names):
        raise UsageError(f'unable to add host "{text}"', hint="write it as name:address")
    return f"{address}\t{' '.join(names.split(';'))}"


def mapping(text: str) -> tuple[int, int, int]:
    """The three numbers of ``container:host:length``."""
    try:
        inside, outside, length = (int(part) for part in text.split(":"))
    except ValueError:
        raise UsageError(f'invalid mapping "{text}"', hint="write it as container:host:length") from None
    return inside, outside, length


# --- the spec ---------------------------------------------------------------------------------------------------------


def shape(spec: RuntimeSpec, options: RunOptions, network: str = "") -> RuntimeSpec:
    """The spec with these settings, and in the network ``ns:PATH``; other networks, capabilities, devices and volumes
    are in it already.

    Raises :class:`UsageError`, :class:`FormatError` for a damaged seccomp profile.
    """
    process, linux = spec.process, spec.linux
    assert process is not None and linux is not None  # default_spec makes both
    mounts = spec.mounts
    if options.shm_size:
        mounts = tuple(_sized(mount, options.shm_size) if mount.target == "/dev/shm" else mount for mount in mounts)  # noqa: S108
    linux = _divided(_rationed(linux, options), options, network)
    process, linux = _secured(_limited(process, options), linux, options)
    hostname = "" if options.uts == "host" else spec.hostname
    return evolve(spec, process=process, linux=linux, mounts=mounts, hostname=hostname)


def _sized(mount: Any, size: int) -> Any:
    return evolve(mount, options=(*(word for word in mount.options if not word.startswith("size=")), f"size={size}"))


def _limited(process: Process, options: RunOptions) -> Process:
    from buildlib.oci.runtime import Rlimit

    limits = {name: Rlimit(f"RLIMIT_{name.upper()}", hard, soft) for name, soft, hard in map(ulimit, options.ulimits)}
    return evolve(process, rlimits=(*process.rlimits, *limits.values())) if limits else process


def _rationed(linux: Linux, options: RunOptions) -> Linux:
    memory = {"limit": options.memory, "swap": options.memory_swap}
    cpu = {
        "shares": options.cpu_shares, "quota": options.cpu_quota, "period": options.cpu_period,
        "cpus": options.cpuset_cpus, "mems": options.cpuset_mems,
    }  # fmt: skip
    resources: dict[str, Any] = dict(linux.resources or {})
    for name, values in (("memory", memory), ("cpu", cpu)):
        given = {key: value for key, value in values.items() if value}
        if given:
            resources[name] = given
    return evolve(linux, resources=resources or None, cgroups_path=options.cgroup_parent or linux.cgroups_path)


def _divided(linux: Linux, options: RunOptions, network: str) -> Linux:
    """Namespaces as asked for."""
    from buildlib.oci.runtime import IDMapping, Namespace

    spaces = {space.type: space for space in linux.namespaces}
    if network.startswith("ns:"):
        spaces["network"] = Namespace("network", network.removeprefix("ns:"))
    for name, kind in NAMESPACES.items():
        word = getattr(options, name)
        if word == "host":
            spaces.pop(kind, None)
        elif word:
            spaces[kind] = Namespace(kind, word.removeprefix("ns:") if word.startswith("ns:") else "")
    uids, gids = ([IDMapping(*mapping(text)) for text in texts] for texts in (options.uid_map, options.gid_map))
    if uids or gids:
        spaces.setdefault("user", Namespace("user"))
    if "user" in spaces and not spaces["user"].path:
        uids = uids or gids or [IDMapping(0, 0, 65536)]
        return evolve(
            linux, namespaces=tuple(spaces.values()), uid_mappings=tuple(uids), gid_mappings=tuple(gids or uids)
        )
    return evolve(linux, namespaces=tuple(spaces.values()))


def _secured(process: Process, linux: Linux, options: RunOptions) -> tuple[Process, Linux]:
    for text in options.security:
        name, _, value = text.replace(":", "=", 1).partition("=") if "=" not in text else text.partition("=")
        if name == "no-new-privileges":
            process = evolve(process, no_new_privileges=value in ("", "true"))
        elif name == "seccomp" and value:
            linux = evolve(linux, seccomp=None if value == "unconfined" else _profile(value))
        elif name == "apparmor" and value:
            process = evolve(process, extra={**process.extra, "apparmorProfile": value})
        elif name == "label" and value:
            pass  # SELinux: there are no labels here that could be changed
        elif name == "mask" and value:
            linux = evolve(linux, masked_paths=(*linux.masked_paths, *value.split(":")))
        elif (name, value) == ("systempaths", "unconfined") or (name == "unmask" and value):
            linux = _unmasked(linux, ["ALL"] if name == "systempaths" else value.split(":"))
        else:
            raise UsageError(f'invalid security option "{text}"', hint="there are seccomp, apparmor, label, mask …")
    return process, linux


def _unmasked(linux: Linux, paths: Sequence[str]) -> Linux:
    from fnmatch import fnmatchcase

    def left(old: Sequence[str]) -> tuple[str, ...]:
        return tuple(each for each in old if not any(p == "ALL" or fnmatchcase(each, p) for p in paths))

    return evolve(linux, masked_paths=left(linux.masked_paths), readonly_paths=left(linux.readonly_paths))


def _profile(path: str) -> dict[str, Any]:
    import json

    from buildlib.errors import FormatError

    try:
        with open(path, encoding="utf-8") as file:
            profile = json.load(file)
    except OSError as error:
        raise UsageError(f"opening the seccomp profile {path}: {error.strerror}") from error
    except ValueError as error:
        raise FormatError(f"the seccomp profile {path} is no JSON: {error}") from error
    if not isinstance(profile, dict):
        raise FormatError(f"the seccomp profile {path} is no JSON object")
    return profile
