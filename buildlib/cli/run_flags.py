"""Flags of ``from``, ``run`` and ``build`` that say how commands are run, and what they mean to the library."""

from __future__ import annotations

import os

from buildlib.cli.flags import BOOL, EACH, LIST, NUMBER, Flag
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import RunOptions
    from buildlib.cli.flags import Arguments

SPACE = "host|private|ns:PATH"

NAMESPACE_FLAGS = (
    Flag("cgroupns", "cgroup namespace of commands", metavar="host|private"),
    Flag("ipc", "IPC namespace of commands", metavar=SPACE),
    Flag("network", "network of commands: host, none, private or ns:PATH", metavar="NETWORK"),
    Flag("pid", "pid namespace of commands", metavar=SPACE),
    Flag("uts", "UTS namespace of commands", metavar=SPACE),
)
RIGHTS_FLAGS = (
    Flag("cap-add", "a capability for commands", kind=LIST, metavar="CAP"),
    Flag("cap-drop", "take a capability away", kind=LIST, metavar="CAP"),
    Flag("device", "a device of the host, HOST[:CONTAINER[:rwm]], or the name of one by CDI", kind=EACH,
         metavar="DEVICE"),
)  # fmt: skip
LIMIT_FLAGS = (
    Flag("add-host", "a line of /etc/hosts, NAME:IP; the address may be host-gateway", kind=EACH, metavar="NAME:IP"),
    Flag("cgroup-parent", "cgroup that the cgroup of a command is made in", metavar="PATH"),
    Flag("cpu-period", "period of the CPU quota", kind=NUMBER, metavar="MICROSECONDS"),
    Flag("cpu-quota", "CPU time in each period", kind=NUMBER, metavar="MICROSECONDS"),
    Flag("cpu-shares", "share of the CPU against others", short="c", kind=NUMBER, metavar="WEIGHT"),
    Flag("cpuset-cpus", "CPUs to run on, like 0-3 or 0,1", metavar="CPUS"),
    Flag("cpuset-mems", "memory nodes to use", metavar="NODES"),
    Flag("dns", "a DNS server, instead of the host's; none leaves resolv.conf alone", kind=LIST, metavar="IP"),
    Flag("dns-option", "an option of resolv.conf", kind=LIST, metavar="OPTION"),
    Flag("dns-search", "a domain to search names in", kind=LIST, metavar="DOMAIN"),
    Flag("group-add", "one more group of the user; keep-groups for all of the caller", kind=LIST, metavar="GROUP"),
    Flag("http-proxy", "hand the proxy variables of the host to commands", kind=BOOL, default=True),
    Flag("memory", "limit of the memory, like 512m", short="m", metavar="SIZE"),
    Flag("memory-swap", "limit of memory and swap together; -1 for none", metavar="SIZE"),
    Flag("no-hostname", "leave /etc/hostname as it is", kind=BOOL),
    Flag("no-hosts", "leave /etc/hosts as it is", kind=BOOL),
    Flag("security-opt", "seccomp=FILE|unconfined, apparmor=NAME, no-new-privileges, mask=PATH, unmask=PATH|ALL, "
         "label=…", kind=EACH, metavar="OPTION"),
    Flag("shm-size", "size of /dev/shm, like 64m", metavar="SIZE"),
    Flag("ulimit", "a limit of setrlimit, NAME=SOFT[:HARD]", kind=LIST, metavar="LIMIT"),
    Flag("userns", "user namespace of commands", metavar=SPACE),
    Flag("userns-gid-map", "gids of the user namespace", kind=EACH, metavar="INSIDE:OUTSIDE:COUNT"),
    Flag("userns-gid-map-group", "the gids that /etc/subgid gives to this name", metavar="NAME"),
    Flag("userns-uid-map", "uids of the user namespace", kind=EACH, metavar="INSIDE:OUTSIDE:COUNT"),
    Flag("userns-uid-map-user", "the uids that /etc/subuid gives to this name", metavar="NAME"),
)  # fmt: skip

