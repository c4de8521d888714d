"""Messages to the kernel about links, routes and rules, byte by byte; and that the kernel takes them."""

from __future__ import annotations

import struct

import pytest

from buildlib.linux import netlink, nftables


def test_an_attribute_is_padded_and_its_length_is_that_of_its_value() -> None:
    assert netlink.attribute(3, b"eth0\0") == bytes.fromhex("0900 0300 6574683000 000000")
    assert netlink.attributes(netlink.attribute(3, b"eth0\0") + netlink.nest(4, b"")) == {3: b"eth0\0", 4: b""}


@pytest.mark.parametrize("data", [b"\x03\0\1\0", b"\xff\xff\1\0", b"\0\0\0\0", b"\1"])
def test_a_length_that_can_not_be_ends_the_reading(data: bytes) -> None:
    assert netlink.attributes(data) == {}


def test_the_address_of_a_link() -> None:
    data = netlink.new_address(7, bytes((10, 89, 0, 2)), 30).encode(5)
    header = struct.pack("=IHHII", 40, 20, 0x605, 5, 0)
    address = bytes.fromhex("0800 0200 0a590002 0800 0100 0a590002")
    assert data == header + struct.pack("=BBBBI", 2, 30, 0, 0, 7) + address


def test_a_default_route() -> None:
    body = netlink.default_route(bytes((10, 89, 0, 1))).body
    assert body == bytes((2, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0)) + bytes.fromhex("0800 0500 0a590001")


def test_a_pair_of_links_names_the_kind_the_peer_and_its_namespace() -> None:
    message = netlink.new_veth("here", "there", 9, 1400)
    found = netlink.attributes(message.body[16:])
    assert found[3] == b"here\0"
    info = netlink.attributes(found[18])
    assert info[1] == b"veth"
    peer = netlink.attributes(netlink.attributes(info[2])[1][16:])
    assert peer == {3: b"there\0", 4: struct.pack("=I", 1400), 28: struct.pack("=I", 9)}


def test_rules_are_one_transaction_for_a_table_that_belongs_to_its_socket() -> None:
    messages = nftables.masquerade("t", "link", bytes((10, 89, 0, 2)), "li")
    assert [message.kind & 0xFF for message in messages] == [16, 0, 3, 6, 3, 6, 17]
    assert netlink.attributes(messages[1].body[4:]) == {1: b"t\0", 2: b"\0\0\0\2"}
    assert b"masq" in messages[3].body
    assert bytes((10, 89, 0, 2)) in messages[3].body


def test_the_kernel_tells_of_the_loopback_and_of_what_is_not_there() -> None:
    with netlink.Socket() as socket:
        assert socket.link("lo").index == 1
        assert socket.link(index=1).name == "lo"
        assert all(route.prefix <= 32 for route in socket.routes())
        with pytest.raises(OSError, match="No such device"):
            socket.link("nothing")
