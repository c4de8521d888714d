"""Which name servers a command in a network of its own is told of."""

from __future__ import annotations

from buildlib.container.synthetic import reachable

LOCAL = "nameserver 127.0.0.53\noptions edns0\nsearch lan\n"


def test_servers_that_can_be_reached_stay_as_they_are() -> None:
    text = "# of the host\nnameserver 192.0.2.1\n"
    assert reachable(text, lambda: "") == text


def test_servers_on_the_loopback_are_left_out() -> None:
    assert (
        reachable(f"{LOCAL}nameserver 192.0.2.1\n", lambda: "x") == "options edns0\nsearch lan\nnameserver 192.0.2.1\n"
    )


def test_behind_systemd_resolved_are_the_real_ones() -> None:
    behind = "nameserver 192.0.2.7\nnameserver ::1\n"
    assert reachable(LOCAL, lambda: behind) == "options edns0\nsearch lan\nnameserver 192.0.2.7\n"


def test_a_forwarder_stands_for_those_of_the_loopback() -> None:
    assert reachable(LOCAL, lambda: "", forwarder="10.0.2.3").splitlines()[0] == "nameserver 10.0.2.3"


def test_where_none_is_left_there_are_the_public_ones() -> None:
    assert reachable("nameserver ::1\n", lambda: "") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
