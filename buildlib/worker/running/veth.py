"""A run's network behind a pair of links (veth(4)): one end in there, one here; what comes out is masqueraded.

Each run gets a network of four addresses out of 10.89.0.0/16. Which one is known to all by an abstract unix socket
(unix(7)) of its name: the kernel keeps those apart by network namespaces, and frees a name when its holder is gone.
"""

from __future__ import annotations

import _socket as socket
import errno
import os
from contextlib import suppress

from buildlib.errors import SandboxError
from buildlib.linux import netlink, nftables
from buildlib.worker.running.network import LINK, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    T = TypeVar("T")

POOL = 0x0A590000
"""10.89.0.0, of which each run gets a /30: the gateway is the first address, the run the second."""
ROOM = 1 << 14
PREFIX = 30
FAMILY = "buildlib"
"""How the names of all our links here begin; the number of the network follows."""
MTU = 1500
FORWARDING = "/proc/sys/net/ipv4/ip_forward"


def connect(namespace: int, inside: netlink.Socket) -> Network:
    """Join the network namespace to this one. Raises :class:`SandboxError` that names what is lacking."""
    with netlink.Socket() as outside:
        _forward()
        routes = _do("the routes of this machine", outside.routes)
        mtu = _mtu(outside, routes)
        number, lease = _lease(routes)
        name = f"{FAMILY}{number}"
        gateway, address = (_address(number, host).to_bytes(4, "big") for host in (1, 2))
        _do("a pair of links (veth)", lambda: outside.ask(netlink.new_veth(name, LINK, namespace, mtu)))
        _do("the addresses of a link", lambda: _furnish(outside, name, gateway))
        _do("the addresses of a link", lambda: _furnish(inside, LINK, address))
        _do("a default route", lambda: inside.ask(netlink.default_route(gateway)))
        rules = _do("netfilter (nf_tables)", lambda: netlink.Socket(netlink.NETFILTER))
        _demand_open(rules)
        messages = nftables.masquerade(name, name, address, FAMILY)
        _do("masquerading (nf_tables, nft_masq of Linux 5.12)", lambda: rules.tell(messages))

    def leave() -> None:
        # It would go by itself, a moment later.
        with suppress(OSError), netlink.Socket() as again:
            again.ask(netlink.delete_link(name))

    return Network(namespace, (lease.detach(), os.dup(rules.fileno())), leave)


def free(taken: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The numbers of networks that overlap with none of ``taken`` (address, length of the prefix). Pure."""
    for number in range(ROOM):
        start = _address(number)
        for address, prefix in taken:
            shift = 32 - min(prefix, PREFIX)
            if start >> shift == address >> shift:
                break
        else:
            yield number


def _address(number: int, host: int = 0) -> int:
    return POOL + (number << (32 - PREFIX)) + host


def _lease(routes: Sequence[netlink.Route]) -> tuple[int, socket.socket]:
    """A network that nobody has, and the socket that keeps it so."""
    for number in free([(route.destination, route.prefix) for route in routes if route.prefix]):
        lease = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            lease.bind(f"\0buildlib/network/{number}")
        except OSError as error:
            lease.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return number, lease
    raise SandboxError("network private: no addresses are left in 10.89.0.0/16", op="network private")


def _furnish(where: netlink.Socket, name: str, address: bytes) -> None:
    index = where.link(name).index
    where.ask(netlink.new_address(index, address, PREFIX))
    where.ask(netlink.link_up(index))


def _mtu(outside: netlink.Socket, routes: Sequence[netlink.Route]) -> int:
    """That of the link which leads to the world: larger packets would only come to be refused."""
    for route in routes:
        if route.default and route.link:
            with suppress(OSError):
                return min(outside.link(index=route.link).mtu or MTU, 65535)
    return MTU


def _forward() -> None:
    """Let the kernel pass packets on; it stays so, as with other engines: somebody else may rely on it by then."""
    try:
        with open(FORWARDING, "rb") as file:
            if file.read().strip() == b"1":
                return
        with open(FORWARDING, "wb") as file:
            file.write(b"1")
    except OSError as error:
        raise _lacking("forwarding (net.ipv4.ip_forward)", error) from error


def _demand_open(rules: netlink.Socket) -> None:
    """What the machine's own rules drop no rule of ours brings through."""
    chains = _do("netfilter (nf_tables)", lambda: rules.ask(nftables.get_chains()))
    closed = next((table for chain in chains if (table := nftables.drops_what_is_forwarded(chain)) is not None), None)
    if closed is not None:
        what = f"the firewall of this machine drops what is forwarded (chain of the table {closed})"
        raise SandboxError(f"network private: {what}", op="network private", hint="allow it for the links buildlib+")


def _do(what: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except OSError as error:
        raise _lacking(what, error) from error


def _lacking(what: str, error: OSError) -> SandboxError:
    message = f"network private: {what}: {error.strerror}"
    return SandboxError(message, op="network private", errno=error.errno)
