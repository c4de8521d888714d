"""What containers.conf(5) and mounts.conf say of working containers, for ``from``, ``run`` and ``build``.

Read are those keys of the table ``[containers]`` that mean something here; see :data:`KEYS`.
"""

from __future__ import annotations

import os
from functools import cache

from buildlib.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from buildlib import Bind
    from buildlib.cli.flags import Arguments

KEYS = {
    "apparmor_profile": "security",
    "default_capabilities": "cap_add",
    "default_ulimits": "ulimits",
    "devices": "devices",
    "dns_options": "dns_options",
    "dns_searches": "dns_search",
    "dns_servers": "dns",
    "http_proxy": "no_proxy",
    "netns": "network",
    "no_hosts": "no_hosts",
    "seccomp_profile": "security",
    "shm_size": "shm_size",
    "volumes": "volumes",
}
"""Keys of ``[containers]`` that are heeded, and the fields of :class:`RunOptions` that they set."""

SYSTEM = ("/usr/share/containers", "/etc/containers")


def files(name: str) -> list[str]:
    """The files called ``name`` that say how containers are to be, the later ones more than the earlier."""
    variable = {"containers.conf": "CONTAINERS_CONF", "mounts.conf": "CONTAINERS_MOUNTS_CONF"}[name]
    if os.environ.get(variable):
        found = [os.environ[variable]]
    else:
        folders = [*SYSTEM]
        if os.geteuid() != 0:
            home = os.environ.get("XDG_CONFIG_HOME") or f"{os.path.expanduser('~')}/.config"
            folders.append(f"{home}/containers")
        found = []
        for folder in folders:
            found.append(f"{folder}/{name}")
            found += _parts(f"{folder}/{name}.d")
    if name == "containers.conf" and os.environ.get("CONTAINERS_CONF_OVERRIDE"):
        found.append(os.environ["CONTAINERS_CONF_OVERRIDE"])
    return found


def _parts(folder: str) -> list[str]:
    try:
        return [f"{folder}/{entry}" for entry in sorted(os.listdir(folder)) if entry.endswith(".conf")]
    except OSError:
        return []


def settings() -> dict[str, Any]:
    """The table ``[containers]`` of all files. Raises :class:`FormatError` for one that is no TOML."""
    merged: dict[str, Any] = {}
    for path in files("containers.conf"):
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError:
            continue
        merged.update(_settings_in(path, text))
    return merged


@cache
def _settings_in(path: str, text: str) -> dict[str, Any]:
    if not _says_something(text):
        return {}
    table = _plainly(text)
    if table is None:
        import tomllib

        try:
            table = tomllib.loads(text).get("containers", {})
        except tomllib.TOMLDecodeError as error:
            raise FormatError(f"{path}: {error}") from None
    return {key: table[key] for key in KEYS if key in table}


_USUAL = frozenset(
    (
        "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
        "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
"""Capabilities that commands have anyway."""


def _plainly(text: str) -> dict[str, Any] | None:
    """The table ``[containers]`` of a file that is so plain that its values are JSON as well; None of any other.

    Most are, and the import of tomllib takes a tenth of a build that is all cached.
    """
    import json

    if not text.replace("\n", "").replace("\t", "").isprintable():
        return None
    tables: dict[str, dict[str, Any]] = {}
    table: dict[str, Any] = {}
    for line in map(str.strip, text.split("\n")):
        if not line or line.startswith("#"):
            continue
        key, equals, value = (word.strip() for word in line.partition("="))
        if not equals and line[0] + line[-1] == "[]" and _is_bare(line[1:-1]) and line not in tables:
            table = tables[line] = {}
            continue
        # What follows is no JSON where it is TOML of another kind; a null and escapes would be JSON of another kind.
        if not tables or not _is_bare(key) or key in table or "\\" in value or "null" in value or "{" in value:
            return None
        try:
            table[key] = json.loads(value, parse_float=_refuse, parse_constant=_refuse)
        except ValueError:
            return None
    return tables.get("[containers]", {})


def _is_bare(key: str) -> bool:
    return key.isascii() and key.replace("-", "").replace("_", "").isalnum()


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _says_something(text: str) -> bool:
    """Whether a key of ours is set to what is not so anyway.

    In the file that Debian installs all is comments but for the usual capabilities; reading TOML costs 8 ms.
    """
    words = [line.split("=", 1)[0].strip().strip("\"'") for line in text.splitlines() if "=" in line]
    given = [word for word in words if word in KEYS]
    if given != ["default_capabilities"]:
        return bool(given)
    listed = text.partition("\ndefault_capabilities")[2].partition("[")[2].partition("]")[0]
    return {word.strip(" \t\n\"'") for word in listed.split(",")} - {""} != _USUAL


def container_defaults(args: Arguments) -> dict[str, Any]:
    """Fields of :class:`RunOptions` where the files say something that the flags do not; lists come before theirs."""
    found: dict[str, Any] = {}
    for key, value in settings().items():
        _take(found, key, value)
    from buildlib.cli.run_flags import namespace, size, volume

    if "shm_size" in found:
        found["shm_size"] = size(str(found["shm_size"]), "shm-size")
    if "network" in found:
        network = namespace(found.pop("network"))
        if network != "private":  # what engines that run containers are told; a build goes on with the host's
            found["network"] = network
    if "volumes" in found:
        found["volumes"] = tuple(volume(text) for text in found["volumes"])
    return _below(found, args)


def _take(found: dict[str, Any], key: str, value: Any) -> None:
    name = KEYS[key]
    if name == "security":
        kind = key.partition("_")[0]
        found[name] = (*found.get(name, ()), f"{kind}={value}") if value else found.get(name, ())
    elif name == "no_proxy":
        found[name] = value is False
    elif name == "cap_add":
        found["cap_add"], found["cap_drop"] = tuple(value), ("ALL",)
    else:
        found[name] = tuple(value) if isinstance(value, list) else value


def _below(found: dict[str, Any], args: Arguments) -> dict[str, Any]:
    """The fields with what the flags say on top."""
    if not found:
        return {}
    from buildlib.cli.run_flags import run_options

    options = run_options(args)
    given = options.given() if options is not None else {}
    if "cap_drop" in found:  # ALL but these; what a flag drops is none of these
        dropped = {_plain(word) for word in given.get("cap_drop", ())}
        found["cap_add"] = tuple(word for word in found["cap_add"] if not {_plain(word), "ALL"} & dropped)
    result = {}
    for name, value in found.items():
        if not value:
            continue
        if not isinstance(value, tuple) or name.startswith("dns"):
            result[name] = given.get(name, value)
        else:
            result[name] = (*value, *given.get(name, ()))
    return result


def _plain(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")


def default_mounts() -> list[Bind]:
    """What ``mounts.conf`` wants every command to see: lines ``SOURCE:TARGET`` or ``PATH``; what is not there is not.

    A file of the user, or else of /etc, goes before the one of /usr/share. What commands write there is thrown away.
    """
    for path in reversed(files("mounts.conf")):
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except OSError:
            continue
        pairs = [line.partition(":")[::2] for line in lines if line and not line.startswith("#")]
        shown = [(source, target or source) for source, target in pairs if os.path.exists(source)]
        if not shown:
            return []
        from buildlib import Bind

        return [Bind(source, target, rw=True) for source, target in shown]
    return []