_SAME = (
    "cap_add", "cap_drop", "cgroup_parent", "cpu_period", "cpu_quota", "cpu_shares", "cpuset_cpus", "cpuset_mems",
    "dns", "dns_search", "group_add", "isolation", "no_hosts", "no_hostname",
)  # fmt: skip
_OTHER = {
    "add_host": "add_hosts",
    "device": "devices",
    "dns_option": "dns_options",
    "security_opt": "security",
    "ulimit": "ulimits",
}
_SIZES = ("memory", "memory_swap", "shm_size")
_SPACES = ("cgroupns", "ipc", "network", "pid", "userns", "uts")
_KINDS = ("", "chroot", "default", "oci", "rootless")


def run_options(args: Arguments, **more: Any) -> RunOptions | None:
    """What the flags say, with what ``more`` says; None where that is nothing. Raises :class:`UsageError`."""
    values = args.values
    given: dict[str, Any] = {name: values.get(name) for name in _SAME}
    given.update({name: values.get(key) for key, name in _OTHER.items()})
    given.update({name: size(values[name], name) for name in _SIZES if values.get(name)})
    given.update({name: namespace(values.get(name) or "") for name in _SPACES})
    given["uid_map"] = _mapping(args, "uid")
    given["gid_map"] = _mapping(args, "gid")
    given["volumes"] = tuple(volume(text) for text in values.get("volume") or ())
    given["no_proxy"] = values.get("http_proxy") is False
    given.update(more)
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value}
    kind = given.get("isolation", "")
    if kind not in _KINDS:
        raise UsageError(f'unrecognized isolation type "{kind}"', hint="there are oci, rootless and chroot")
    if not given:
        return None
    _refuse(given)
    from buildlib import RunOptions

    return RunOptions(**given)


def _refuse(given: dict[str, Any]) -> None:
    """What the sandbox can't do yet is said at once, and not by a command that can't open its files."""
    maps = (*given.get("uid_map", ()), *given.get("gid_map", ()))
    if any(word.split(":")[0] != word.split(":")[1] for word in maps if word.count(":") == 2):
        hint = "--userns private, or a mapping of ids to themselves, can be had"
        raise UsageError("a user namespace with other ids than the host's is not supported yet", hint=hint)


def namespace(word: str) -> str:
    """``host``, ``private``, ``none`` or ``ns:PATH``, from any of buildah's words."""
    if word.startswith("/"):
        return f"ns:{word}"
    return {"container": "private", "": "", "default": "", "bridge": "private", "slirp4netns": "private",
            "pasta": "private"}.get(word, word)  # fmt: skip


def size(text: str, flag: str) -> int:
    """Bytes in ``64m``, ``1g``, ``512`` (powers of 1024, as buildah has them); -1 for no limit."""
    number = text.lower().removesuffix("b").removesuffix("i")
    if text == "-1":
        return -1
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}.get(number[-1:], 1)
    try:
        value = float(number if factor == 1 else number[:-1])
    except ValueError:
        value = -1
    if value < 0:
        name = flag.replace("_", "-")
        raise UsageError(f'invalid value "{text}" for --{name}', hint="write it as 64m or 1g")
    return int(value * factor)


def volume(text: str) -> tuple[str, str, bool]:
    """Source, target and whether it is read-only, of ``SOURCE:TARGET[:OPTIONS]``."""
    from buildlib import parse_volume

    bind = parse_volume(text)
    return bind.source, bind.target, not bind.keep


def proxies() -> dict[str, str]:
    """The proxy variables of this process, which commands get unless that is switched off."""
    names = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
    return {name: os.environ[name] for each in names for name in (each, each.upper()) if os.environ.get(name)}


def _mapping(args: Arguments, kind: str) -> tuple[str, ...]:
    who = "user" if kind == "uid" else "group"
    name = args.values.get(f"userns_{kind}_map_{who}")
    words = tuple(args.values.get(f"userns_{kind}_map") or ())
    if name is None:
        return words
    if words:
        raise UsageError(f"--userns-{kind}-map and --userns-{kind}-map-{who} may not be used together")
    return _subordinate(f"/etc/sub{kind}", name)


def _subordinate(path: str, name: str) -> tuple[str, ...]:
    found, inside = [], 0
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                owner, _, rest = line.strip().partition(":")
                first, _, count = rest.partition(":")
                if owner == name:
                    found.append(f"{inside}:{first}:{count}")
                    inside += int(count)
    except (OSError, ValueError) as error:
        raise UsageError(f"reading {path}: {error}") from None
    if not found:
        raise UsageError(f"{path} gives no ids to {name}")
    return tuple(found)
