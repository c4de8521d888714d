"""Ops that leave the host's namespaces and furnish the new ones."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from buildlib.linux import namespaces
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
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


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
        fd = os.open(f"/proc/sys/{path}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, self.value.encode())
        finally:
            os.close(fd)
