"""Rules of the kernel's packet filter for one link: what comes from it goes out under the machine's own address.

The rules are a table that belongs to the socket by which it was made (NFT_TABLE_F_OWNER, Linux 5.12): when that is
closed, also because its process was killed, the table is gone. Making messages is pure; see nft(8) for the words.
"""

from __future__ import annotations

import _socket as socket
import struct

from buildlib.linux.netlink import ACK, CREATE, DUMP, Message, attribute, attributes, nest, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SUBSYSTEM = 10
_BEGIN, _END = 16, 17
_NEWTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE = (_SUBSYSTEM << 8 | number for number in (0, 3, 4, 6))
_OWNER = 2
_INET, _IPV4 = 1, 2
_FORWARD, _POSTROUTING = 2, 4
_FILTER, _SOURCE_NAT = 0, 100
_DROP, _VERDICT = 0, 0
_EQUAL, _NOT_EQUAL = 0, 1
_IN_NAME, _OUT_NAME = 6, 7
_SOURCE_ADDRESS = 12
"""Where it is in the header of IPv4."""


def masquerade(table: str, link: str, address: bytes, family: str) -> list[Message]:
    """One transaction: a table for ``link``, behind which is ``address``; its links all begin with ``family``.

    What comes from the address and leaves by another link is masqueraded; what would go on to a link of the same
    family is dropped: those behind them are not to meet.
    """
    mine, others = link.encode() + b"\0", family.encode()
    nat = [
        _payload(_SOURCE_ADDRESS, 4),
        _compare(_EQUAL, address),
        _meta(_OUT_NAME),
        _compare(_NOT_EQUAL, mine),
        _expression("masq"),
    ]
    drop = nest(2, nest(2, attribute(1, _number(_DROP))))
    apart = [
        _meta(_IN_NAME),
        _compare(_EQUAL, mine),
        _meta(_OUT_NAME),
        _compare(_EQUAL, others),
        _expression("immediate", attribute(1, _number(_VERDICT)), drop),
    ]
    return [
        _edge(_BEGIN),
        _message(_NEWTABLE, text(1, table), attribute(2, _number(_OWNER))),
        _chain(table, "nat", "nat", _POSTROUTING, _SOURCE_NAT),
        _rule(table, "nat", nat),
        _chain(table, "apart", "filter", _FORWARD, _FILTER),
        _rule(table, "apart", apart),
        _edge(_END),
    ]


def get_chains() -> Message:
    """Ask for all chains of all families."""
    return Message(_GETCHAIN, DUMP, struct.pack(">BBH", 0, 0, 0))


def drops_what_is_forwarded(chain: bytes) -> str | None:
    """The name of the chain's table, if it lets nothing through that no rule of its own accepts."""
    found = attributes(chain[4:])
    hook = attributes(found.get(4, b""))
    policy = found.get(5)
    if chain[0] not in (_INET, _IPV4) or hook.get(1) != _number(_FORWARD) or policy != _number(_DROP):
        return None
    return found.get(1, b"").rstrip(b"\0").decode(errors="replace")


def _edge(kind: int) -> Message:
    return Message(kind, 0, struct.pack(">BBH", 0, 0, _SUBSYSTEM))


def _message(kind: int, *parts: bytes) -> Message:
    return Message(kind, ACK | CREATE, struct.pack(">BBH", socket.AF_INET, 0, 0) + b"".join(parts))


def _chain(table: str, name: str, kind: str, hook: int, priority: int) -> Message:
    place = nest(4, attribute(1, _number(hook)), attribute(2, _number(priority)))
    return _message(_NEWCHAIN, text(1, table), text(3, name), place, text(7, kind))


def _rule(table: str, chain: str, expressions: Sequence[bytes]) -> Message:
    return _message(_NEWRULE, text(1, table), text(2, chain), nest(4, *expressions))


def _expression(name: str, *data: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *data))


def _payload(offset: int, length: int) -> bytes:
    """Load from the network header into register 1."""
    values = ((1, 1), (2, 1), (3, offset), (4, length))
    return _expression("payload", *(attribute(kind, _number(value)) for kind, value in values))


def _meta(key: int) -> bytes:
    """Load a fact about the packet into register 1."""
    return _expression("meta", attribute(1, _number(1)), attribute(2, _number(key)))


def _compare(how: int, value: bytes) -> bytes:
    """Go on if register 1 begins with ``value``, or if not."""
    return _expression("cmp", attribute(1, _number(1)), attribute(2, _number(how)), nest(3, attribute(1, value)))


def _number(value: int) -> bytes:
    return struct.pack(">I", value)
