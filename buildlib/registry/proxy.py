"""Which proxy leads to a host: the variables that Go programs, curl and pip share. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from buildlib.oci.value import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Proxies:
    """URLs of proxies by the scheme of what is fetched. ``exempt`` are hosts that are reached directly.

    As in Go's ``httpproxy``: a name in ``exempt`` also means all below it (``.example.com`` only those), ``*`` means
    everything, an address may be a network (``10.0.0.0/8``), a port narrows it; the loopback is never proxied.
    """

    http: str | None = None
    https: str | None = None
    exempt: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Proxies:
        """From ``http_proxy``, ``https_proxy`` and ``no_proxy``, in lower or upper case."""

        def get(name: str) -> str | None:
            return environ.get(name) or environ.get(name.upper()) or None

        exempt = tuple(word.strip() for word in (get("no_proxy") or "").split(",") if word.strip())
        return cls(get("http_proxy"), get("https_proxy"), exempt)

    def find(self, url: str) -> str | None:
        """The proxy for ``url``, None for none."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        host = (parts.hostname or "").lower().rstrip(".")
        if not proxy or _is_loopback(host):
            return None
        if any(_exempts(rule.lower(), host, parts.port) for rule in self.exempt):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and bool(address.is_loopback))


def _exempts(rule: str, host: str, port: int | None) -> bool:
    if rule == "*":
        return True
    address = _address(host)
    if address is not None and "/" in rule:
        import ipaddress

        try:
            return address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, wanted = rule.rpartition(":")
    if colon and wanted.isdigit() and ":" not in name.strip("[]"):
        if port != int(wanted):
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*")
    return host.endswith(rule) if rule.startswith(".") else host == rule or host.endswith("." + rule)


def _address(host: str):  # type: ignore[no-untyped-def]
    import ipaddress

    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
