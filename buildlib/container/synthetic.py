"""Files that every command finds and no layer gets: /etc/hosts, /etc/hostname, /etc/resolv.conf, /run/.containerenv."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.container import WorkingContainer
    from buildlib.container.run_options import RunOptions

RESOLVER = "/etc/resolv.conf"


def synthetic_files(container: WorkingContainer, hostname: str, options: RunOptions | None) -> dict[str, str]:
    """Their texts by path. The host's own /etc/hosts would make builds differ by machine."""
    files = {"/run/.containerenv": _about(container)}
    if options is None:
        return {**files, "/etc/hosts": _hosts(hostname), "/etc/hostname": f"{hostname}\n", RESOLVER: _resolver()}
    if not options.no_hosts:
        files["/etc/hosts"] = _hosts(hostname, options.add_hosts)
    if not options.no_hostname:
        files["/etc/hostname"] = f"{hostname}\n"
    if options.dns != ("none",):
        files[RESOLVER] = _resolver(options)
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


def _resolver(options: RunOptions | None = None) -> str:
    """The host's resolv.conf, with what is given instead of the same kind of lines (resolv.conf(5))."""
    try:
        with open(RESOLVER, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError:
        text = ""
    if options is None or not (options.dns or options.dns_search or options.dns_options):
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
