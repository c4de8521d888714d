"""A plan with what a runtime does besides, at the places where the spec wants it. Pure, but for the ops."""

from __future__ import annotations

import errno
import os
import stat
import sys

from buildlib.errors import SandboxError
from buildlib.linux import mount, namespaces
from buildlib.oci.value import frozen
from buildlib.sandbox.ops import command, hiding, mounts, process
from buildlib.sandbox.ops.cgroups import MountGroups
from buildlib.sandbox.ops.namespaces import OpenUser, Unshare
from buildlib.sandbox.ops.seccomp import Messenger
from buildlib.sandbox.program import candidates
from buildlib.sandbox.runtime import hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from buildlib.sandbox.op import Op
    from buildlib.sandbox.ops.console import Console
    from buildlib.sandbox.runtime.talk import Talk


@frozen
class Extras:
    """What is to be added to a plan."""

    talk: Talk
    """With the runtime process, which does what can only be done from outside."""
    create_hooks: tuple[dict[str, Any], ...] = ()
    """Those that run in the container's namespaces before the pivot."""
    start_hooks: tuple[dict[str, Any], ...] = ()
    """Those that run in the container right before its process."""
    console: Console | None = None
    start: int | None = None
    """A descriptor with one byte to read when the process may begin; None: at once."""
    pivot: bool = True


def arrange(ops: Sequence[Op], extras: Extras) -> Iterator[Op]:
    """The ops of a new container: what :func:`~buildlib.sandbox.plan.plan` says, and what a runtime adds.

    The cgroup namespace is made as late as can be, so that mounting need not wait for the control group.
    """
    own_group, limited, mounted = False, False, False
    for op in ops:
        if isinstance(op, Unshare) and "cgroup" in op.types:
            own_group = True
            op = Unshare(tuple(name for name in op.types if name != "cgroup"))
        if isinstance(op, _IN_GROUP) and not limited:
            limited = True
            yield Tell(extras.talk, "limited")
            if own_group:
                yield Unshare(("cgroup",))
        if isinstance(op, _BEHIND_MOUNTS) and not mounted:
            mounted = True
            yield Tell(extras.talk, "mounted")
            if extras.create_hooks:
                yield Hooks(extras.talk, "createContainer", extras.create_hooks)
        if isinstance(op, mounts.PivotRoot):
            yield op if extras.pivot else MoveRoot(op.rootfs)
            if extras.console:
                yield extras.console
        elif isinstance(op, process.Identity):
            yield op
            yield from _at_last(ops, extras)
        elif not isinstance(op, _FROM_OUTSIDE):
            yield op


def join(ops: Sequence[Op], pidfd: int, types: int, extras: Extras) -> Iterator[Op]:
    """The ops of one more process in a container: of a plan the part behind the pivot."""
    yield Tell(extras.talk, "limited")
    behind = False
    for op in ops:
        if isinstance(op, OpenUser | Messenger):  # paths that are to be opened out here
            yield op
        elif isinstance(op, mounts.PivotRoot):
            behind = True
            yield Join(pidfd, types)
            if extras.console:
                yield extras.console
        elif isinstance(op, process.Identity):
            yield op
            yield from _at_last(ops, extras)
        elif behind and not isinstance(op, _NOT_AGAIN):
            yield op


_FROM_OUTSIDE = (process.DieWithParent, process.OomScore)
"""A container outlives the runtime; and its process, which nobody inside may look into, can't write to /proc/self."""


_BEHIND_MOUNTS = (mounts.PivotRoot, process.Identity)
_IN_GROUP = (MountGroups, *_BEHIND_MOUNTS)
"""Before which the process has to be in its control group."""
_NOT_AGAIN = (*_FROM_OUTSIDE, hiding.ReadOnlyRoot, mounts.Propagation)


def _at_last(ops: Sequence[Op], extras: Extras) -> Iterator[Op]:
    """What the user's identity is needed for, and then the word to begin."""
    program = next(op for op in ops if isinstance(op, command.Execute))
    yield LookUp(program.args, program.env)
    if extras.start is not None:
        yield AwaitStart(extras.talk, extras.start)
    if extras.start_hooks:
        yield Hooks(extras.talk, "startContainer", extras.start_hooks)


@frozen
class Join:
    """Enter the namespaces in which a process is, those of the bits ``types``, all at once."""

    pidfd: int
    types: int

    def describe(self) -> str:
        """One line."""
        return "join the namespaces of the container"

    def execute(self) -> None:
        """setns(2). From here on an import would run a file of the container."""
        sys.meta_path.clear()
        namespaces.setns(self.pidfd, self.types)
        os.chdir("/")


@frozen
class Tell:
    """Tell the runtime how far we are, and wait until it has done its part."""

    talk: Talk
    point: str

    def describe(self) -> str:
        """One line."""
        return f"tell the runtime: {self.point}"

    def execute(self) -> None:
        """A line to it, a line back."""
        self.talk.ask(self.point)


@frozen
class Hooks:
    """Hooks that run where this process is."""

    talk: Talk
    point: str
    entries: tuple[dict[str, Any], ...]

    def describe(self) -> str:
        """One line."""
        return f"run {self.point} hooks"

    def execute(self) -> None:
        """Each gets the state, as the runtime has told it last. Raises :class:`SandboxError`."""
        hooks.run(self.point, self.entries, self.talk.state)


@frozen
class LookUp:
    """See that the command is there, while an error can still be told to the caller."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line."""
        return f"look up {self.args[0]}"

    def execute(self) -> None:
        """Raises :class:`SandboxError` with the words by which engines know why (podman and docker parse them)."""
        name = self.args[0]
        why = None
        for path in candidates(name, command.environment(self.env)):
            why = _not_executable(path)
            if why is None:
                return
        if "/" not in name:
            raise SandboxError(f'exec: "{name}": executable file not found in $PATH', errno=errno.ENOENT)
        if why == errno.ENOENT:
            raise SandboxError(f'exec: "{name}": stat {name}: no such file or directory', errno=why)
        raise SandboxError(f'exec: "{name}": {os.strerror(why or 0).lower()}', errno=why)


def _not_executable(path: str) -> int | None:
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return errno.EACCES
    except OSError as error:
        return error.errno
    return None if os.access(path, os.X_OK, effective_ids=True) else errno.EACCES


@frozen
class AwaitStart:
    """Say that all is ready, then wait for ``start``."""

    talk: Talk
    fd: int

    def describe(self) -> str:
        """One line."""
        return "wait for start"

    def execute(self) -> None:
        """One byte. The state that start hooks get is that of a created container."""
        self.talk.say("ready")
        if not os.read(self.fd, 1):
            os._exit(1)
        os.close(self.fd)


@frozen
class MoveRoot:
    """Make ``rootfs`` the root without pivot_root(2), which can't leave an initramfs."""

    rootfs: str

    def describe(self) -> str:
        """One line."""
        return f"move {self.rootfs} to /"

    def execute(self) -> None:
        """Hide what of the host's kernel file systems could be reached below it, then MS_MOVE and chroot(2)."""
        sys.meta_path.clear()
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            points = [line.split(" ")[4] for line in file if line.split(" - ")[1].startswith(("proc ", "sysfs "))]
        root = os.path.realpath(self.rootfs)
        os.chdir(root)
        for point in reversed(points):
            if not f"{point}/".startswith(f"{root}/"):
                mount.umount(point, mount.MNT_DETACH)
        mount.mount(root, "/", None, mount.MS_MOVE)
        os.chroot(".")
        os.chdir("/")
