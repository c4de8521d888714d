"""Processes: who is alive, who dies with whom, which descriptors stay open.

It imports ctypes only where a function needs it, so that asking for :func:`start_time` costs nothing.
"""

from __future__ import annotations

import errno
import os

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

CLOSE_RANGE_CLOEXEC = 4
_LAST_FD = 0xFFFFFFFF
_KEYCTL_JOIN_SESSION_KEYRING = 1


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; ``None`` if there is no such process or it is a zombie.

    Together with the pid it names a process for ever: pids come again, pairs don't. (proc_pid_stat(5), field 22)
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        stat = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    # The command's name stands in parentheses and may hold spaces and parentheses itself.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def thread_count() -> int:
    """How many threads this process has, also those that Python did not start."""
    return len(os.listdir("/proc/self/task"))


def prctl(option: int, value: int = 0) -> None:
    """Change an attribute of this process (prctl(2)). Raises ``OSError``."""
    from ctypes import c_ulong

    from buildlib.linux.libc import LIBC, check

    check(LIBC.prctl(option, c_ulong(value), c_ulong(0), c_ulong(0), c_ulong(0)))


def die_with_parent(signal_number: int = 9) -> None:
    """Let the kernel send this process a signal when the *thread* that forked it ends.

    So it is only for children of processes with one thread. Changing credentials takes it away (prctl(2)).
    """
    prctl(PR_SET_PDEATHSIG, signal_number)


def set_no_new_privs() -> None:
    """From now on no execve(2) gives privileges: setuid bits and file capabilities are void."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """The name that ``ps -e`` and ``top`` show for this process: 15 bytes."""
    from buildlib.linux.libc import LIBC, check

    check(LIBC.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0))


def hide_words() -> None:
    """Wipe what /proc/<pid>/cmdline and environ show: the words that this program was started with.

    Python has its own copies of both; getenv(3) in C finds nothing any more.
    """
    from ctypes import memset

    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    # arg_start arg_end env_start env_end: fields 48 to 51 of proc_pid_stat(5), the first after ")" being the third
    for start, end in ((int(fields[45]), int(fields[46])), (int(fields[47]), int(fields[48]))):
        if 0 < start < end:
            memset(start, 0, end - start)


def close_from(first: int, last: int = _LAST_FD, *, on_exec: bool = False) -> None:
    """Close the descriptors ``first`` … ``last``, now or (``on_exec``) at the next execve (close_range(2))."""
    from buildlib.linux.libc import CLOSE_RANGE, syscall

    if first <= last:
        syscall(CLOSE_RANGE, first, last, CLOSE_RANGE_CLOEXEC if on_exec else 0)


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor that is not in ``keep``."""
    first = 0
    for fd in sorted(keep):
        close_from(first, fd - 1)
        first = fd + 1
    close_from(first)


def take_descriptor(pidfd: int, fd: int) -> int:
    """A copy, in this process, of the descriptor ``fd`` of the process ``pidfd`` (pidfd_getfd(2), Linux 5.6)."""
    from buildlib.linux.libc import PIDFD_GETFD, syscall

    return syscall(PIDFD_GETFD, pidfd, fd, 0)


def new_session_keyring() -> None:
    """Leave the session keyring for an empty one, so that no key of the caller is inherited (keyctl(2)).

    Does nothing where the kernel has no keyrings or the number of the call is not known here.
    """
    from buildlib.linux.libc import KEYCTL, machine, syscall

    number = KEYCTL.get(machine())
    if number is None:
        return
    try:
        syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)
    except OSError as error:
        # EDQUOT: the user's quota of keys is used up by sandboxes that just ended; the kernel frees them lazily.
        if error.errno not in (errno.ENOSYS, errno.EDQUOT, errno.EPERM):
            raise
