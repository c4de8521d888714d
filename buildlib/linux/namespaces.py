"""Namespaces: leave one for a new one, join one, and say how ids map. Nothing here decides when."""

from __future__ import annotations

import ctypes
import os

from buildlib.linux.libc import CLONE3, LIBC, check
from buildlib.linux.signals import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NEWNS = 0x00020000
NEWCGROUP = 0x02000000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000
NEWTIME = 0x00000080

FLAGS = {
    "mount": NEWNS,
    "cgroup": NEWCGROUP,
    "uts": NEWUTS,
    "ipc": NEWIPC,
    "user": NEWUSER,
    "pid": NEWPID,
    "network": NEWNET,
    "time": NEWTIME,
}
"""The flag of each namespace type by its name in the OCI runtime specification."""


def unshare(flags: int) -> None:
    """Move this process into new namespaces (unshare(2)); a new pid namespace takes its children only."""
    check(LIBC.unshare(flags))


def setns(fd: int, flags: int = 0) -> None:
    """Join the namespace that ``fd`` (a file of /proc/…/ns, or a pidfd with ``flags``) names (setns(2))."""
    check(LIBC.setns(fd, flags))


def mapped_ids() -> int | None:
    """How many user or group ids there are in this user namespace, whichever are fewer; None: it is the machine's own.

    (user_namespaces(7), "User and group ID mappings")
    """
    counts = []
    for kind in ("uid", "gid"):
        with open(f"/proc/self/{kind}_map", "rb") as file:
            fields = file.read().split()
        if fields != [b"0", b"0", b"4294967295"]:
            counts.append(sum(map(int, fields[2::3])))
    return min(counts) if counts else None


# The library's syscall(2) as a function that keeps the interpreter's lock, as os.fork() does.
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def fork_into(flags: int) -> int:
    """fork(2) whose child is in new namespaces (CLONE_NEW… bits), while this process stays where it is (clone3(2)).

    After unshare(2) the way back, setns(2), would need rights over the namespace that was left. Only for a process with
    one thread. Raises ``OSError``.
    """
    python = ctypes.pythonapi
    arguments = (ctypes.c_uint64 * 8)(flags, 0, 0, 0, signal.SIGCHLD)  # struct clone_args
    python.PyOS_BeforeFork()
    pid = int(_syscall(ctypes.c_long(CLONE3), ctypes.byref(arguments), ctypes.c_long(ctypes.sizeof(arguments))))
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, os.strerror(number))
    return pid


def set_domainname(name: str) -> None:
    """The NIS domain name of the uts namespace (setdomainname(2))."""
    data = os.fsencode(name)
    check(LIBC.setdomainname(data, len(data)), name)


def write_id_maps(
    pid: int,
    uids: Iterable[tuple[int, int, int]],
    gids: Iterable[tuple[int, int, int]],
    *,
    setgroups: bool = True,
) -> None:
    """Write the id maps of the new user namespace of ``pid``: triples (id inside, id outside, count).

    ``setgroups=False`` gives up setgroups(2) first, which an unprivileged writer must (user_namespaces(7)).
    Raises ``OSError``.
    """
    base = f"/proc/{pid}"
    if not setgroups:
        _write(f"{base}/setgroups", "deny")
    _write(f"{base}/uid_map", _lines(uids))
    _write(f"{base}/gid_map", _lines(gids))


def _lines(maps: Iterable[tuple[int, int, int]]) -> str:
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in maps)


def _write(path: str, text: str) -> None:
    # A map must arrive in one write(2): a buffered file could split it.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
