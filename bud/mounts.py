"""The value of ``RUN --mount=…``: comma-separated options, their types and their defaults."""

from __future__ import annotations

import posixpath
import re

from bud.errors import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple
else:
    from bud.value import NamedTuple

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_KEYS = (
    "type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw", "required",
    "size", "id", "sharing", "mode", "uid", "gid", "env",
)  # fmt: skip
_SIZE = r"(?i)([0-9]+(?:\.[0-9]+)*) ?([kmgtp]?)i?b?\Z"
_SECRETS = "/run/secrets/"
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class MountError(ValueError):
    """A mount option that can't be meant."""

    def __init__(self, message: str, *, expected: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.hint = hint


class Mount(NamedTuple):
    """One mount of a RUN. What a type does not know stays at its default."""

    type: str = "bind"
    from_: str = ""
    source: str = ""
    target: str = ""
    """As written; :func:`settle` makes it absolute."""
    readonly: bool = True
    id: str = ""
    sharing: str = ""
    size: int | None = None
    """Bytes."""
    required: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str | None = None
    """The variable that gets the secret."""


def split_options(text: str) -> list[str]:
    """The fields of one line of CSV (:rfc:`4180`), in which a field with a comma stands in double quotes."""
    if '"' not in text:
        if not text:
            raise MountError("the mount is empty", expected="type=…,target=…")
        return text.split(",")
    fields: list[str] = []
    at = 0
    while True:
        if text.startswith('"', at):
            field, at = _quoted_field(text, at + 1)
        else:
            end = text.find(",", at)
            end = len(text) if end == -1 else end
            field, at = text[at:end], end
            if '"' in field:
                raise MountError(f"a double quote inside of {field[:60]}", expected="a quote around the whole option")
        fields.append(field)
        if at >= len(text):
            return fields
        at += 1


def _quoted_field(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while True:
        end = text.find('"', at)
        if end == -1:
            raise MountError("a double quote is not closed")
        parts.append(text[at:end])
        if not text.startswith('"', end + 1):
            break
        parts.append('"')
        at = end + 2
    if end + 1 < len(text) and text[end + 1] != ",":
        raise MountError("after a quoted option comes something else than a comma")
    return "".join(parts), end + 1


def mount_from(text: str) -> str:
    """The ``from`` of a mount, which is never expanded: it must be known before anything is.

    Raises :class:`MountError` for one with a variable, and for malformed CSV.
    """
    found = ""
    for field in split_options(text):
        key, equals, value = field.partition("=")
        if key.lower() == "from" and equals:
            if re.search(r"\$.", value):
                hint = "name a stage with FROM … AS, and use ARGs there"
                raise MountError("from can't hold variables", hint=hint)
            found = value
    return found


def parse_mount(text: str, expand: Callable[[str], str]) -> Mount:
    """Read one ``--mount``. ``expand`` is applied to every value but that of ``from``.

    Raises :class:`MountError`, and whatever ``expand`` raises.
    """
    mount = Mount()
    writable_said = False
    for field in split_options(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key not in _KEYS:
            raise MountError(f"unknown mount option {key[:60]}", hint=did_you_mean(key, _KEYS))
        if not equals and key not in ("readonly", "ro", "readwrite", "rw", "required"):
            raise MountError(f"the mount option {key} has no value", expected=f"{key}=…")
        if equals and key != "from":
            value = expand(value)
        if key in ("readonly", "ro", "readwrite", "rw"):
            said = _boolean(key, value) if equals else True
            mount = mount._replace(readonly=said if key in ("readonly", "ro") else not said)
            writable_said = True
        else:
            mount = _OPTIONS[key](mount, key, value if equals else "true")
    return _check(mount, writable_said)


def _check(mount: Mount, writable_said: bool) -> Mount:
    if not writable_said:
        mount = mount._replace(readonly=mount.type not in ("cache", "tmpfs"))
    if mount.type in ("bind", "tmpfs"):
        for name in ("mode", "uid", "gid"):
            if getattr(mount, name) is not None:
                raise MountError(f"a {mount.type} mount has no {name}")
    if mount.sharing and mount.type != "cache":
        raise MountError(f"a {mount.type} mount has no sharing")
    if mount.env is not None and mount.type != "secret":
        raise MountError(f"a {mount.type} mount has no env")
    if mount.type == "secret":
        if mount.from_:
            raise MountError("a secret mount has no from")
        if mount.source and mount.id:
            raise MountError("source is another name of id: give one of them")
        if not (mount.source or mount.id or mount.target):
            raise MountError("the secret is not named", expected="id=…")
    return mount


def settle(mount: Mount, workdir: str) -> Mount:
    """Fill in the defaults that depend on other options and on the working directory.

    Raises :class:`MountError` for a mount over the root directory.
    """
    if mount.type == "secret":
        return _settle_secret(mount, workdir)
    if mount.type == "ssh":
        return mount._replace(id=mount.id or "default", target=mount.target and _absolute(mount.target, workdir))
    target = _absolute(mount.target, workdir)
    if target == "/":
        where = "the working directory is /, so" if not mount.target else "it"
        raise MountError(f"a mount can't cover the root directory: {where} needs another target", expected="target=…")
    if mount.type == "cache":
        written = posixpath.normpath(mount.target) if mount.target else "."
        mount = mount._replace(id=mount.id or written, sharing=mount.sharing or "shared")
    return mount._replace(target=target, source=posixpath.normpath("/" + mount.source.lstrip("/")))


def _settle_secret(mount: Mount, workdir: str) -> Mount:
    name = mount.source or mount.id or posixpath.basename(mount.target.rstrip("/"))
    target = mount.target and _absolute(mount.target, workdir)
    if not target and mount.env is None:
        target = _SECRETS + posixpath.basename(name)
    return mount._replace(id=name, source="", target=target)


def _absolute(path: str, workdir: str) -> str:
    joined = posixpath.normpath(posixpath.join(workdir or "/", path))
    return "/" + joined.lstrip("/")


def _set_type(mount: Mount, key: str, value: str) -> Mount:
    if value.lower() not in TYPES:
        hint = did_you_mean(value, TYPES)
        raise MountError(f"unknown type of mount: {value[:60]}", expected=" or ".join(TYPES), hint=hint)
    return mount._replace(type=value.lower())


def _set_text(mount: Mount, key: str, value: str) -> Mount:
    name = {"from": "from_", "src": "source", "dst": "target", "destination": "target"}.get(key, key)
    change: dict[str, Any] = {name: value}
    return mount._replace(**change)


def _set_required(mount: Mount, key: str, value: str) -> Mount:
    # docker reads from left to right, so that the type must be known here.
    if mount.type not in ("secret", "ssh"):
        raise MountError(f"a {mount.type} mount has no required", hint="write the type before it")
    return mount._replace(required=_boolean(key, value))


def _set_size(mount: Mount, key: str, value: str) -> Mount:
    if mount.type != "tmpfs":
        raise MountError(f"a {mount.type} mount has no size", hint="write the type before it")
    match = re.match(_SIZE, value)
    # "1.2.3" has the form, but is no number.
    if match is None or match[1].count(".") > 1 or len(match[1]) > 20:
        raise MountError(f"size={value[:60]} is no size", expected="bytes, or a number such as 64m")
    unit = 1024 ** (" kmgtp".index(match[2].lower()) if match[2] else 0)
    return mount._replace(size=int(float(match[1]) * unit))


def _set_sharing(mount: Mount, key: str, value: str) -> Mount:
    if value.lower() not in SHARING:
        hint = did_you_mean(value, SHARING)
        raise MountError(f"unknown kind of sharing: {value[:60]}", expected=" or ".join(SHARING), hint=hint)
    return mount._replace(sharing=value.lower())


def _set_number(mount: Mount, key: str, value: str) -> Mount:
    base = 8 if key == "mode" else 10
    allowed = "01234567" if base == 8 else "0123456789"
    if not value or value.strip(allowed) or len(value) > 12 or int(value, base) >= 1 << 32:
        expected = "an octal number such as 0400" if base == 8 else "a number"
        raise MountError(f"{key}={value[:60]} is no {key}", expected=expected)
    change: dict[str, Any] = {key: int(value, base)}
    return mount._replace(**change)


def _boolean(key: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise MountError(f"{key}={value[:60]} is not a boolean", expected="true or false")


_OPTIONS: dict[str, Callable[[Mount, str, str], Mount]] = {
    "type": _set_type,
    "from": _set_text,
    "source": _set_text,
    "src": _set_text,
    "target": _set_text,
    "dst": _set_text,
    "destination": _set_text,
    "id": _set_text,
    "env": _set_text,
    "required": _set_required,
    "size": _set_size,
    "sharing": _set_sharing,
    "mode": _set_number,
    "uid": _set_number,
    "gid": _set_number,
}
