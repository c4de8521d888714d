"""A profile as docker and podman write it, resolved to what a runtime spec holds. Pure.

Their rules say on which machines, with which capabilities and from which kernel on they hold.
"""

from __future__ import annotations

import os

from buildlib.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Any

GO = {"x86_64": "amd64", "x86": "386", "aarch64": "arm64"}
"""Machines that Go, in which those programs are written, calls otherwise."""


def resolve(profile: Mapping[str, Any], capabilities: Collection[str], arch: str) -> dict[str, Any]:
    """The profile as ``linux.seccomp`` for a command with ``capabilities`` on the machine ``arch``.

    What is one already comes back the same. Raises :class:`SandboxError`.
    """
    if not profile.get("defaultAction"):
        raise SandboxError("linux.seccomp.defaultAction: it is missing")
    wanted = {**profile, "architectures": _architectures(profile, arch)}
    wanted["syscalls"] = list(_rules(profile, frozenset(capabilities), arch))
    return wanted


def _architectures(profile: Mapping[str, Any], arch: str) -> list[str]:
    if profile.get("architectures"):
        return list(profile["architectures"])
    for entry in profile.get("archMap") or ():
        if _plain(entry.get("architecture")) == arch:
            return [entry["architecture"], *(entry.get("subArchitectures") or ())]
    return []


def _plain(name: object) -> str:
    return str(name).removeprefix("SCMP_ARCH_").lower()


def _rules(profile: Mapping[str, Any], capabilities: frozenset[str], arch: str) -> Iterator[dict[str, Any]]:
    for rule in profile.get("syscalls") or ():
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if includes and not _holds(includes, capabilities, arch, every=True):
            continue
        if excludes and _holds(excludes, capabilities, arch, every=False):
            continue
        names = rule.get("names") or ([rule["name"]] if rule.get("name") else [])
        yield {**rule, "names": list(names)}


def _holds(condition: Mapping[str, Any], capabilities: frozenset[str], arch: str, *, every: bool) -> bool:
    """Whether all parts of a condition hold that it has; not ``every``: whether one of them does."""
    parts = []
    if condition.get("arches"):
        parts.append(bool({arch, GO.get(arch, arch)} & set(condition["arches"])))
    if condition.get("caps"):
        # Of capabilities to be had each must be; one to be lacked is enough to exclude.
        held = [capability in capabilities for capability in condition["caps"]]
        parts.append(all(held) if every else any(held))
    if condition.get("minKernel"):
        parts.append(_kernel() >= _version(condition["minKernel"]))
    return (all if every else any)(parts) if parts else every


def _kernel() -> tuple[int, int]:
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, int]:
    words = text.replace("-", ".").split(".")
    try:
        return int(words[0]), int(words[1])
    except (IndexError, ValueError):
        raise SandboxError(f"linux.seccomp: {text!r} is no version of a kernel") from None
