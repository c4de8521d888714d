"""Where something is mounted in a root file system: looked up beneath its root at the moment of use."""

from __future__ import annotations

import errno
import os
import stat

from buildlib.linux import beneath, mount

TYPE_CHECKING = False

KERNEL_TREES = ("/proc", "/sys", "/dev")
"""Must be directories of the image and no links: else ``/proc -> /etc`` would let an image choose what is hidden by
the kernel's files, and what of them is not (CVE-2019-16884, CVE-2023-27561)."""


PROC_TARGETS = frozenset(
    "/proc/" + name
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev",
        "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    )
)  # fmt: skip
"""All that may be covered in a /proc: numbers that tools like LXCFS fake. Over anything else the container's own
processes would be told lies when they set a label or a parameter (CVE-2019-19921, CVE-2023-27561, CVE-2025-52881)."""


class mount_point:  # noqa: N801 - it is used like a function
    """``with mount_point(rootfs, path, …) as fd``: an O_PATH descriptor of ``path`` in ``rootfs``, to mount on.

    One that is missing is made if it lies in something mounted for this run, as ``/dev/pts`` does. In the root file
    system itself it is made only with ``make``: whatever is made there would end in a layer. Raises ``OSError``, also
    for a target in a /proc that must not be covered.
    """

    def __init__(self, rootfs: str, path: str, *, directory: bool, make: bool = False) -> None:
        self.rootfs = rootfs
        self.path = path
        self.directory = directory
        self.make = make

    def __enter__(self) -> int:
        root = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.fd = _open(root, self.path, self.directory, self.make)
            try:
                _guard(root, self.fd, self.path)
            except BaseException:
                os.close(self.fd)
                raise
        finally:
            os.close(root)
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _open(root: int, path: str, directory: bool, make: bool) -> int:
    resolve = beneath.IN_ROOT | (beneath.NO_SYMLINKS if path.rstrip("/") in KERNEL_TREES else 0)
    try:
        return _checked(beneath.open_in_root(root, path, os.O_PATH, resolve=resolve), path, directory)
    except FileNotFoundError:
        _make(root, path, directory, make)
    except OSError as error:
        if error.errno == errno.ELOOP and resolve & beneath.NO_SYMLINKS:
            raise OSError(errno.ELOOP, "the image has a symbolic link there", path) from None
        raise
    return _checked(beneath.open_in_root(root, path, os.O_PATH), path, directory)


def _guard(root: int, fd: int, path: str) -> None:
    """Refuse what lies in a /proc, looked at where the look-up ended and not at what it was called."""
    if mount.filesystem_type(fd) != mount.PROC_MAGIC:
        return
    base, real = (os.readlink(f"/proc/self/fd/{number}") for number in (root, fd))
    inside = "/" + real.removeprefix(base.rstrip("/")).lstrip("/")
    if inside not in PROC_TARGETS and inside != "/proc":
        raise OSError(errno.EPERM, "nothing may be mounted in /proc but over a few files of numbers", path)


def guard_proc(mounted: int, path: str) -> None:
    """Refuse that something else than a procfs becomes /proc: what is written there would not reach the kernel."""
    if os.path.normpath("/" + path.lstrip("/")) == "/proc" and mount.filesystem_type(mounted) != mount.PROC_MAGIC:
        raise OSError(errno.EPERM, "only a proc file system can be mounted at /proc", path)


def _checked(fd: int, path: str, directory: bool) -> int:
    is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    if is_directory == directory:
        return fd
    os.close(fd)
    if directory:
        raise NotADirectoryError(errno.ENOTDIR, "there is no directory to mount a directory on", path)
    raise IsADirectoryError(errno.EISDIR, "there is a directory, so no file can be mounted on it", path)


def _make(root: int, path: str, directory: bool, make: bool) -> None:
    spots = beneath.missing(root, path)
    if not spots:  # it has appeared since
        return
    parent = beneath.open_in_root(root, os.path.dirname(spots[0]), os.O_PATH | os.O_DIRECTORY)
    try:
        if not make and os.fstat(parent).st_dev == os.fstat(root).st_dev:
            raise FileNotFoundError(errno.ENOENT, "there is no such mount point in the image", path)
    finally:
        os.close(parent)
    make_spots(root, spots, directory=directory)


def make_spots(root: int, spots: list[str], *, directory: bool) -> None:
    """Make the paths that :func:`~buildlib.linux.beneath.missing` named: directories, the last maybe an empty file."""
    for spot in spots:
        parent = beneath.open_in_root(root, os.path.dirname(spot), os.O_PATH | os.O_DIRECTORY)
        name = os.path.basename(spot)
        try:
            if directory or spot != spots[-1]:
                os.mkdir(name, 0o755, dir_fd=parent)
            else:
                os.mknod(name, 0o644, dir_fd=parent)
        finally:
            os.close(parent)
