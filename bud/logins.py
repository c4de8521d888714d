"""The secrets that let ADD and contexts fetch what is not for everybody, by the names that docker has for them."""

from __future__ import annotations

import os

from bud.contexts import is_remote
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NamedTuple

    from bud.request import SecretSource
else:
    from bud.value import NamedTuple


class Login(NamedTuple):
    """A secret that opens a host: the whole header, or a token."""

    secret: SecretSource
    what: str
    git: bool


def authorization(sources: Iterable[str], secrets: Mapping[str, SecretSource]) -> str | None:
    """The Authorization header for the one host that ``sources`` are on, None if there is no secret for it.

    ``HTTP_AUTH_HEADER_<host>`` and ``GIT_AUTH_HEADER[.<host>]`` hold the header itself, ``HTTP_AUTH_TOKEN_<host>`` and
    ``GIT_AUTH_TOKEN[.<host>]`` a token. Raises :class:`UsageError` for a secret that can't be read.
    """
    found = find(sources, secrets)
    return None if found is None else _header(found.what, read(found.secret), git=found.git)


def find(sources: Iterable[str], secrets: Mapping[str, SecretSource]) -> Login | None:
    """Which secret that is."""
    if not secrets:
        return None
    hosts = {(_host(source), ".git" in source) for source in sources if is_remote(source)}
    if len(hosts) != 1:
        return None
    host, git = hosts.pop()
    kind = "GIT" if git else "HTTP"
    for place in (f".{host}", "") if git else (f"_{host}",):
        for what in ("HEADER", "TOKEN"):
            secret = secrets.get(f"{kind}_AUTH_{what}{place}")
            if secret is not None:
                return Login(secret, what, git)
    return None


def expression(login: Login) -> str:
    """The header as an expression of Python, for a script: the secret itself is not in it."""
    name = repr(login.secret.name)
    value = f"os.environ[{name}].strip()" if login.secret.kind == "env" else f"Path({name}).read_text().strip()"
    if login.what == "HEADER":
        return value
    if not login.git:
        return f'"Bearer " + {value}'
    return f'"basic " + base64.b64encode(f"x-access-token:{{{value}}}".encode()).decode()'


def _header(what: str, value: str, *, git: bool) -> str:
    if what == "HEADER":
        return value
    if not git:
        return f"Bearer {value}"
    import base64

    return "basic " + base64.b64encode(f"x-access-token:{value}".encode()).decode()


def _host(source: str) -> str:
    rest = source.partition("://")[2].partition("/")[0] if "://" in source else source.partition(":")[0]
    return rest.rpartition("@")[2].partition(":")[0]


def read(secret: SecretSource) -> str:
    """The value of a secret, without a line end."""
    if secret.kind == "env":
        return os.environ.get(secret.name, "").strip()
    try:
        with open(secret.name, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"the secret in {secret.name} can't be read: {error}") from error
