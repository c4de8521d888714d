"""What a registry can do wrong, for :attr:`buildlib.testing.Registry.faults`.

For instance::

    registry.faults.append(on("GET .*/blobs/", cut(1000)))       # the first download breaks after 1000 bytes
    registry.faults.append(on("POST", status(503, retry_after="1"), times=2))
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildlib.testing.registry import Exchange, Fault


def on(pattern: str, fault: Fault, times: int | None = 1, skip: int = 0) -> Fault:
    """``fault`` for requests whose ``METHOD /path`` the pattern matches from its start.

    The first ``skip`` of them are spared; then ``times`` of them are hit, None for all. A request that another fault
    in the list has answered before is not seen.
    """
    seen = count()

    def apply(exchange: Exchange) -> bool:
        if not re.match(pattern, f"{exchange.command} {exchange.path}"):
            return False
        number = next(seen) - skip
        return number >= 0 and (times is None or number < times) and fault(exchange)

    return apply


def status(code: int, retry_after: str | None = None, message: str = "") -> Fault:
    """Answer with an error of that status."""
    headers = {"retry_after": retry_after} if retry_after is not None else {}

    def apply(exchange: Exchange) -> bool:
        exchange.refuse(code, "UNAVAILABLE", message, **headers)
        return True

    return apply


def drop() -> Fault:
    """Break the connection without an answer."""

    def apply(exchange: Exchange) -> bool:
        exchange.drop()
        return True

    return apply


def cut(after: int) -> Fault:
    """Break the connection after so many bytes of the answer's body."""
    return _spoil(cut=after)


def lie(length: int) -> Fault:
    """Tell a Content-Length that is not that of the body."""
    return _spoil(told=length)


def damage() -> Fault:
    """Change a byte in the middle of the answer's body."""
    return _spoil(damage=True)


def break_upload(after: int) -> Fault:
    """Keep so many bytes of what is uploaded, then break the connection."""
    return _spoil(take=after)


def redirect(url: str) -> Fault:
    """Send the client to ``url``, behind which the path of the request is put."""

    def apply(exchange: Exchange) -> bool:
        exchange.reply(307, location=url + exchange.path)
        return True

    return apply


def expire_tokens() -> Fault:
    """Forget all tokens that were given."""

    def apply(exchange: Exchange) -> bool:
        exchange.registry.tokens.clear()
        return False

    return apply


def _spoil(**values: object) -> Fault:
    def apply(exchange: Exchange) -> bool:
        for name, value in values.items():
            setattr(exchange, name, value)
        return False

    return apply
