"""Ops on the process itself: limits, working directory, capabilities, ids. After them little is permitted."""

from __future__ import annotations

import errno
import os
import resource
import stat

from buildlib.linux import caps, process
from buildlib.linux.beneath import IN_ROOT, make_dirs, open_in_root
from buildlib.linux.suppress import suppress
from buildlib.oci.value import frozen

INFINITY = (1 << 64) - 1
"""No limit, as the runtime spec writes it."""


@frozen
class Limit:
    """One resource limit, ``type`` like RLIMIT_NOFILE."""

    type: str
    soft: int
    hard: int

    def describe(self) -> str:
        """One line."""
        return f"limit {self.type} to {self.soft}:{self.hard}"

    def execute(self) -> None:
        """setrlimit(2)."""
        number = getattr(resource, self.type, None)
        if number is None or not self.type.startswith("RLIMIT_"):
            raise OSError(errno.EINVAL, "no such resource limit", self.type)
        soft, hard = (resource.RLIM_INFINITY if value >= INFINITY else value for value in (self.soft, self.hard))
        try:
            resource.setrlimit(number, (soft, hard))
        except ValueError as error:  # Python's word for EINVAL and for raising a hard limit without privilege
            raise OSError(errno.EPERM, str(error), self.type) from None


@frozen
class OomScore:
    """How early the kernel kills this process when memory is short: -1000 … 1000."""

    adjustment: int

    def describe(self) -> str:
        """One line."""
        return f"set oom_score_adj {self.adjustment}"

    def execute(self) -> None:
        """Write /proc/self/oom_score_adj."""
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(self.adjustment).encode())
        finally:
            os.close(fd)


@frozen
class Umask:
    """The file mode creation mask."""

    umask: int = 0o022

    def describe(self) -> str:
        """One line."""
        return f"set umask {self.umask:04o}"

    def execute(self) -> None:
        """umask(2)."""
        os.umask(self.umask)


@frozen
class FreshKeyring:
    """Leave the caller's session keyring."""

    def describe(self) -> str:
        """One line."""
        return "join a new session keyring"

    def execute(self) -> None:
        """keyctl(2)."""
        process.new_session_keyring()


@frozen
class WorkDir:
    """Go to the working directory; make it, owned by the user, where it does not exist."""

    path: str
    uid: int = 0
    gid: int = 0

    def describe(self) -> str:
        """One line."""
        return f"go to {self.path}"

    def execute(self) -> None:
        """By descriptor and through no link of /proc, which could lead to the host (CVE-2024-21626)."""
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fd = open_in_root(root, self.path, os.O_PATH | os.O_DIRECTORY, resolve=IN_ROOT)
            except FileNotFoundError:
                fd, _ = make_dirs(root, self.path, uid=self.uid, gid=self.gid)
            try:
                os.fchdir(fd)
            finally:
                os.close(fd)
        finally:
            os.close(root)


@frozen
class Identity:
    """Become the user, with exactly these capabilities (names; what this process lacks itself is left out)."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line."""
        groups = "".join(f",{gid}" for gid in self.additional_gids)
        return f"become {self.uid}:{self.gid}{groups} with {len(self.effective)} capabilities"

    def execute(self) -> None:
        """Drop the bounding set, change ids keeping what is permitted, then set the other sets."""
        own = caps.get_permitted()
        caps.drop_bounding(caps.mask(self.bounding))
        process.prctl(process.PR_SET_KEEPCAPS, 1)
        _set_groups(self.additional_gids)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        process.prctl(process.PR_SET_KEEPCAPS, 0)
        permitted = caps.mask(self.permitted) & own
        inheritable = caps.mask(self.inheritable) & own
        caps.set_capabilities(
            effective=caps.mask(self.effective) & permitted, permitted=permitted, inheritable=inheritable
        )
        caps.set_ambient(caps.mask(self.ambient) & permitted & inheritable)


def _set_groups(gids: tuple[int, ...]) -> None:
    try:
        os.setgroups(gids)
    except PermissionError:
        # In a user namespace with one id nobody may (user_namespaces(7), "/proc/pid/setgroups"); there are no groups to
        # be in either.
        with open("/proc/self/setgroups", "rb") as file:
            if file.read().strip() != b"deny":
                raise


@frozen
class DieWithParent:
    """Let the kernel kill this process when its launcher dies. Changing ids takes that away, so it comes late."""

    def describe(self) -> str:
        """One line."""
        return "die with the launcher"

    def execute(self) -> None:
        """prctl(2)."""
        process.die_with_parent()


@frozen
class NoNewPrivileges:
    """Setuid bits and file capabilities are void from here on."""

    def describe(self) -> str:
        """One line."""
        return "forbid new privileges"

    def execute(self) -> None:
        """prctl(2)."""
        process.set_no_new_privs()


@frozen
class OwnOutput:
    """Give the user the pipes that are its standard streams, so that it can open /dev/stdout as well."""

    uid: int

    def describe(self) -> str:
        """One line."""
        return f"give the pipes to {self.uid}"

    def execute(self) -> None:
        """fchown(2), for pipes only: a terminal or a file belongs to somebody."""
        for fd in (0, 1, 2):
            with suppress(OSError):
                if stat.S_ISFIFO(os.fstat(fd).st_mode):
                    os.fchown(fd, self.uid, -1)
