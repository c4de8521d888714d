"""Who the user is at which registry: the JSON files that docker and the containers tools share, and their helpers.

Formats: containers-auth.json(5) and docker's config.json; helpers speak docker's credential-helper protocol.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildlib.errors import FormatError, NotFound, TransportError
from buildlib.registry.auth import Credential

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""The key under which docker files its own registry."""


def keys(host: str, repository: str = "") -> Iterator[str]:
    """The names under which a credential for ``host/repository`` may be filed, the most specific first."""
    name = f"{host}/{repository}" if repository else host
    while True:
        yield name
        head, slash, _ = name.rpartition("/")
        if not slash:
            break
        name = head
    yield from (f"https://{host}", f"http://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
    if host in ("docker.io", "registry-1.docker.io", "index.docker.io"):
        yield from ("docker.io", "index.docker.io", DOCKER_HUB_KEY)


def lookup(files: Sequence[str], host: str, repository: str = "") -> Credential | None:
    """The credential for ``host/repository`` from the first file that has one; None where no file does."""
    for path in files:
        document = read(path)
        for key in keys(host, repository):
            helper = (document.get("credHelpers") or {}).get(key)
            if helper and (found := ask_helper(helper, key)):
                return found
            entry = (document.get("auths") or {}).get(key)
            if entry and (found := from_entry(entry, path, key)):
                return found
        if (store := document.get("credsStore")) and (found := next(_from_store(store, host), None)):
            return found
    return None


def _from_store(helper: str, host: str) -> Iterator[Credential]:
    for key in keys(host):
        if found := ask_helper(helper, key):
            yield found


def read(path: str) -> dict[str, Any]:
    """The file's document, empty when there is no such file; FormatError names a file that can't be read."""
    try:
        document = json.loads(Path(path).read_bytes() or b"{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: {error}", hint="it should hold the logins of registries, as JSON") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path}: not a JSON object")
    return document


def from_entry(entry: dict[str, Any], path: str, key: str) -> Credential | None:
    """The credential in one ``auths`` entry; None for an empty one, which means: a helper knows."""
    token = str(entry.get("identitytoken") or "")
    try:
        user, colon, password = base64.b64decode(entry.get("auth") or "", validate=True).decode().partition(":")
    except ValueError as error:
        hint = f"`buildlib login {key}` writes it anew"
        raise FormatError(f"{path}: the entry for {key} can't be decoded", hint=hint) from error
    return Credential(user, password.rstrip("\0"), token) if colon or token else None


def ask_helper(helper: str, key: str) -> Credential | None:
    """``docker-credential-<helper> get``: None where it has nothing for ``key``."""
    answer = _helper(helper, "get", key)
    if answer is None:
        return None
    document = json.loads(answer)
    user, secret = str(document.get("Username", "")), str(document.get("Secret", ""))
    return Credential(identity_token=secret) if user == "<token>" else Credential(user, secret)


def _helper(helper: str, action: str, data: str) -> str | None:
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, action], input=data, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as error:
        raise TransportError(f"the credential helper {program} is not installed", hint=f"install {program}") from error
    except subprocess.TimeoutExpired as error:
        raise TransportError(f"{program} {action} did not answer within 60 s") from error
    if done.returncode == 0:
        return done.stdout
    said = (done.stdout + done.stderr).strip()
    if "not found" in said.lower():
        return None
    raise TransportError(f"{program} {action}: {said or f'exit code {done.returncode}'}")


def login(path: str, key: str, credential: Credential) -> None:
    """File a credential under ``key``, in the file's helper where it names one. The file is replaced whole, 0600."""
    document = read(path)
    helper = (document.get("credHelpers") or {}).get(key) or document.get("credsStore")
    if helper:
        user, secret = credential.username, credential.password
        if credential.identity_token:
            user, secret = "<token>", credential.identity_token
        _helper(helper, "store", json.dumps({"ServerURL": key, "Username": user, "Secret": secret}))
        return
    entry = {"auth": base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()}
    if credential.identity_token:
        entry["identitytoken"] = credential.identity_token
    document.setdefault("auths", {})[key] = entry
    _write(path, document)


def logout(path: str, key: str | None) -> None:
    """Forget the credential under ``key``, or all of them (None). NotFound when there is none."""
    document = read(path)
    auths = document.get("auths") or {}
    helper = (document.get("credHelpers") or {}).get(key or "") or document.get("credsStore")
    if key is None:
        auths.clear()
    elif helper:
        _helper(helper, "erase", key)
        auths.pop(key, None)
    elif auths.pop(key, None) is None:
        raise NotFound(f"not logged in to {key}", kind="login", name=key)
    _write(path, document)


def _write(path: str, document: dict[str, Any]) -> None:
    target = Path(path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.{os.getpid()}")
    fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as out:
        json.dump(document, out, indent="\t")
        out.flush()
        os.fsync(out.fileno())
    half.replace(target)
