"""Which images this machine lets in: containers-policy.json(5). Signatures can't be verified yet, so that what has to
be signed is refused.
"""

from __future__ import annotations

import os

from buildlib.errors import FormatError, TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from buildlib.transports import ImageSource

SYSTEM = "/etc/containers/policy.json"
_ACCEPTED = "insecureAcceptAnything"


def policy_file(environ: Mapping[str, str], uid: int) -> str:
    """The file that counts: ``$CONTAINERS_POLICY``, else the user's own if there is one, else the system's."""
    chosen = environ.get("CONTAINERS_POLICY")
    if chosen:
        return chosen
    own = f"{environ.get('XDG_CONFIG_HOME') or environ.get('HOME', '/') + '/.config'}/containers/policy.json"
    return own if os.path.exists(own) else SYSTEM


def called_there(source: ImageSource, name: str) -> str:
    """``transport:…`` of a source that is resolved, in full, as policies name images; ``name`` is what it was given."""
    return f"docker://{source.reference}" if name.startswith("docker://") else name  # type: ignore[attr-defined]


def admit(source: ImageSource, name: str, environ: Mapping[str, str], uid: int) -> None:
    """Raise :class:`TransportError` unless the machine's policy, and ``$BUILD_REGISTRY_SOURCES``, let the image in."""
    full = called_there(source, name)
    enforce(full, policy_file(environ, uid))
    sources = environ.get("BUILD_REGISTRY_SOURCES")
    if sources and full.startswith("docker://"):
        check_registry(full, sources)


def check_registry(name: str, sources: str) -> None:
    """``$BUILD_REGISTRY_SOURCES`` as OpenShift sets it: JSON with ``blockedRegistries`` and ``allowedRegistries``."""
    import json

    try:
        lists = {key: [str(host) for host in value] for key, value in json.loads(sources).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise FormatError(f"BUILD_REGISTRY_SOURCES is no JSON object of lists: {error}") from None
    host = name.removeprefix("docker://").partition("/")[0]
    allowed = lists.get("allowedRegistries")
    if host in lists.get("blockedRegistries", ()) or (allowed and host not in allowed):
        raise TransportError(f"{name}: BUILD_REGISTRY_SOURCES does not allow the registry {host}")


def enforce(name: str, path: str) -> None:
    """Raise :class:`TransportError` unless the policy in the file ``path`` lets the image ``transport:…`` in.

    Without a file everything is. Raises :class:`FormatError` for a file that is no policy.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return
    except OSError as error:
        raise TransportError(f"reading the policy {path}: {error.strerror}") from error
    if "reject" not in text and "igned" not in text and _ACCEPTED in text:
        return  # the policy of most machines, known without parsing it
    for requirement in _requirements(_parsed(text, path), name, path):
        kind = requirement.get("type") if isinstance(requirement, dict) else None
        if kind == _ACCEPTED:
            continue
        if kind == "reject":
            raise TransportError(f"{name} is rejected by the policy in {path}", hint="see containers-policy.json(5)")
        if kind in ("signedBy", "signedBaseLayer", "sigstoreSigned"):
            message = f"{name}: the policy in {path} wants a signature ({kind}), which can't be verified yet"
            raise TransportError(message, hint="signatures are not supported yet; see containers-policy.json(5)")
        raise FormatError(f"{path}: there is no requirement of the type {kind!r}")


def _parsed(text: str, path: str) -> dict[str, Any]:
    import json

    try:
        policy = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{path} is no JSON: {error}") from error
    if not isinstance(policy, dict) or not isinstance(policy.get("default"), list):
        raise FormatError(f"{path} has no default policy")
    return policy


def _requirements(policy: dict[str, Any], name: str, path: str) -> list[Any]:
    """Those of the nearest scope that says something."""
    transport, _, rest = name.partition(":")
    scopes = (policy.get("transports") or {}).get(transport) or {}
    for scope in (*(_registry(rest[2:]) if transport == "docker" else _local(rest)), ""):
        if scope in scopes:
            found = scopes[scope]
            break
    else:
        found = policy["default"]
    if not isinstance(found, list) or not found:
        raise FormatError(f"{path}: a policy is a list of requirements, and not an empty one")
    return found


def _registry(reference: str) -> Iterator[str]:
    """The reference itself, its repository, the folders above, the host, and patterns of hosts."""
    yield reference
    repository = reference.partition("@")[0]
    head, slash, tail = repository.rpartition("/")
    repository = f"{head}{slash}{tail.partition(':')[0]}"
    yield repository
    while "/" in repository:
        repository = repository.rpartition("/")[0]
        yield repository
    labels = repository.partition(":")[0].split(".")
    for count in range(1, len(labels)):
        yield f"*.{'.'.join(labels[count:])}"


def _local(rest: str) -> Iterator[str]:
    """A path with what is chosen in it, the path, and the folders above."""
    yield rest
    path = os.path.abspath(rest.partition(":")[0])
    while path != "/":
        yield path
        path = os.path.dirname(path)
