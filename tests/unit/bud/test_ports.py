"""Ports and signals."""

from __future__ import annotations

import pytest

from bud.ports import is_signal, parse_ports


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", ["80/tcp"]),
        ("80/UDP", ["80/udp"]),
        ("80/", ["80/tcp"]),
        ("80-82/sctp", ["80/sctp", "81/sctp", "82/sctp"]),
        ("8080:80", ["80/tcp"]),
        ("127.0.0.1:8080:80", ["80/tcp"]),
        ("127.0.0.1::80", ["80/tcp"]),
        ("[::1]:8080:80/tcp", ["80/tcp"]),
        ("90-99:80", ["80/tcp"]),
        ("90-91:80-81", ["80/tcp", "81/tcp"]),
    ],
)
def test_a_port_is_read(text: str, ports: list[str]) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize(
    "text", ["", "/tcp", "a", "80/icmp", "65536", "-1", "82-80", "90-92:80-81", "1.2.3:1:2", "8-", "80 81", "²"]
)
def test_a_bad_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|range|protocol|address"):
        parse_ports(text)


@pytest.mark.parametrize("text", ["SIGTERM", "term", "Kill", "9", "RTMIN", "SIGRTMIN+3", "RTMAX-14", "usr1"])
def test_signals_are_known(text: str) -> None:
    assert is_signal(text)


@pytest.mark.parametrize("text", ["", "0", "SIGFOO", "TERM KILL", "RTMIN+16", "RTMIN-1", "SIG", "+", " "])
def test_other_words_are_no_signals(text: str) -> None:
    assert not is_signal(text)
