"""How registries are reached: TLS and trust, logins, mirrors and blocks, proxies; nothing is told to the wrong host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from buildlib.errors import BuildlibError, NotFound, TransportError
from buildlib.oci import Reference
from buildlib.registry.access import Access
from buildlib.registry.auth import Credential
from buildlib.registry.configuration import Configuration, Endpoint
from buildlib.registry.proxy import Proxies
from buildlib.testing import serve_registry
from buildlib.testing.faults import on
from buildlib.transports.registry import RegistryDestination, RegistrySource

from .suite import put_image


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A PEM file with a self-signed certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path) + ".key"]
    argv += ["-out", str(path) + ".crt"]
    subprocess.run(argv, check=True, capture_output=True)
    path.write_text(Path(f"{path}.crt").read_text() + Path(f"{path}.key").read_text())
    return path


@pytest.fixture
def secure(certificate):
    with serve_registry(certificate=str(certificate)) as registry:
        put_image(client_of(registry, Access(tls_verify=False)), "x", "v1")
        yield registry


def endpoint(registry, **more):
    return Endpoint(Reference.parse(f"{registry.host}/x:v1"), registry.host, **more)


def client_of(registry, access, **more):
    return access.client(endpoint(registry, **more))


# --- trust ----------------------------------------------------------------------------------------------------------


def test_a_certificate_that_nobody_signed_is_refused_at_once(secure):
    with pytest.raises(TransportError, match="certificate verify failed") as caught:
        client_of(secure, Access(retry_delay=60)).manifest("x", "v1")
    assert "--cert-dir" in caught.value.hint


def test_a_folder_of_certificates_is_trusted(secure, certificate, tmp_path):
    shutil.copy(f"{certificate}.crt", tmp_path / "ours.crt")
    assert client_of(secure, Access(cert_dir=str(tmp_path))).manifest("x", "v1")


def test_a_folder_without_the_key_of_a_certificate_is_an_error_that_names_it(secure, certificate, tmp_path):
    shutil.copy(f"{certificate}.crt", tmp_path / "ours.cert")
    with pytest.raises(BuildlibError, match=r"ours\.cert"):
        client_of(secure, Access(cert_dir=str(tmp_path))).manifest("x", "v1")


@pytest.mark.parametrize("insecure", [True, False])
def test_any_certificate_is_taken_when_asked_for(secure, insecure):
    access = Access(tls_verify=insecure)  # by the flag, or by the registry's entry in registries.conf
    assert client_of(secure, access, insecure=insecure).base.startswith("https://")
    assert client_of(secure, access, insecure=insecure or not access.tls_verify).manifest("x", "v1")


def test_plain_http_is_spoken_only_when_asked_for(registry):
    put_image(client_of(registry, Access(tls_verify=False)), "x", "v1")
    with pytest.raises(TransportError, match=r"(?i)wrong version number|record layer") as caught:
        client_of(registry, Access(retries=0)).manifest("x", "v1")
    assert "--tls-verify=false" in caught.value.hint
    assert client_of(registry, Access(tls_verify=False)).base == f"http://{registry.host}"
    assert client_of(registry, Access(), insecure=True).manifest("x", "v1")


def test_a_redirect_from_tls_to_plain_http_is_refused(secure, registry):
    def elsewhere(exchange):
        exchange.reply(307, location=f"http://{registry.host}/v2/x/manifests/v1")
        return True

    secure.faults = [on("GET .*/manifests/", elsewhere)]
    with pytest.raises(TransportError, match="redirects from TLS to http://"):
        client_of(secure, Access(tls_verify=False)).manifest("x", "v1")
    assert registry.log == []


# --- logins ---------------------------------------------------------------------------------------------------------


def test_what_we_know_is_for_the_registry_alone():
    """An upload may be sent on to another host, which may ask for a password: it is not told ours."""
    with serve_registry() as registry, serve_registry(auth="basic", users={"ann": "secret"}) as greedy:
        access = Access(tls_verify=False, credential=Credential("ann", "secret"))
        client = client_of(registry, access)

        def elsewhere(exchange):
            exchange.reply(202, location=f"http://{greedy.host}/v2/x/blobs/uploads/1")
            return True

        registry.faults = [on("POST", elsewhere)]
        with pytest.raises(TransportError, match="HTTP 401"):
            client.put_blob("x", "sha256:" + "0" * 64, b"data")
        assert greedy.seen
        assert all("authorization" not in seen for seen in greedy.seen)


def test_a_token_of_the_registry_is_used_as_it_is():
    with serve_registry(auth="bearer", users={"ann": "secret"}) as registry:
        registry.tokens.add("given")
        client = client_of(registry, Access(tls_verify=False, credential=Credential(registry_token="given")))
        put_image(client, "x", "v1")
        assert registry.requests("GET /token") == []


def test_the_right_to_write_is_asked_for_once():
    with serve_registry(auth="bearer") as registry:
        client = Access(tls_verify=False).client(endpoint(registry), writing=True)
        put_image(client, "x", "v1")
        assert client.has_blob("x", "sha256:" + "0" * 64) is None
        assert len(registry.requests("GET /token")) == 1


def test_credentials_are_written_user_colon_password():
    assert Credential.parse("ann:se:cret") == Credential("ann", "se:cret")
    assert Credential.parse("ann") == Credential("ann")
    assert "secret" not in repr(Credential.parse("ann:secret"))
    with pytest.raises(BuildlibError, match="need a user name"):
        Credential.parse(":secret")


# --- registries.conf ------------------------------------------------------------------------------------------------


def configured(tmp_path, text):
    path = tmp_path / "registries.conf"
    path.write_text(text)
    return Access(configuration=Configuration.load([str(path)]), retries=0)


def test_mirrors_are_asked_first_and_never_written_to(registry, tmp_path):
    with serve_registry() as mirror:
        access = configured(
            tmp_path,
            f"""
            [[registry]]
            prefix = "hub.example.com"
            location = "{registry.host}"
            insecure = true
            [[registry.mirror]]
            location = "127.0.0.1:1/gone"
            [[registry.mirror]]
            location = "{mirror.host}/copy"
            insecure = true
            """,
        )
        digest, _ = put_image(client_of(mirror, Access(tls_verify=False)), "copy/site", "v1", b"mirrored")
        source = RegistrySource("hub.example.com/site:v1", access)
        assert source.resolve().digest == digest
        assert str(source.reference) == "hub.example.com/site:v1"
        other, _ = put_image(client_of(registry, Access(tls_verify=False)), "site", "v2", b"own")
        assert RegistrySource("hub.example.com/site:v2", access).resolve().digest == other
        with pytest.raises(NotFound, match=r"hub\.example\.com/site:v3.*not in the registry"):
            RegistrySource("hub.example.com/site:v3", access).resolve()
        destination = RegistryDestination(Reference.parse("hub.example.com/site:v4"), access)
        assert destination.client.base == f"http://{registry.host}"


def test_a_blocked_registry_is_not_asked(registry, tmp_path):
    access = configured(tmp_path, f'[[registry]]\nlocation = "{registry.host}/bad"\nblocked = true')
    for make in (
        lambda: RegistrySource(f"{registry.host}/bad/site", access).resolve(),
        lambda: RegistryDestination(Reference.parse(f"{registry.host}/bad/site:1"), access),
    ):
        with pytest.raises(TransportError, match="is blocked by"):
            make()
    assert registry.log == []


def test_short_names_are_searched(registry, tmp_path):
    access = configured(
        tmp_path,
        f"""
        unqualified-search-registries = ["127.0.0.1:1", "{registry.host}"]
        [[registry]]
        location = "{registry.host}"
        insecure = true
        [aliases]
        nick = "{registry.host}/team/x"
        """,
    )
    digest, _ = put_image(client_of(registry, Access(tls_verify=False)), "team/x", "latest")
    found = RegistrySource("team/x", access)
    assert found.resolve().digest == digest
    assert str(found.reference) == f"{registry.host}/team/x:latest"
    assert RegistrySource("nick", access).resolve().digest == digest


# --- proxies --------------------------------------------------------------------------------------------------------


def test_proxies_are_those_of_the_environment():
    environ = {"HTTPS_PROXY": "proxy:3128", "http_proxy": "http://plain:80", "no_proxy": " a.b , "}
    found = Proxies.from_environment(environ)
    assert found == Proxies("http://plain:80", "proxy:3128", ("a.b",))
    assert found.find("https://quay.io/v2/") == "http://proxy:3128"
    assert found.find("http://quay.io/v2/") == "http://plain:80"


@pytest.mark.parametrize(
    ("rule", "host", "exempt"),
    [
        ("example.com", "example.com", True), ("example.com", "reg.example.com", True),
        ("example.com", "notexample.com", False), (".example.com", "reg.example.com", True),
        (".example.com", "example.com", False), ("*.example.com", "reg.example.com", True), ("*", "anything", True),
        ("10.0.0.0/8", "10.1.2.3", True), ("10.0.0.0/8", "11.1.2.3", False), ("10.1.2.3", "10.1.2.3", True),
        ("example.com:5000", "example.com:5000", True), ("example.com:5000", "example.com:443", False),
        ("[fd00::1]", "[fd00::1]:5000", True), ("fd00::/8", "[fd00::1]", True), ("Example.COM", "EXAMPLE.com", True),
        ("nonsense/99", "10.1.2.3", False),
    ],
)  # fmt: skip
def test_some_hosts_are_exempt(rule, host, exempt):
    proxies = Proxies(https="http://proxy", exempt=(rule,))
    assert (proxies.find(f"https://{host}/v2/") is None) == exempt


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "[::1]:5000", "127.8.8.8"])
def test_the_loopback_needs_no_proxy(host):
    assert Proxies("http://proxy", "http://proxy").find(f"http://{host}/v2/") is None


def test_requests_go_by_the_proxy(registry):
    """A registry for a proxy: it sees the whole URL of what is asked for."""
    access = Access(tls_verify=False, proxies=Proxies(http=f"http://{registry.host}"), retries=0)
    client = access.client(Endpoint(Reference.parse("registry.invalid/x"), "registry.invalid"))
    with pytest.raises(BuildlibError):
        client.manifest("x", "v1")
    assert registry.log == ["GET http://registry.invalid/v2/x/manifests/v1"]
