"""Which system calls the command may make: a profile becomes a program for the kernel. Pure.

A *profile* is what people write (docker's and podman's JSON: rules that depend on capabilities and machines), *seccomp*
what a runtime spec holds (``linux.seccomp``), a *filter* what the kernel takes.
"""

from __future__ import annotations

from buildlib.errors import SandboxError
from buildlib.oci.value import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

DEFAULT = {"profile": "default"}
"""Stands for our own profile in ``linux.seccomp``, so that a spec need not carry hundreds of names."""


@frozen
class Filter:
    """A program of classic BPF, and how it is to be put in force."""

    program: bytes
    flags: int = 0
    listener_path: str = ""
    listener_metadata: str = ""


_made: dict[tuple[str, frozenset[str]], Filter] = {}


def prepare(capabilities: Collection[str]) -> None:
    """Make our filter for ``capabilities`` now, where its machine is known; later it costs nothing."""
    from buildlib.linux.libc import machine
    from buildlib.linux.syscalls import AUDIT

    if machine() in AUDIT:
        make(DEFAULT, capabilities)


def make(given: Mapping[str, Any], capabilities: Collection[str]) -> Filter:
    """The filter for ``linux.seccomp`` (or a profile) and the capabilities of the command; ours are made once.

    Raises :class:`SandboxError` that names the field.
    """
    from buildlib.linux.libc import machine

    if given == DEFAULT:
        key = (machine(), frozenset(capabilities))
        if key not in _made:
            from buildlib.sandbox.seccomp import default

            _made[key] = _compile(default.profile(), capabilities)
        return _made[key]
    return _compile(given, capabilities)


def _compile(given: Mapping[str, Any], capabilities: Collection[str]) -> Filter:
    from buildlib.linux.libc import machine
    from buildlib.linux.seccomp import FLAGS
    from buildlib.sandbox.seccomp import compiler, profile

    resolved = profile.resolve(given, capabilities, machine())
    flags = 0
    for word in given.get("flags") or ():
        if word not in FLAGS or word == "SECCOMP_FILTER_FLAG_NEW_LISTENER":
            raise SandboxError(f"linux.seccomp.flags: there is no {word!r}")
        flags |= FLAGS[word]
    path = str(given.get("listenerPath") or "")
    program, notifies = compiler.compile_filter(resolved, machine())
    if notifies and not path:
        raise SandboxError("linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs one")
    if notifies:
        flags |= FLAGS["SECCOMP_FILTER_FLAG_NEW_LISTENER"]
    return Filter(program, flags, path if notifies else "", str(given.get("listenerMetadata") or ""))
