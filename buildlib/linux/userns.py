"""Entering a user namespace of one's own, in which this process has all capabilities, with the maps that are wanted."""

from __future__ import annotations

import os

from buildlib.linux import namespaces, subids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.linux.subids import Maps

_WORDS = 4096


class MapFailed(Exception):
    """newuidmap or newgidmap refused; the text is what it said."""


def enter(maps: Maps, flags: int = 0) -> None:
    """Move this process, which has one thread, into a new user namespace and the new namespaces ``flags`` below it.

    Inside it is root. Maps of more than the user's own ids are written by newuidmap(1) and newgidmap(1), which are
    setuid. Raises ``OSError`` where the kernel refuses, :class:`MapFailed` where those programs do.
    """
    uid, gid = os.geteuid(), os.getegid()
    if maps == subids.own(uid, gid):
        namespaces.unshare(namespaces.NEWUSER | flags)
        namespaces.write_id_maps(os.getpid(), maps.uids, maps.gids, setgroups=False)
        return
    writer = _Writer(os.getpid(), maps)
    try:
        namespaces.unshare(namespaces.NEWUSER | flags)
    except OSError:
        writer.dismiss()
        raise
    writer.write()


class _Writer:
    """A child that stays outside, where the programs have their rights, and runs them when it is told to."""

    def __init__(self, target: int, maps: Maps) -> None:
        wait, self.go = os.pipe2(os.O_CLOEXEC)
        self.said, say = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(self.go)  # else it would never hear that the other side is gone
                if os.read(wait, 1):
                    code = _run_both(target, maps, say)
            finally:
                os._exit(code)
        os.close(wait)
        os.close(say)

    def dismiss(self) -> None:
        """It is not needed after all."""
        os.close(self.go)
        os.close(self.said)
        os.waitpid(self.pid, 0)

    def write(self) -> None:
        """Have the maps written. Raises :class:`MapFailed`."""
        os.write(self.go, b"x")
        os.close(self.go)
        with open(self.said, "rb") as file:
            words = file.read(_WORDS).decode(errors="replace").strip()
        _, status = os.waitpid(self.pid, 0)
        if status:
            raise MapFailed(words or "newuidmap or newgidmap could not be run")


def _run_both(target: int, maps: Maps, say: int) -> int:
    """Run the two programs at the same time; the exit code of the first that fails, else 0. Root writes itself."""
    if os.geteuid() == 0:
        try:
            namespaces.write_id_maps(target, maps.uids, maps.gids)
        except OSError as error:  # no CAP_SETUID, or no CAP_SETFCAP, without which root can't be mapped
            os.write(say, f"root may not map ids here: {error.strerror}".encode())
            return 1
        return 0
    running = []
    for name, triples in zip(subids.PROGRAMS, maps, strict=True):
        path = subids.program(name)
        if path is None:
            os.write(say, f"{name} is not installed".encode())
            return 1
        words = [name, str(target), *(str(number) for triple in triples for number in triple)]
        redirect = [(os.POSIX_SPAWN_DUP2, say, 2), (os.POSIX_SPAWN_DUP2, say, 1)]
        running.append(os.posix_spawn(path, words, {}, file_actions=redirect))
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running]
    return next((abs(code) for code in codes if code), 0)
