"""The authentication dance, without a network: requests out, responses in."""

from __future__ import annotations

import base64
import json

import pytest

from buildlib.errors import TransportError
from buildlib.registry.auth import Authenticator, Challenge, Credential, registry_name
from buildlib.registry.message import Request, Response

PULL = "repository:library/debian:pull"
BEARER = 'Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="ignored"'
MANIFEST = Request("GET", "https://registry.example.com/v2/library/debian/manifests/12")


def challenge(header: str) -> Response:
    return Response(401, {"www-authenticate": header})


def token(value: str, **more: object) -> Response:
    return Response(200, {}, json.dumps({"token": value, **more}).encode())


def run(auth: Authenticator, *answers: Response, request: Request = MANIFEST) -> tuple[list[Request], Response]:
    """Drive the flow with canned answers; the requests it made and the response it ended with."""
    flow, sent = auth.flow(request, PULL), []
    sent.append(next(flow))
    for answer in answers:
        try:
            sent.append(flow.send(answer))
        except StopIteration as end:
            assert answer is answers[-1], "the flow ended before the conversation did"
            return sent, end.value
    raise AssertionError("the flow wants more")


def test_a_registry_that_asks_for_nothing_gets_no_credentials() -> None:
    asked: list[str] = []
    sent, response = run(Authenticator(lambda host: asked.append(host) or Credential("u", "p")), Response(200))
    assert response.status == 200
    assert "authorization" not in sent[0].headers
    assert asked == []


def test_a_bearer_challenge_becomes_a_token_for_our_scope() -> None:
    auth = Authenticator(lambda host: None)
    sent, response = run(auth, challenge(BEARER), token("t1"), Response(200))
    assert [each.method for each in sent] == ["GET", "GET", "GET"]
    assert sent[1].url == (
        "https://auth.example.com/token?service=registry.example.com&scope=repository%3Alibrary%2Fdebian%3Apull"
    )
    assert sent[2].headers["authorization"] == "Bearer t1"
    assert response.status == 200


def test_a_known_token_is_sent_at_once_until_it_ends() -> None:
    now = [0.0]
    auth = Authenticator(lambda host: None, clock=lambda: now[0])
    run(auth, challenge(BEARER), token("t1", expires_in=300), Response(200))
    now[0] = 280.0
    sent, _ = run(auth, Response(200))
    assert sent[0].headers["authorization"] == "Bearer t1"
    now[0] = 295.0
    sent, _ = run(auth, challenge(BEARER), token("t2"), Response(200))
    assert "authorization" not in sent[0].headers
    assert sent[2].headers["authorization"] == "Bearer t2"


def test_a_token_that_the_registry_revoked_is_renewed() -> None:
    auth = Authenticator(lambda host: None)
    run(auth, challenge(BEARER), token("t1", expires_in=3600), Response(200))
    sent, response = run(auth, challenge(BEARER), token("t2"), Response(200))
    assert [each.headers.get("authorization") for each in sent] == ["Bearer t1", None, "Bearer t2"]
    assert response.status == 200


def test_a_password_goes_to_the_token_server_and_never_to_the_registry() -> None:
    auth = Authenticator(lambda host: Credential("ann", "s3cret"))
    sent, _ = run(auth, challenge(BEARER), token("t"), Response(200))
    assert sent[1].headers["authorization"] == "Basic " + base64.b64encode(b"ann:s3cret").decode()
    assert "Basic" not in sent[2].headers["authorization"]


def test_an_identity_token_is_posted_as_a_refresh_token() -> None:
    auth = Authenticator(lambda host: Credential(identity_token="refresh me"))
    sent, _ = run(auth, challenge(BEARER), Response(200, {}, b'{"access_token": "t"}'), Response(200))
    assert sent[1].method == "POST"
    assert sent[1].body is not None
    assert b"grant_type=refresh_token&refresh_token=refresh+me" in sent[1].body
    assert sent[2].headers["authorization"] == "Bearer t"


def test_a_basic_challenge_is_answered_once() -> None:
    auth = Authenticator(lambda host: Credential("ann", "wrong"))
    sent, response = run(auth, challenge('Basic realm="r"'), Response(401))
    assert sent[1].headers["authorization"].startswith("Basic ")
    assert response.status == 401
    sent, response = run(auth, challenge('Basic realm="r"'))
    assert len(sent) == 1, "a password that was refused is not tried again and again"
    assert response.status == 401


def test_a_basic_challenge_without_a_login_is_the_answer() -> None:
    sent, response = run(Authenticator(lambda host: None), challenge('Basic realm="r"'))
    assert (len(sent), response.status) == (1, 401)


def test_a_refused_token_says_who_asked_and_what_to_do() -> None:
    auth = Authenticator(lambda host: None)
    with pytest.raises(TransportError, match="refused a token for repository:library/debian:pull without a login") as e:
        run(auth, challenge(BEARER), Response(403))
    assert e.value.hint == "run `buildlib login registry.example.com`"


def test_a_token_server_without_tls_gets_no_password_of_a_registry_with_tls() -> None:
    auth = Authenticator(lambda host: Credential("ann", "s3cret"))
    with pytest.raises(TransportError, match="without TLS"):
        run(auth, challenge('Bearer realm="http://evil.example.com/token"'))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 3}', b'{"token": ""}', b"\xff"])
def test_an_answer_that_holds_no_token_is_an_error(body: bytes) -> None:
    with pytest.raises(TransportError, match="token server's answer"):
        run(Authenticator(lambda host: None), challenge(BEARER), Response(200, {}, body))


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        (BEARER, "bearer", {"realm": "https://auth.example.com/token", "service": "registry.example.com"}),
        ("Bearer realm=https://a/t,service=s", "bearer", {"realm": "https://a/t", "service": "s"}),
        ('bearer realm="a \\"quoted\\" realm"', "bearer", {"realm": 'a "quoted" realm'}),
        ('Basic realm="x", Bearer realm="https://a/t"', "bearer", {"realm": "https://a/t"}),
    ],
)
def test_challenges_are_parsed(header: str, scheme: str, parameters: dict[str, str]) -> None:
    found = Challenge.parse(header)
    assert found.scheme == scheme
    assert parameters.items() <= found.parameters.items()


def test_a_registry_is_named_as_users_name_it() -> None:
    assert registry_name("https://registry.example.com/v2/") == "registry.example.com"
    assert registry_name("http://127.0.0.1:5000/v2/") == "127.0.0.1:5000"
    assert registry_name("https://[::1]:5000/v2/") == "[::1]:5000"


def test_a_credential_does_not_show_its_secret() -> None:
    assert "s3cret" not in repr(Credential("ann", "s3cret", "also s3cret"))
