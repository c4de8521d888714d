"""The words of EXPOSE, and the names of signals for STOPSIGNAL."""

from __future__ import annotations

_SIGNALS = (
    " ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP "
    "TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX "
)


def parse_ports(text: str) -> list[str]:
    """``port/protocol`` for each port of ``[ip:][host:]port[-last][/protocol]``. Raises :class:`ValueError`.

    Address and host port are accepted and have no effect.
    """
    address, host, port = _split(text)
    port, _, protocol = port.partition("/")
    protocol = protocol.lower() or "tcp"
    if not port:
        raise ValueError("there is no port")
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"unknown protocol {protocol}")
    if address:
        _check_address(address)
    first, last = _range(port)
    if host:
        host_first, host_last = _range(host)
        if last - first != host_last - host_first and first != last:
            raise ValueError(f"{host} and {port} are ranges of different sizes")
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def _split(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) < 3:
        return "", parts[0] if len(parts) == 2 else "", parts[-1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first, first]
    if not all(number.isascii() and number.isdigit() and int(number[:9]) < 1 << 16 for number in numbers):
        raise ValueError(f"{text} is no port and no range of ports")
    low, high = int(numbers[0]), int(numbers[1])
    if high < low:
        raise ValueError(f"{text} is a range from high to low")
    return low, high


def _check_address(address: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(address[1:-1] if address.startswith("[") and address.endswith("]") else address)
    except ValueError:
        raise ValueError(f"{address} is no IP address") from None


def is_signal(text: str) -> bool:
    """Whether ``text`` is a number or a name that Linux has, with or without SIG."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if digits.isascii() and digits.isdigit():
        return int(digits[:9]) != 0
    name = text.upper().removeprefix("SIG")
    base, _, offset = name.partition("+" if name.startswith("RTMIN") else "-")
    if offset:
        return base in ("RTMIN", "RTMAX") and offset.isascii() and offset.isdigit() and 1 <= int(offset[:3]) <= 15
    return name.isalnum() and f" {name} " in _SIGNALS
