"""Logging in to registries and out of them: what is checked with the registry, and which file keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from buildlib.errors import NotFound, UsageError
from buildlib.oci import Reference
from buildlib.registry import credentials
from buildlib.registry.configuration import Endpoint
from buildlib.remote import own_access

if TYPE_CHECKING:
    from buildlib.registry.access import Access
    from buildlib.registry.auth import Credential


def login(registry: str, credential: Credential, *, access: Access | None = None, file: str | None = None) -> str:
    """Check a name and password with ``registry`` (host[:port], or host/repository) and file them; the file's path.

    ``file`` is an auth.json, by default the one that other tools of this user read too. Raises
    :class:`TransportError` when the registry refuses them; then nothing is filed.
    """
    access = attrs.evolve(access or own_access(), credential=credential)
    reference, key = _registry(registry)
    access.client(_endpoint(access, reference)).authenticate()
    path = file or access.auth_files[0]
    credentials.login(path, key, credential)
    return path


def logout(registry: str | None, *, access: Access | None = None, file: str | None = None) -> str:
    """Forget what is filed for ``registry``, or everything (None); the file's path. Raises :class:`NotFound`."""
    path = file or (access or own_access()).auth_files[0]
    credentials.logout(path, _registry(registry)[1] if registry is not None else None)
    return path


def logged_in(registry: str, *, access: Access | None = None, file: str | None = None) -> str:
    """The name of the user that is logged in to ``registry``. Raises :class:`NotFound`."""
    files = (file,) if file else (access or own_access()).auth_files
    reference, key = _registry(registry)
    found = credentials.lookup(files, reference.registry, reference.repository if "/" in key else "")
    if found is None:
        raise NotFound(f"not logged in to {registry}", kind="login", name=registry)
    return found.username or "<token>"


def _registry(text: str) -> tuple[Reference, str]:
    """A reference in the registry that is meant, and the key under which its login is filed."""
    key = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    if not key or "@" in key or key.startswith("-"):
        raise UsageError(f"{text!r} is no registry", hint="write its host, with a port if it needs one")
    host, slash, repository = key.partition("/")
    if host in ("index.docker.io", "registry-1.docker.io") or (not slash and host == "docker.io"):
        host = key = "docker.io"
    if repository in ("v1", "v2"):
        key, slash = host, ""
    return Reference(host, repository if slash else "login"), key


def _endpoint(access: Access, reference: Reference) -> Endpoint:
    """Where the registry is. A table of registries.conf for the host counts, for one of its repositories does not."""
    found = access.configuration.endpoints(reference)[-1]
    return Endpoint(found.reference, found.host, found.insecure)
