"""Ops that leave the host's namespaces and furnish the new ones."""

from __future__ import annotations

import _socket as socket
import errno
import fcntl
import os
import struct

from buildlib.linux import mount, namespaces
from buildlib.linux.beneath import BENEATH, NO_SYMLINKS, NO_XDEV, open_in_root
from buildlib.oci.value import frozen

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


@frozen
class Unshare:
    """New namespaces for this process, all in one call. (A pid namespace takes only children: see the launcher.)"""

    types: tuple[str, ...]

    def describe(self) -> str:
        """One line."""
        return f"unshare {' '.join(self.types)}"

    def execute(self) -> None:
        """unshare(2)."""
        flags = 0
        for name in self.types:
            flags |= namespaces.FLAGS[name]
        namespaces.unshare(flags)


@frozen
class Join:
    """Enter a namespace that exists, named by a file like ``/proc/1234/ns/net``."""

    type: str
    path: str

    def describe(self) -> str:
        """One line."""
        return f"join {self.type} namespace {self.path}"

    def execute(self) -> None:
        """setns(2)."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespaces.setns(fd, namespaces.FLAGS[self.type])
        finally:
            os.close(fd)


@frozen
class TimeOffsets:
    """Let the clocks of the new time namespace differ: triples (clock, seconds, nanoseconds)."""

    offsets: tuple[tuple[str, int, int], ...]

    def describe(self) -> str:
        """One line."""
        return "set back " + " ".join(f"{clock} {seconds}.{part:09d} s" for clock, seconds, part in self.offsets)

    def execute(self) -> None:
        """Write /proc/self/timens_offsets, which works until a process is in the namespace (time_namespaces(7))."""
        text = "".join(f"{clock} {seconds} {part}\n" for clock, seconds, part in self.offsets)
        fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


_user_namespace: list[int] = []
"""The descriptor of the namespace that :class:`EnterUser` enters, in this process, which becomes the command."""


@frozen
class OpenUser:
    """Take hold of the user namespace to be entered later: that at ``path``, or a new one with these maps.

    It is done while /proc is the host's. Everything up to the change of ids happens with the rights of out here, so
    the mounts of the container do not belong to it.
    """

    path: str = ""
    uids: tuple[tuple[int, int, int], ...] = ()
    gids: tuple[tuple[int, int, int], ...] = ()

    def describe(self) -> str:
        """One line."""
        if self.path:
            return f"open user namespace {self.path}"
        ids = (",".join(":".join(map(str, triple)) for triple in maps) for maps in (self.uids, self.gids))
        return f"make user namespace {' '.join(ids)}"

    def execute(self) -> None:
        """open(2), or a process that unshares and whose maps are written."""
        if self.path:
            _user_namespace[:] = [os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)]
            return
        from buildlib.linux.idmap import user_namespace

        _user_namespace[:] = [user_namespace(self.uids, self.gids)]


@frozen
class EnterUser:
    """Enter the user namespace that was opened; ids are those of the inside from here on."""

    def describe(self) -> str:
        """One line."""
        return "enter user namespace"

    def execute(self) -> None:
        """setns(2)."""
        fd = _user_namespace.pop()
        namespaces.setns(fd, namespaces.NEWUSER)
        os.close(fd)


@frozen
class Names:
    """Host name and domain name of the uts namespace; "" leaves one as it is."""

    hostname: str = ""
    domainname: str = ""

    def describe(self) -> str:
        """One line."""
        return " ".join(["name the host", *filter(None, (self.hostname, self.domainname))])

    def execute(self) -> None:
        """sethostname(2), setdomainname(2)."""
        if self.hostname:
            socket.sethostname(self.hostname)
        if self.domainname:
            namespaces.set_domainname(self.domainname)


@frozen
class LoopbackUp:
    """Bring up ``lo``, which is down in a new network namespace; the kernel then gives it 127.0.0.1 and ::1."""

    def describe(self) -> str:
        """One line."""
        return "bring up lo"

    def execute(self) -> None:
        """SIOCSIFFLAGS of netdevice(7)."""
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
        finally:
            control.close()


@frozen
class Sysctl:
    """A kernel parameter of the new namespaces, like ``net.ipv4.ip_forward``."""

    name: str
    value: str

    def describe(self) -> str:
        """One line."""
        return f"set sysctl {self.name} = {self.value}"

    def execute(self) -> None:
        """Write below /proc/sys, which is not read-only yet."""
        # sysctl(8): a slash in a name stands for a dot in a component (net.ipv4.conf.eth0/1.forwarding)
        path = self.name.translate(str.maketrans("./", "/."))
        if ".." in path.split("/"):
            raise OSError(errno.EINVAL, "no name of a parameter", self.name)
        # Nobody may have put another tree there, in which the words would go unheard (CVE-2025-52881).
        proc = os.open("/proc/sys", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = open_in_root(proc, path, os.O_WRONLY, resolve=BENEATH | NO_SYMLINKS | NO_XDEV)
        finally:
            os.close(proc)
        try:
            if mount.filesystem_type(fd) != mount.PROC_MAGIC:
                raise OSError(errno.EPERM, "/proc/sys is no proc file system", self.name)
            os.write(fd, self.value.encode())
        finally:
            os.close(fd)
