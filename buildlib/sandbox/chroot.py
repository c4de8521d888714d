"""Running a command where nothing may be unshared or mounted: a changed root, and what rights there are. Pure.

It shuts nobody in: root in a chroot finds its way out (chroot(2)), and sees the processes and the network of whoever
started it. What keeps the command from the machine is the container in which all of this happens.
"""

from __future__ import annotations

import os

from buildlib.errors import SandboxError, UsageError
from buildlib.linux import caps
from buildlib.oci.runtime import Capabilities, Linux, Process
from buildlib.oci.value import evolve, frozen
from buildlib.sandbox.identity import identity
from buildlib.sandbox.ops.mounts import forget_modules
from buildlib.sandbox.seccomp import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.oci.runtime import RuntimeSpec
    from buildlib.sandbox.op import Op

LOST = "no /proc, no /sys, no pids, network and mounts of its own; system calls are filtered if rights allow it"
"""What a command does not have there."""


@frozen
class ChangeRoot:
    """Make ``rootfs`` the root directory."""

    rootfs: str

    def describe(self) -> str:
        """One line."""
        return f"change the root to {self.rootfs}"

    def execute(self) -> None:
        """chroot(2)."""
        forget_modules()
        os.chroot(self.rootfs)
        os.chdir("/")


def plan_chroot(spec: RuntimeSpec, rootfs: str, own: int) -> tuple[Op, ...]:
    """The ops of a child that runs ``spec`` in the directory ``rootfs``; ``own`` are its capabilities (bits).

    Namespaces, mounts, devices and what is hidden of the kernel's files are not made; see :data:`LOST`. Raises
    :class:`SandboxError` for what can't be had without a right that is lacking, and names that.
    """
    wanted = spec.process or Process()
    if not wanted.args:
        raise UsageError("there is no command to run")
    linux = spec.linux or Linux()
    if any(n.type == "network" for n in linux.namespaces):
        raise SandboxError("a network of its own can't be had here", hint="--network=host is what there is")
    _demand(own, "CAP_SYS_CHROOT", "to run a command in a container")
    if wanted.user.uid or wanted.user.gid or wanted.user.additional_gids:
        _demand(own, "CAP_SETUID", f"to run a command as {wanted.user.uid}:{wanted.user.gid}")
        _demand(own, "CAP_SETGID", f"to run a command as {wanted.user.uid}:{wanted.user.gid}")
    if linux.resources:
        raise SandboxError("linux.resources: limits take a control group, and none can be made here")
    bare = evolve(spec, linux=Linux(seccomp=_filter(spec, own)), process=_within(wanted, own))
    return tuple(identity(bare, (ChangeRoot(rootfs),), read_only=False, own_init=False, about={}))


def _filter(spec: RuntimeSpec, own: int) -> dict[str, Any] | None:
    """The filter of system calls, if it may be put in force (seccomp(2)); one that was asked for must be."""
    given = spec.linux.seccomp if spec.linux else None
    if own & caps.mask(("CAP_SYS_ADMIN",)) or (spec.process and spec.process.no_new_privileges):
        return given
    if given and given != DEFAULT:
        hint = "add --security-opt no-new-privileges, with which anybody may"
        raise SandboxError("linux.seccomp: to filter system calls takes CAP_SYS_ADMIN", op="chroot", hint=hint)
    return None


def _demand(own: int, name: str, what: str) -> None:
    if not own & caps.mask((name,)):
        word = name.removeprefix("CAP_")
        hint = f"grant {name} (securityContext.capabilities.add: [{word}]), or let the pod run as root"
        raise SandboxError(f"{what} takes {name} or a user namespace, and there is neither", op="chroot", hint=hint)


def _within(wanted: Process, own: int) -> Process:
    """The process with no more than what we have; without CAP_SETPCAP the bounding set stays as it is."""
    sets = wanted.capabilities or Capabilities()
    every = tuple(name for name in caps.NAMES if own & caps.mask((name,)))
    can_drop = own & caps.mask(("CAP_SETPCAP",))
    bounding = sets.bounding if can_drop else caps.NAMES
    kept: dict[str, Any] = {
        name: tuple(cap for cap in getattr(sets, name) if cap in every)
        for name in ("effective", "permitted", "inheritable", "ambient")
    }
    return evolve(
        wanted,
        capabilities=evolve(sets, bounding=bounding, **kept),
        oom_score_adj=None,
        apparmor_profile="",
        selinux_label="",
    )
