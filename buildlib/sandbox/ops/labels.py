"""Ops that say under which profile of AppArmor or label of SELinux the command runs."""

from __future__ import annotations

import errno
import os

from buildlib.linux import mount
from buildlib.linux.beneath import BENEATH, NO_SYMLINKS, open_in_root
from buildlib.oci.value import frozen

APPARMOR, SELINUX = "apparmor", "selinux"


@frozen
class Label:
    """What the security module of the kernel shall apply from the next execve(2) on."""

    module: str
    """:data:`APPARMOR` or :data:`SELINUX`."""
    label: str
    field: str
    """That of the spec which asks for it."""

    def describe(self) -> str:
        """One line."""
        return f"label the command {self.label} ({self.field})"

    def execute(self) -> None:
        """Write exec of /proc/self/attr, after a look that it is the kernel's /proc (CVE-2019-16884)."""
        name, text = ("apparmor/exec", f"exec {self.label}") if self.module == APPARMOR else ("exec", self.label)
        root = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if mount.filesystem_type(root) != mount.PROC_MAGIC:
                raise OSError(errno.EPERM, "/proc is no proc file system", self.label)
            own = os.readlink("self", dir_fd=root)
            fd = open_in_root(root, f"{own}/attr/{name}", os.O_WRONLY, resolve=BENEATH | NO_SYMLINKS)
        finally:
            os.close(root)
        try:
            if mount.filesystem_type(fd) != mount.PROC_MAGIC:
                raise OSError(errno.EPERM, "something is mounted over /proc/self/attr", self.label)
            os.write(fd, text.encode())
        finally:
            os.close(fd)


@frozen
class DemandModule:
    """See that the kernel has the security module, while its own files can be seen."""

    module: str
    field: str

    def describe(self) -> str:
        """One line."""
        return f"look for {self.module} ({self.field})"

    def execute(self) -> None:
        """Raises ``OSError`` where it does not work or is switched off."""
        if not has(self.module):
            raise OSError(errno.EOPNOTSUPP, f"this kernel has no {self.module}", self.field)


def has(module: str) -> bool:
    """Whether the security module works in this kernel."""
    if module == SELINUX:
        return os.path.exists("/sys/fs/selinux/enforce")
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read().startswith("Y")
    except OSError:
        return False
