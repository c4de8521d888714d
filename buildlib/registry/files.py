"""Where the settings of this user lie that concern registries. Names only; nothing is imported for them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM = "/etc/containers/registries.conf"


def auth_files(environ: Mapping[str, str], uid: int) -> tuple[str, ...]:
    """The files with logins, first match wins; the first is also the one that login writes. containers-auth.json(5)."""
    if chosen := environ.get("REGISTRY_AUTH_FILE"):
        return (chosen,)
    home = environ.get("HOME", "/root" if uid == 0 else "/")
    runtime = environ.get("XDG_RUNTIME_DIR") or ("/run/containers/0" if uid == 0 else None)
    files = []
    if runtime:
        files.append(f"{runtime}/auth.json" if runtime == "/run/containers/0" else f"{runtime}/containers/auth.json")
    files.append(f"{environ.get('XDG_CONFIG_HOME') or home + '/.config'}/containers/auth.json")
    files.append(f"{environ.get('DOCKER_CONFIG') or home + '/.docker'}/config.json")
    return tuple(files)


def configuration_files(environ: Mapping[str, str], uid: int) -> tuple[str, ...]:
    """What to merge, in order: the system's file or the user's own, then the drop-ins of both, then short names.

    containers-registries.conf(5) and (5) of its drop-ins.
    """
    last = tuple(filter(None, (environ.get("CONTAINERS_SHORT_NAME_ALIASES_CONF"),)))
    if chosen := environ.get("CONTAINERS_REGISTRIES_CONF"):
        return (chosen, *_parts(environ.get("CONTAINERS_REGISTRIES_CONF_DIR")), *last)
    home = environ.get("XDG_CONFIG_HOME") or environ.get("HOME", "/root") + "/.config"
    own = f"{home}/containers/registries.conf"
    files = [own if uid != 0 and os.path.exists(own) else SYSTEM]
    files += _parts(environ.get("CONTAINERS_REGISTRIES_CONF_DIR") or f"{SYSTEM}.d")
    return (*files, *(_parts(f"{own}.d") if uid != 0 else []), *last)


def _parts(folder: str | None) -> list[str]:
    """The drop-ins of a folder, in order."""
    try:
        return [f"{folder}/{name}" for name in sorted(os.listdir(folder or "/nowhere")) if name.endswith(".conf")]
    except OSError:
        return []
