"""A folder of the disk that lives for one run: what is written there is thrown away."""

from __future__ import annotations

import os
import stat

from buildlib.linux import mount
from buildlib.linux.overlay import overlay
from buildlib.linux.process import start_time
from buildlib.snapshot.overlay import OPTIONS, VOLATILE
from buildlib.worker.tier import current


def half_made(root: str, number: int) -> str:
    """A path in ``tmp/`` of the store whose name says that it is ours, so that it is swept when we are dead."""
    # In a pid namespace of our own getpid() is 1; /proc is that of the host.
    pid = int(os.readlink("/proc/self"))
    return f"{root}/tmp/{pid}.{start_time(pid)}.{number}"  # noqa: S108 - it is the store's own


class Scratch:
    """Made when it is first needed, in ``tmp/`` of the store: a build may write more than memory holds.

    Its name says whose it is: the operation "after" deletes it, or whoever opens the store when that never happened.
    """

    def __init__(self, root: str, *, userxattr: bool) -> None:
        self.path = half_made(root, 0)
        self.options = (*OPTIONS, VOLATILE, *(["userxattr"] if userxattr else []))
        self._made = 0

    @property
    def used(self) -> bool:
        """Whether there is something to be deleted."""
        return self._made > 0

    def place(self) -> str:
        """A new, empty folder."""
        os.makedirs(self.path, 0o700, exist_ok=True)
        self._made += 1
        path = f"{self.path}/{self._made}"
        os.mkdir(path, 0o700)
        return path

    def over(self, fd: int) -> int:
        """A detached mount of what is open as ``fd``, in which everything can be written and nothing arrives there."""
        info = os.fstat(fd)
        if not stat.S_ISDIR(info.st_mode) and not stat.S_ISREG(info.st_mode):
            return mount.open_tree("", dir_fd=fd, recursive=False)  # a device has nothing that could be kept
        place = self.place()
        if stat.S_ISREG(info.st_mode):
            import shutil

            copy = f"{place}/file"
            shutil.copyfile(f"/proc/self/fd/{fd}", copy)
            os.chown(copy, info.st_uid, info.st_gid)
            os.chmod(copy, stat.S_IMODE(info.st_mode))
            return mount.open_tree(copy, recursive=False)
        upper, work = f"{place}/upper", f"{place}/work"
        os.mkdir(upper)
        os.mkdir(work)
        os.chown(upper, info.st_uid, info.st_gid)
        os.chmod(upper, stat.S_IMODE(info.st_mode))
        if current().driver == "overlay":
            return overlay([f"/proc/self/fd/{fd}"], upper, work, self.options)
        from buildlib.worker.running.caches import copy_into

        source = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_into(source, upper)
        finally:
            os.close(source)
        return mount.open_tree(upper, recursive=False)
