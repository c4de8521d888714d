"""Speaking to the kernel about links, addresses and routes: messages as bytes, and one socket to send them by.

The messages are those of rtnetlink(7), in the kernel's own byte order. Making and reading them is pure.
"""

from __future__ import annotations

import _socket as socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROUTE = 0  # NETLINK_ROUTE
NETFILTER = 12  # NETLINK_NETFILTER

REQUEST, ACK, DUMP = 1, 4, 0x300
CREATE, EXCLUSIVE = 0x400, 0x200
_ERROR, _DONE = 2, 3

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE, _GETROUTE = 16, 17, 18, 20, 24, 26
_IFNAME, _MTU, _LINKINFO, _NET_NS_FD = 3, 4, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_DESTINATION, _OUT, _GATEWAY = 1, 4, 5
_UP = 1
_MAIN, _STATIC, _UNICAST = 254, 4, 1
_NESTED = 0x8000

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")

Attributes = dict[int, bytes]


class Message:
    """One request: its type, its flags beyond NLM_F_REQUEST, and what follows the header."""

    def __init__(self, kind: int, flags: int, body: bytes) -> None:
        self.kind = kind
        self.flags = flags
        self.body = body

    def encode(self, sequence: int) -> bytes:
        """The bytes of it."""
        return _HEADER.pack(_HEADER.size + len(self.body), self.kind, REQUEST | self.flags, sequence, 0) + self.body


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    """An attribute that is made of others."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string, with a zero at its end."""
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes) -> Attributes:
    """What :func:`attribute` made, by kind. A length that can't be ends the reading."""
    found: Attributes = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if not 4 <= length <= len(data):
            break
        found[kind & ~_NESTED] = data[4:length]
        data = data[length + -length % 4 :]
    return found


# --- requests ---------------------------------------------------------------------------------------------------------


def new_veth(name: str, peer: str, namespace: int, mtu: int) -> Message:
    """A pair of links: ``name`` here, ``peer`` in the network namespace that is open as the descriptor (veth(4))."""
    size = attribute(_MTU, struct.pack("=I", mtu))
    other = _LINK.pack(0, 0, 0, 0, 0) + text(_IFNAME, peer) + size
    other += attribute(_NET_NS_FD, struct.pack("=I", namespace))
    info = nest(_LINKINFO, attribute(_INFO_KIND, b"veth"), nest(_INFO_DATA, nest(_VETH_PEER, other)))
    return Message(_NEWLINK, ACK | CREATE | EXCLUSIVE, _LINK.pack(0, 0, 0, 0, 0) + text(_IFNAME, name) + size + info)


def link_up(index: int) -> Message:
    """Bring a link up."""
    return Message(_NEWLINK, ACK, _LINK.pack(0, 0, index, _UP, _UP))


def delete_link(name: str) -> Message:
    """Remove a link, and with it its peer."""
    return Message(_DELLINK, ACK, _LINK.pack(0, 0, 0, 0, 0) + text(_IFNAME, name))


def get_link(name: str = "", index: int = 0) -> Message:
    """Ask for a link by its name or its number."""
    named = text(_IFNAME, name) if name else b""
    return Message(_GETLINK, 0, _LINK.pack(0, 0, index, 0, 0) + named)


def new_address(index: int, address: bytes, prefix: int) -> Message:
    """Give a link an IPv4 address."""
    body = _ADDRESS.pack(socket.AF_INET, prefix, 0, 0, index)
    return Message(_NEWADDR, ACK | CREATE | EXCLUSIVE, body + attribute(2, address) + attribute(1, address))


def default_route(gateway: bytes) -> Message:
    """Let everything else go to ``gateway``."""
    body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, _MAIN, _STATIC, 0, _UNICAST, 0)
    return Message(_NEWROUTE, ACK | CREATE | EXCLUSIVE, body + attribute(_GATEWAY, gateway))


def get_routes() -> Message:
    """Ask for all IPv4 routes, also those of the machine's own addresses."""
    return Message(_GETROUTE, DUMP, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))


# --- answers ----------------------------------------------------------------------------------------------------------


class Link:
    """What is asked of a link."""

    def __init__(self, body: bytes) -> None:
        self.index: int = _LINK.unpack_from(body)[2]
        found = attributes(body[_LINK.size :])
        self.name = found.get(_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        self.mtu: int = struct.unpack("=I", found[_MTU])[0] if _MTU in found else 0


class Route:
    """A destination, as number and length of its prefix, and the number of the link that leads there."""

    def __init__(self, body: bytes) -> None:
        self.prefix: int = _ROUTE.unpack_from(body)[1]
        found = attributes(body[_ROUTE.size :])
        self.destination = int.from_bytes(found.get(_DESTINATION, b""), "big")
        self.link: int = struct.unpack("=I", found[_OUT])[0] if _OUT in found else 0
        self.default = self.prefix == 0 and _ROUTE.unpack_from(body)[4] == _MAIN


class Socket:
    """A netlink socket, which belongs to the network namespace in which it was made for as long as it is open."""

    def __init__(self, family: int = ROUTE, fileno: int | None = None) -> None:
        if fileno is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
            self._socket.bind((0, 0))
        else:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family, fileno)
        self._sequence = 0

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, message: Message) -> list[bytes]:
        """Send one message and return the bodies of the answers. Raises ``OSError`` with what the kernel says."""
        return self.tell([message])

    def tell(self, messages: Sequence[Message]) -> list[bytes]:
        """Send all in one packet, and wait until each that wants it is acknowledged."""
        data, waiting = b"", set()
        for message in messages:
            self._sequence += 1
            data += message.encode(self._sequence)
            if message.flags & (ACK | DUMP) or message.kind == _GETLINK:
                waiting.add(self._sequence)
        self._socket.send(data)
        answers: list[bytes] = []
        while waiting:
            for kind, sequence, body in _split(self._socket.recv(1 << 18)):
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                elif kind != _DONE:
                    answers.append(body)
                    if kind != _NEWLINK:  # one of many
                        continue
                waiting.discard(sequence)
        return answers

    def link(self, name: str = "", index: int = 0) -> Link:
        """The link of that name or number. Raises ``OSError`` (ENODEV)."""
        return Link(self.ask(get_link(name, index))[0])

    def routes(self) -> list[Route]:
        """All IPv4 routes."""
        return [Route(body) for body in self.ask(get_routes())]


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, sequence, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, sequence, data[_HEADER.size : length]
        data = data[length + -length % 4 :]
