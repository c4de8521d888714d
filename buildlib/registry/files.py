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
    if chosen := environ.get("CONTAINERS_REGISTRIES_CONF"):
        return (chosen,)
    home = environ.get("XDG_CONFIG_HOME") or environ.get("HOME", "/root") + "/.config"
    own = f"{home}/containers/registries.conf"
    files = [own if uid != 0 and os.path.exists(own) else SYSTEM]
    for folder in (f"{SYSTEM}.d", *([f"{own}.d"] if uid != 0 else [])):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        files += [f"{folder}/{name}" for name in names if name.endswith(".conf")]
    return tuple(files)
