"""The authentication dance of registries as a generator: it yields requests, is sent responses, does no I/O.

Specs: the distribution project's token authentication (bearer, with OAuth2 refresh tokens) and RFC 7617 (basic).
A driver loop, four lines long, connects it to a socket or to a test::

    flow = authenticator.flow(request, scope)
    outgoing = next(flow)
    while not done: outgoing = flow.send(transport.send(outgoing))
"""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from buildlib.errors import TransportError, UsageError
from buildlib.oci.value import frozen
from buildlib.registry.message import Request, Response, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Clock = Callable[[], float]

CHALLENGE = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
SHORTEST_LIFE = 60.0
"""A token without ``expires_in`` lives this many seconds (token specification)."""
MARGIN = 10.0
"""A token is renewed this many seconds before it ends, so that it does not end on the way."""


@frozen
class Credential:
    """What is known about a user at one registry: a name and password, or a token.

    ``identity_token`` is exchanged for tokens of the registry (OAuth2 refresh), ``registry_token`` is one.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @classmethod
    def parse(cls, text: str) -> Credential:
        """From ``user:password``, or a user name alone."""
        user, _, password = text.partition(":")
        if not user:
            raise UsageError("credentials need a user name", hint="write them as USER:PASSWORD")
        return cls(user, password)

    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, …)"


@frozen
class Challenge:
    """One parsed ``WWW-Authenticate`` challenge: the scheme in lower case and its parameters."""

    scheme: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, header: str) -> Challenge:
        """Parse a header that carries one challenge; a Bearer challenge is preferred where several stand in one."""
        found = re.search(r"(?i)\bbearer\b", header) or re.search(r"[A-Za-z]+", header)
        if found is None:
            raise TransportError(f"the registry answered 401 with an unusable challenge {header!r}")
        pairs = CHALLENGE.findall(header[found.end() :])
        values = {name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in pairs}
        return cls(found.group().lower(), values)


@frozen
class _Token:
    value: str
    expires: float


class Authenticator:
    """Adds what a registry wants to requests, and remembers tokens by (registry, scope).

    ``credentials(host)`` is asked once a challenge came, never before: nothing is sent to a registry that did not ask.
    Safe to share between threads: the worst that a race costs is one more token request.
    """

    def __init__(self, credentials: Callable[[str], Credential | None], clock: Clock = time.monotonic) -> None:
        self._credentials = credentials
        self._clock = clock
        self._tokens: dict[tuple[tuple[str, str, int], str], _Token] = {}
        self._basic: dict[tuple[str, str, int], str] = {}

    def flow(self, request: Request, scope: str) -> Generator[Request, Response, Response]:
        """Yield the request, and whatever it takes to have it accepted; return the response that counts.

        ``scope`` is as in the token specification, e.g. ``repository:library/debian:pull``.
        A second 401 is returned as it is: the caller knows what was asked for. So is the first one to a request
        whose body is a stream, after a token was fetched: the caller begins the stream again.
        """
        home = request.origin
        authorization = self._known(home, scope)
        response = yield request.with_headers(authorization=authorization) if authorization else request
        if response.status != 401:
            return response
        challenge = Challenge.parse(response.headers.get("www-authenticate", ""))
        credential = self._credentials(registry_name(request.url))
        if challenge.scheme == "basic":
            if credential is None or (authorization or "").startswith("Basic"):
                return response
            self._basic[home] = credential.basic()
        elif challenge.scheme == "bearer":
            yield from self._fetch_token(home, challenge, scope, credential)
        else:
            raise TransportError(f"{registry_name(request.url)} wants unknown authentication {challenge.scheme!r}")
        if not request.repeatable:
            return response
        return (yield request.with_headers(authorization=self._known(home, scope) or ""))

    def _known(self, home: tuple[str, str, int], scope: str) -> str | None:
        token = self._tokens.get((home, scope))
        if token is not None and token.expires > self._clock():
            return f"Bearer {token.value}"
        return self._basic.get(home)

    def _fetch_token(
        self, home: tuple[str, str, int], challenge: Challenge, scope: str, credential: Credential | None
    ) -> Generator[Request, Response, None]:
        if credential and credential.registry_token:
            self._tokens[(home, scope)] = _Token(credential.registry_token, float("inf"))
            return
        wanted = scope or challenge.parameters.get("scope", "")
        response = yield token_request(challenge, wanted, credential, secure=home[0] == "https")
        if response.status != 200:
            shown = _shown(home)
            who = f"as {credential.username!r}" if credential and credential.username else "without a login"
            raise TransportError(
                f"{shown} refused a token for {scope or 'its API'} {who}: HTTP {response.status}",
                hint=f"run `buildlib login {shown}`" if credential is None else "check the user name and password",
                status=response.status,
            )
        value, life = parse_token(response.body)
        self._tokens[(home, scope)] = _Token(value, self._clock() + life - MARGIN)


def token_request(challenge: Challenge, scope: str, credential: Credential | None, *, secure: bool) -> Request:
    """The request that turns a bearer challenge into a token.

    A refresh token is POSTed (OAuth2); name and password go as basic auth on a GET, which every registry knows.
    ``secure`` says that the registry itself was reached by TLS: then its token server must be, too.
    """
    realm = challenge.parameters.get("realm", "")
    if urlsplit(realm).scheme not in ("http", "https"):
        raise TransportError(f"the registry names no usable token server: realm={realm!r}")
    if secure and not realm.startswith("https:"):
        raise TransportError(f"the registry sends its users to a token server without TLS: {realm}")
    query = [(name, challenge.parameters[name]) for name in ("service",) if name in challenge.parameters]
    query += [("scope", each) for each in scope.split() if each]
    if credential and credential.identity_token:
        form = [*query, ("grant_type", "refresh_token"), ("refresh_token", credential.identity_token)]
        form.append(("client_id", "buildlib"))
        body = urlencode(form).encode()
        return Request("POST", realm, {"content-type": "application/x-www-form-urlencoded"}, body)
    headers = {"authorization": credential.basic()} if credential and credential.username else {}
    joiner = "&" if urlsplit(realm).query else "?"
    return Request("GET", realm + joiner + urlencode(query), headers)


def parse_token(body: bytes) -> tuple[str, float]:
    """The token and its life in seconds from a token server's answer."""
    try:
        document: Any = json.loads(body)
        token = document.get("token") or document.get("access_token")
        life = float(document.get("expires_in") or SHORTEST_LIFE)
    except (ValueError, AttributeError, TypeError) as error:
        raise TransportError(f"the token server's answer is not a token: {error}") from error
    if not isinstance(token, str) or not token:
        raise TransportError("the token server's answer holds no token")
    return token, max(life, SHORTEST_LIFE)


def registry_name(url: str) -> str:
    """The host[:port] of ``url`` under which credentials are filed."""
    return _shown(origin(url))


def _shown(home: tuple[str, str, int]) -> str:
    scheme, host, port = home
    host = f"[{host}]" if ":" in host else host
    return host if port == {"http": 80, "https": 443}.get(scheme) else f"{host}:{port}"
