"""Files that every command finds and no layer gets: /etc/hosts, /etc/hostname, /etc/resolv.conf, /run/.containerenv."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildlib.container import WorkingContainer
    from buildlib.container.run_options import RunOptions

RESOLVER = "/etc/resolv.conf"
PUBLIC = ("8.8.8.8", "8.8.4.4")
FORWARDER = "10.0.2.3"
"""Where pasta and slirp4netns answer for the host's resolver; see :mod:`buildlib.worker.running.userspace`."""


def synthetic_files(
    container: WorkingContainer, hostname: str, options: RunOptions | None, network: str = "host"
) -> dict[str, str]:
    """Their texts by path. The host's own /etc/hosts would make builds differ by machine."""
    files = {"/run/.containerenv": _about(container)}
    resolver = host_resolver()
    if network == "private" or network.startswith("ns:"):
        forwarder = FORWARDER if network == "private" and container.store.tier.tier.ids != "host" else ""
        resolver = reachable(resolver, _behind_resolved, forwarder=forwarder)
    if options is None:
        return {**files, "/etc/hosts": _hosts(hostname), "/etc/hostname": f"{hostname}\n", RESOLVER: resolver}
    if not options.no_hosts:
        files["/etc/hosts"] = _hosts(hostname, options.add_hosts)
    if not options.no_hostname:
        files["/etc/hostname"] = f"{hostname}\n"
    if options.dns != ("none",):
        files[RESOLVER] = _resolver(resolver, options)
    return files


def _hosts(hostname: str, more: tuple[str, ...] = ()) -> str:
    text = f"127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    if not more:
        return text
    from buildlib.container.run_options import host_line

    gateway = _own_address() if any(line.endswith(":host-gateway") for line in more) else ""
    return text + "".join(f"{host_line(line, gateway)}\n" for line in more)


def _own_address() -> str:
    """This machine's address in its network, as it would speak to the world from; nothing is sent."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def host_resolver(path: str = RESOLVER) -> str:
    """The host's own resolv.conf; nothing if there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _behind_resolved() -> str:
    """The servers that systemd-resolved asks, for whom it is itself out of reach (systemd-resolved.service(8))."""
    return host_resolver("/run/systemd/resolve/resolv.conf")


def reachable(text: str, behind: Callable[[], str], *, forwarder: str = "") -> str:
    """``text`` of a resolv.conf for another network, where servers on the host's loopback can't be asked.

    In their place come ``forwarder``, which asks them, or if none is left those of ``behind``, and at last the public
    ones that podman takes.
    """
    lines = text.splitlines()
    kept = [line for line in lines if not _is_loopback(line)]
    if len(kept) == len(lines):
        return text
    if forwarder:
        kept.insert(0, f"nameserver {forwarder}")
    elif not any(line.startswith("nameserver") for line in kept):
        found = [line for line in behind().splitlines() if line.startswith("nameserver") and not _is_loopback(line)]
        kept += found or [f"nameserver {address}" for address in PUBLIC]
    return "".join(f"{line}\n" for line in kept)


def _is_loopback(line: str) -> bool:
    words = line.split()
    return words[:1] == ["nameserver"] and len(words) > 1 and (words[1].startswith("127.") or words[1] == "::1")


def _resolver(text: str, options: RunOptions) -> str:
    """The host's resolv.conf, with what is given instead of the same kind of lines (resolv.conf(5))."""
    if not (options.dns or options.dns_search or options.dns_options):
        return text
    given = {
        "nameserver": [f"nameserver {server}" for server in options.dns],
        # A dot stands for no domain at all.
        "search": [f"search {' '.join(options.dns_search)}"] if options.dns_search else [],
        "options": [f"options {' '.join(options.dns_options)}"] if options.dns_options else [],
    }
    replaced = {kind for kind, lines in given.items() if lines}
    kept = [line for line in text.splitlines() if line.split(None, 1)[:1] and line.split(None, 1)[0] not in replaced]
    return "".join(f"{line}\n" for line in [*(line for lines in given.values() for line in lines), *kept])


def _about(container: WorkingContainer) -> str:
    """What podman-run(1) has in it. Of a container whose calls are memoised only what does not differ each time."""
    if container.state.cache:
        return 'engine="buildlib"\n'
    import os

    fields = {
        "name": container.name,
        "id": container.id,
        "image": container.image_name,
        "imageid": container.image_id or "",
    }
    lines = ['engine="buildlib"', *(f'{name}="{value}"' for name, value in fields.items())]
    return "\n".join([*lines, f"rootless={int(os.geteuid() != 0)}", ""])
