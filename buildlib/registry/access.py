"""What a user brings to registries: logins, registries.conf, trust, patience; and the clients that follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildlib.errors import TransportError
from buildlib.oci.value import field, frozen
from buildlib.registry import credentials, files
from buildlib.registry.auth import Authenticator, Credential, registry_name
from buildlib.registry.client import RegistryClient
from buildlib.registry.configuration import Configuration, Endpoint
from buildlib.registry.http import Http, Tls
from buildlib.registry.proxy import Proxies

if TYPE_CHECKING:
    from collections.abc import Mapping

CERTIFICATES = ("/etc/containers/certs.d", "/etc/docker/certs.d")


@frozen
class Access:
    """How registries are reached. ``tls_verify=False`` accepts any certificate, and plain HTTP if TLS is not spoken."""

    auth_files: tuple[str, ...] = ()
    configuration: Configuration = field(factory=Configuration)
    credential: Credential | None = field(default=None, repr=False)
    """Used instead of what the files say."""
    tls_verify: bool = True
    cert_dir: str | None = None
    retries: int = 3
    retry_delay: float = 0.5
    """Seconds before the first retry; doubled each time."""
    proxies: Proxies = field(factory=Proxies)
    _clients: dict[Any, RegistryClient] = field(factory=dict, init=False, eq=False, repr=False)
    """Kept with their tokens and idle connections, which end with this object."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], uid: int, **settings: Any) -> Access:
        """With the files that ``environ`` and the user imply; ``settings`` are fields of this class."""
        settings.setdefault("auth_files", files.auth_files(environ, uid))
        if "configuration" not in settings:
            settings["configuration"] = Configuration.load(files.configuration_files(environ, uid))
        settings.setdefault("proxies", Proxies.from_environment(environ))
        return cls(**settings)

    def client(self, endpoint: Endpoint, *, writing: bool = False) -> RegistryClient:
        """The client of the endpoint's registry, with the login for its repository."""
        key = (endpoint.host, endpoint.insecure, endpoint.reference.registry, endpoint.reference.repository, writing)
        if key not in self._clients:
            self._clients[key] = self._connect(endpoint, writing)
        return self._clients[key]

    def _connect(self, endpoint: Endpoint, writing: bool) -> RegistryClient:
        insecure = endpoint.insecure or not self.tls_verify
        http = Http(
            Authenticator(lambda host: self._login(endpoint, host)),
            Tls(not insecure, self.cert_dir or certificates(endpoint.host)),
            retries=self.retries,
            delay=self.retry_delay,
            proxies=self.proxies,
        )
        scheme = "https"
        if insecure:
            nobody = Authenticator(lambda host: None)
            try:
                Http(nobody, Tls(verify=False), retries=0, proxies=self.proxies).probe(f"https://{endpoint.host}/v2/")
            except TransportError:
                scheme = "http"
        return RegistryClient(f"{scheme}://{endpoint.host}", http, writing=writing)

    def _login(self, endpoint: Endpoint, host: str) -> Credential | None:
        if host != registry_name(f"https://{endpoint.host}") and host != registry_name(f"http://{endpoint.host}"):
            return None  # an upload may be sent on to another host: what we know is for the registry alone
        if self.credential is not None:
            return self.credential
        reference = endpoint.reference
        return credentials.lookup(self.auth_files, reference.registry, reference.repository)


def certificates(host: str) -> str | None:
    """The folder of certificates that the machine keeps for ``host``; containers-certs.d(5)."""
    import os

    return next((path for path in (f"{base}/{host}" for base in CERTIFICATES) if os.path.isdir(path)), None)
