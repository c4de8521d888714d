"""A bundle: the directory of a container's ``config.json``, read and checked (bundle.md, config.md)."""

from __future__ import annotations

import os

from buildlib.errors import NotFound, SandboxError, UsageError
from buildlib.oci import document
from buildlib.oci.runtime import Linux, RuntimeSpec
from buildlib.oci.value import evolve
from buildlib.sandbox.runtime import first, hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.oci.mount import Mount


def read(bundle: str) -> tuple[RuntimeSpec, bytes]:
    """The spec in the directory ``bundle``, and its bytes. Raises :class:`NotFound`, :class:`FormatError`, …."""
    try:
        with open(f"{bundle}/config.json", "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        message = f"JSON specification file config.json not found in {bundle}"
        raise NotFound(message, kind="bundle", name=bundle) from None
    return _from_here(parse(raw), bundle), raw


def _from_here(spec: RuntimeSpec, bundle: str) -> RuntimeSpec:
    """The spec with sources of binds that are relative found in the bundle (config.md, "Mounts")."""

    def found(mount: Mount) -> Mount:
        bind = mount.type == "bind" or not {"bind", "rbind"}.isdisjoint(mount.options)
        if not bind or not mount.source or mount.source.startswith("/"):
            return mount
        return evolve(mount, source=os.path.join(os.path.abspath(bundle), mount.source))

    return evolve(spec, mounts=tuple(map(found, spec.mounts)))


def parse(raw: bytes) -> RuntimeSpec:
    """The spec of a config.json. Raises :class:`FormatError`, :class:`UsageError`."""
    spec = RuntimeSpec.from_dict(document.load(raw, "config.json"))
    if spec.oci_version.split(".")[0] != "1":
        raise UsageError(f"config.json: ociVersion {spec.oci_version!r} is not supported; 1.x is")
    if spec.root is None or not spec.root.path:
        raise UsageError("config.json: root.path must be specified")
    if spec.process is None:
        raise UsageError("config.json: process must be specified")
    hooks.check(spec.hooks)
    return spec


def root_path(bundle: str, spec: RuntimeSpec) -> str:
    """The root file system's directory, absolute. Raises :class:`NotFound`."""
    path = os.path.realpath(os.path.join(bundle, spec.root.path if spec.root else "rootfs"))
    if not os.path.isdir(path):
        raise NotFound(f"invalid rootfs: {path}: no such directory", kind="rootfs", name=path)
    if path == "/":
        raise UsageError("invalid rootfs: it is the host's root")
    return path


def for_plan(spec: RuntimeSpec) -> RuntimeSpec:
    """The spec without what the runtime sees to itself: hooks, the terminal, the control group, the pid namespace.

    Raises :class:`SandboxError` for fields that contradict each other.
    """
    linux = spec.linux or Linux()
    names = [namespace.type for namespace in linux.namespaces]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise SandboxError(f"linux.namespaces: {twice} stands there twice")
    early = first.early_user(linux)
    outside = ("pid", "user") if early else ("pid",)
    inside: dict[str, Any] = {
        "resources": None,
        "cgroups_path": "",
        "namespaces": tuple(n for n in linux.namespaces if n.type not in outside),
    }
    if early:
        inside.update(uid_mappings=(), gid_mappings=())
    process = evolve(spec.process, terminal=False) if spec.process else None
    return evolve(spec, hooks=None, process=process, linux=evolve(linux, **inside))
