"""Devices of the host for a run: by path, or by the name that a CDI specification gives them.

The Container Device Interface (github.com/cncf-tags/container-device-interface) says in JSON files what a device
like ``vendor.com/gpu=all`` means: nodes, variables, mounts. What such a file wants to have executed is refused.
"""

from __future__ import annotations

import os
import re
import stat

from buildlib.errors import FormatError, NotFound, SandboxError
from buildlib.oci.runtime import Device
from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
"""Where specifications lie, the later one goes first."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(?:=[A-Za-z0-9][A-Za-z0-9._:-]*)?")

INSECURE = ("/dev/fuse", "/dev/kmsg", "/dev/loop-control", *(f"/dev/loop{number}" for number in range(8)))
"""What a run without confinement sees of the host's devices, as far as they are there."""


class Devices(NamedTuple):
    """What a run gets."""

    nodes: tuple[Device, ...] = ()
    env: tuple[str, ...] = ()
    binds: tuple[dict[str, Any], ...] = ()


def find(names: Iterable[str], folders: Sequence[str] = CDI_FOLDERS) -> Devices:
    """The devices that ``names`` mean: ``/dev/x[:/dev/y]``, or ``vendor/class=name[,required]``.

    A name of the second kind that nobody specifies is passed over unless it is required. Raises :class:`NotFound`,
    :class:`SandboxError` for what can't be given, :class:`FormatError` for a damaged specification.
    """
    nodes: list[Device] = []
    env: list[str] = []
    binds: list[dict[str, Any]] = []
    for text in names:
        name, *options = text.split(",")
        if name.startswith("/"):
            source, _, target = name.partition(":")
            nodes.append(node(source, target.partition(":")[0] or source))
            continue
        edits = list(_edits(name, folders))
        if not edits and "required" in options:
            where = " or ".join(folders)
            message = f"the device {name} is not there: no specification in {where} names it"
            raise NotFound(message, hint="give a path like /dev/fuse, or specify it", kind="device", name=name)
        for edit in edits:
            nodes += [_specified(one) for one in edit.get("deviceNodes") or ()]
            env += [str(word) for word in edit.get("env") or ()]
            binds += [_bind(one) for one in edit.get("mounts") or ()]
            if edit.get("hooks"):
                raise SandboxError(f"the device {name} wants hooks to be executed, which is not offered")
    return Devices(tuple(nodes), tuple(env), tuple(binds))


def present(paths: Iterable[str]) -> tuple[Device, ...]:
    """Those of the host's devices that are there."""
    return tuple(node(path, path) for path in paths if os.path.exists(path))


def node(source: str, target: str) -> Device:
    """The device at ``source`` of the host, to be found at ``target``."""
    try:
        info = os.stat(source)
    except OSError as error:
        raise NotFound(f"the device {source}: {error.strerror}", kind="device", name=source) from error
    kind = "c" if stat.S_ISCHR(info.st_mode) else "b" if stat.S_ISBLK(info.st_mode) else ""
    if not kind:
        raise SandboxError(f"{source} is no device")
    major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
    return Device(target, kind, major, minor, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def _edits(name: str, folders: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What the specifications of that kind say of the device, and of all their devices."""
    if not _NAME.fullmatch(name):
        raise SandboxError(f"{name[:100]!r} names no device", hint="write /dev/…, or vendor/class=name")
    kind, _, wanted = name.partition("=")
    for path in _files(folders):
        spec = _read(path)
        if spec.get("kind") != kind:
            continue
        found = [one for one in spec.get("devices") or () if not wanted or one.get("name") == wanted]
        if found:
            yield spec.get("containerEdits") or {}
            for one in found:
                yield one.get("containerEdits") or {}
            return


def _files(folders: Sequence[str]) -> Iterator[str]:
    for folder in reversed(folders):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        yield from (f"{folder}/{name}" for name in names if name.endswith(".json"))


def _read(path: str) -> dict[str, Any]:
    import json

    try:
        with open(path, "rb") as file:
            spec = json.load(file)
    except (OSError, ValueError) as error:
        raise FormatError(f"the device specification {path} can't be read: {error}") from error
    if not isinstance(spec, dict):
        raise FormatError(f"the device specification {path} is no JSON object")
    return spec


def _specified(one: dict[str, Any]) -> Device:
    path = str(one.get("path", ""))
    found = node(str(one.get("hostPath") or path), path)
    return Device(
        path,
        found.type,
        found.major,
        found.minor,
        one.get("fileMode", found.file_mode),
        one.get("uid", found.uid),
        one.get("gid", found.gid),
    )


def _bind(one: dict[str, Any]) -> dict[str, Any]:
    rw = "rw" in (one.get("options") or ())
    return {"type": "bind", "source": str(one["hostPath"]), "target": str(one["containerPath"]), "keep": rw, "rw": rw}
