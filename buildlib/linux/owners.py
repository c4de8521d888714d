"""Owners that this process can't give, for lack of mapped ids or of rights: written down beside, and told from there.

In a user namespace chown(2) knows the ids that are mapped and mknod(2) makes no devices; a process without CAP_CHOWN
gives its files to nobody, without CAP_MKNOD it makes no devices either. What could not be set is an
extended attribute then: of a file or directory ``user.buildlib.owner``, of a symbolic link, which can carry none, one
of its directory. It counts for what belongs to this process only (root, in a user namespace), so that whom a file
belongs to can't change whose it was. Where everything can be set nothing is written down and nothing told.
"""

from __future__ import annotations

import errno
import os
import stat

PREFIX = "user.buildlib."
"""Of all our attributes; they are no content of an image."""

_OWNER = PREFIX + "owner"
"""``uid:gid``, and of a device ``:mode:major:minor``, with the mode in octal."""
_LINK = PREFIX + "link."
"""Followed by a digest of the link's name: ``uid:gid:mtime``, which says that it is still that link."""

_NOTHING = (errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.ENOENT)
_REFUSED = (errno.EINVAL, errno.EPERM)
"""An id that is not mapped; no right to give it."""
_RIGHTS = 1 << 0 | 1 << 27
"""CAP_CHOWN and CAP_MKNOD (capabilities(7))."""

_recording: list[bool] = []


def recording() -> bool:
    """Whether there are owners that can't be given here, or devices that can't be made."""
    if not _recording:  # functools.cache would do the same, but importing it is felt by every short-lived process
        from buildlib.linux.namespaces import mapped_ids  # and so is ctypes, which comes with it

        _recording.append(mapped_ids() is not None or not _may_all())
    return _recording[0]


def _may_all() -> bool:
    with open("/proc/self/status", "rb") as file:
        effective = next((line.split()[1] for line in file if line.startswith(b"CapEff:")), b"0")
    return int(effective, 16) & _RIGHTS == _RIGHTS


def _own() -> tuple[int, int]:
    """To whom belongs what could not be given to its owner."""
    return os.geteuid(), os.getegid()


def give(fd: int, uid: int, gid: int) -> None:
    """fchown(2), or a note of it. For files and directories. Raises ``OSError``."""
    try:
        os.fchown(fd, uid, gid)
    except OSError as error:
        if error.errno not in _REFUSED or not recording():
            raise
        os.fchown(fd, *_own())
        os.setxattr(fd, _OWNER, f"{uid}:{gid}".encode())
        return
    if recording():
        _forget(fd, _OWNER)


def offer(fd: int, uid: int, gid: int) -> None:
    """fchown(2) where the ids are mapped; where they are not, it stays root's: for what is gone after the run."""
    try:
        os.fchown(fd, uid, gid)
    except OSError as error:
        if error.errno not in _REFUSED or not recording():
            raise


def give_link(name: str | bytes, dir_fd: int, uid: int, gid: int, mtime: int) -> None:
    """The same for the symbolic link ``name`` in a directory; ``mtime`` (ns) is what its time will be."""
    try:
        os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _REFUSED or not recording():
            raise
        try:
            os.setxattr(dir_fd, _link(name), f"{uid}:{gid}:{mtime}".encode())
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
            message = "more links with owners that are not mapped than can be written down of one directory"
            raise OSError(errno.E2BIG, message, os.fsdecode(name)) from None
        return
    if recording():
        _forget(dir_fd, _link(name))


def make_special(name: str | bytes, dir_fd: int, mode: int, device: int, uid: int, gid: int) -> None:
    """mknod(2) of a device or FIFO with its owner and mode, or an empty file with a note of all that."""
    try:
        os.mknod(name, stat.S_IFMT(mode) | 0o600, device, dir_fd=dir_fd)
        os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _REFUSED or not recording():
            raise
        if error.errno == errno.EINVAL or os.access(name, os.F_OK, dir_fd=dir_fd, follow_symlinks=False):
            os.unlink(name, dir_fd=dir_fd)  # only its owner was refused
    else:
        os.chmod(name, stat.S_IMODE(mode), dir_fd=dir_fd)  # it was made a moment ago, so it is no link
        return
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    try:
        note = f"{uid}:{gid}:{mode:o}:{os.major(device)}:{os.minor(device)}"
        os.setxattr(fd, _OWNER, note.encode())
    finally:
        os.close(fd)


def told(info: os.stat_result, path: str | int, folder: str | int | None = None, name: str = "") -> os.stat_result:
    """``info`` of what is at ``path`` (not followed, or a descriptor), with owner and kind as they were meant.

    A symbolic link is looked up as ``name`` in the directory ``folder``.
    """
    if not recording() or (info.st_uid, info.st_gid) != _own():
        return info
    if stat.S_ISLNK(info.st_mode):
        note = _read(folder, _link(name)) if folder is not None else None
        return _with_owner(info, note[:2]) if note and note[2] == info.st_mtime_ns else info
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        return info
    note = _read(path, _OWNER)
    return info if note is None else _with_owner(info, note)


def told_at(info: os.stat_result, dir_fd: int, name: str) -> os.stat_result:
    """The same for ``name`` in an open directory."""
    if not recording() or (info.st_uid, info.st_gid) != _own():
        return info
    return told(info, f"/proc/self/fd/{dir_fd}/{name}", dir_fd, name)


def _link(name: str | bytes) -> str:
    from hashlib import blake2b

    return _LINK + blake2b(os.fsencode(name), digest_size=8).hexdigest()


def _read(target: int | str, name: str) -> list[int] | None:
    try:
        value = (
            os.getxattr(target, name) if isinstance(target, int) else os.getxattr(target, name, follow_symlinks=False)
        )
        fields = value.decode("ascii").split(":")
        return [int(field, 8 if place == 2 and len(fields) == 5 else 10) for place, field in enumerate(fields)]
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise
    except ValueError:
        return None  # no note of ours


def _forget(fd: int, name: str) -> None:
    try:
        os.removexattr(fd, name)
    except OSError as error:
        if error.errno not in _NOTHING:
            raise


def _with_owner(info: os.stat_result, note: list[int]) -> os.stat_result:
    fields = list(info[:10])
    fields[4:6] = note[:2]
    more = {
        name: getattr(info, name)
        for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blksize", "st_blocks", "st_rdev")
    }
    if len(note) == 5:
        fields[0], more["st_rdev"] = note[2], os.makedev(note[3], note[4])
    return os.stat_result(fields, more)
