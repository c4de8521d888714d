"""Mounts as buildah and docker write them in one word, ``type=cache,target=/c`` or ``/host:/target:ro``. Pure."""

from __future__ import annotations

import os

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.container.mounts import Bind, Cache, Secret, Tmpfs

_OTHER_NAMES = {"dst": "target", "destination": "target", "src": "source", "readonly": "ro", "readwrite": "rw"}
_SHARED = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave", "bind", "rbind", "z", "Z"))
"""Options without effect here: mounts live in a namespace of their own, and labels of SELinux are not set."""
_KNOWN = {
    "bind": ("source", "target", "from", "ro", "rw", "bind-propagation", "relabel", "z", "Z"),
    "cache": ("target", "id", "sharing", "mode", "uid", "gid", "from", "source", "ro", "rw"),
    "tmpfs": ("target", "tmpfs-size", "size"),
    "secret": ("id", "target", "source", "env", "variable", "mode", "uid", "gid", "required"),
}


def parse_volume(text: str) -> Bind:
    """``SOURCE:TARGET[:OPTIONS]``; what is written reaches SOURCE unless the options say ``ro``."""
    from buildlib.container.mounts import Bind

    source, colon, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not source or not colon or not target:
        raise UsageError(f'invalid volume "{text}"', hint="write it as SOURCE:TARGET or SOURCE:TARGET:ro")
    if not (source.startswith("/") and target.startswith("/")):
        raise UsageError(f'invalid volume "{text}": both paths must be absolute')
    read_only = False
    for option in filter(None, options.split(",")):
        if option in ("ro", "rw"):
            read_only = option == "ro"
        elif option in ("O", "U"):
            raise UsageError(f'volume "{text}": the option {option} is not supported yet')
        elif option not in _SHARED:
            raise UsageError(f'volume "{text}": unknown option "{option}"')
    return Bind(source, target, rw=not read_only, keep=not read_only)


def parse_mount(text: str, context: str) -> Bind | Cache | Secret | Tmpfs:
    """``type=…,target=…,…``; a relative source lies in ``context``."""
    fields = _fields(text)
    kind = fields.pop("type", "")
    if kind not in _KNOWN:
        raise UsageError(f'mount "{text}": invalid type "{kind}"', hint=f"the types are {', '.join(_KNOWN)}")
    unknown = [name for name in fields if name not in _KNOWN[kind]]
    if unknown:
        raise UsageError(f'mount "{text}": a {kind} has no option "{unknown[0]}"')
    if not fields.get("target") and kind != "secret":
        raise UsageError(f'mount "{text}": the target is missing', hint="say where it goes: target=PATH")
    made: Bind | Cache | Secret | Tmpfs = _MAKE[kind](text, fields, context)
    return made


def _fields(text: str) -> dict[str, str]:
    import csv

    fields: dict[str, str] = {}
    for word in next(csv.reader([text]), []):
        name, _, value = word.strip().partition("=")
        fields[_OTHER_NAMES.get(name, name)] = value
    return fields


def _bind(text: str, fields: dict[str, str], context: str) -> Bind:
    from buildlib.container.mounts import Bind

    other = fields.get("from")
    source = fields.get("source", "" if other is None else "/")
    if other is None:
        if not source:
            raise UsageError(f'mount "{text}": the source is missing', hint="say what to mount: source=PATH")
        source = os.path.join(context, source)
    writable = _flag(text, fields, "rw") and not _flag(text, fields, "ro")
    return Bind(source, fields["target"], from_=other, rw=writable)


def _cache(text: str, fields: dict[str, str], context: str) -> Cache:
    from buildlib.container.mounts import Cache

    sharing = fields.get("sharing", "shared")
    if sharing not in ("shared", "private", "locked"):
        raise UsageError(f'mount "{text}": sharing is shared, private or locked, not "{sharing}"')
    return Cache(
        fields["target"],
        id=fields.get("id"),
        sharing=sharing,
        mode=_number(text, fields, "mode", 0o755, 8),
        uid=_number(text, fields, "uid", 0),
        gid=_number(text, fields, "gid", 0),
        from_=fields.get("from"),
        source=fields.get("source"),
        ro=_flag(text, fields, "ro"),
    )


def _tmpfs(text: str, fields: dict[str, str], context: str) -> Tmpfs:
    from buildlib.container.mounts import Tmpfs

    size = fields.get("tmpfs-size", fields.get("size"))
    return Tmpfs(fields["target"], None if size is None else _bytes(text, size))


def _secret(text: str, fields: dict[str, str], context: str) -> Secret:
    from buildlib.container.mounts import Secret

    source, variable = fields.get("source"), fields.get("variable")
    if not fields.get("id") and not fields.get("target"):
        raise UsageError(f'mount "{text}": the id is missing', hint="name the secret: id=NAME,source=FILE")
    if source is None and variable is None:
        hint = "add source=FILE, or variable=NAME of the environment"
        raise UsageError(f'mount "{text}": nothing says what the secret is', hint=hint)
    return Secret(
        fields.get("id") or os.path.basename(fields["target"]),
        target=fields.get("target"),
        source=None if source is None else os.path.join(context, source),
        variable=variable,
        env=fields.get("env"),
        mode=_number(text, fields, "mode", 0o400, 8),
        uid=_number(text, fields, "uid", 0),
        gid=_number(text, fields, "gid", 0),
        required=_flag(text, fields, "required"),
    )


_MAKE: dict[str, Any] = {"bind": _bind, "cache": _cache, "tmpfs": _tmpfs, "secret": _secret}


def _flag(text: str, fields: dict[str, str], name: str) -> bool:
    value = fields.get(name)
    if value is None or value.lower() in ("false", "0"):
        return False
    if value.lower() in ("", "true", "1"):
        return True
    raise UsageError(f'mount "{text}": {name} is true or false, not "{value}"')


def _number(text: str, fields: dict[str, str], name: str, default: int, base: int = 10) -> int:
    value = fields.get(name)
    if value is None:
        return default
    try:
        return int(value, base)
    except ValueError:
        raise UsageError(f'mount "{text}": {name} is a number, not "{value}"') from None


def _bytes(text: str, value: str) -> int:
    number = value.lower().removesuffix("b")
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(number[-1:], 1)
    try:
        return int(number if factor == 1 else number[:-1]) * factor
    except ValueError:
        raise UsageError(f'mount "{text}": "{value}" is no size', hint="write it as 64m or 1g") from None
