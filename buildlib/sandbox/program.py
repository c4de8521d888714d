"""What a program file needs to run: which interpreter, and that it is no door to the host. It runs nothing."""

from __future__ import annotations

import errno
import os
import stat
import struct

from buildlib.linux import beneath
from buildlib.linux.libc import AT_FDCWD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where commands are looked up if the environment has no PATH, as docker does."""

_HEAD = 4096
_DEPTH = 5  # how deep the kernel lets interpreters of interpreters go (fs/exec.c)
_PT_INTERP = 3
_FAR = 1 << 40  # no honest program has its headers beyond


class NotRunnable(Exception):
    """The command can't be started: ``code`` is what a shell would exit with, ``message`` one line that says why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def candidates(command: str, env: dict[str, str]) -> Iterator[str]:
    """The paths at which ``command`` may be, in order: itself if it has a slash, else by PATH (execvp(3))."""
    if "/" in command:
        yield command
        return
    for directory in env.get("PATH", DEFAULT_PATH).split(":"):
        yield f"{directory}/{command}" if directory else f"./{command}"


def vet(path: str) -> None:
    """Raise :class:`NotRunnable` if ``path``, its interpreter or its loader goes through a link of /proc.

    Until the command runs, /proc/self/exe is *our* program file, on the host: executed from the container, it could
    be opened there and overwritten (CVE-2019-5736). A path that does not exist is fine here.
    """
    for _ in range(_DEPTH):
        try:
            fd = beneath.open_in_root(
                AT_FDCWD, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve=beneath.NO_MAGICLINKS
            )
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotRunnable(126, f"{path}: it goes through a link of /proc, or in circles") from None
            return
        try:
            found = interpreter(fd)
        finally:
            os.close(fd)
        if found is None:
            return
        path = found


def interpreter(fd: int) -> str | None:
    """The path after ``#!`` of a script, or the loader that an ELF file asks for; None if it needs neither."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return None
    head = os.pread(fd, _HEAD, 0)
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n", 1)[0].split()
        return os.fsdecode(words[0]) if words else None
    if head.startswith(b"\x7fELF") and len(head) >= 64:
        return _loader(fd, head)
    return None


def _loader(fd: int, head: bytes) -> str | None:
    """The PT_INTERP segment of an ELF file (elf(5))."""
    order = "<" if head[5] == 1 else ">"
    # Width of an address, and where it stands: e_phoff, e_phentsize and e_phnum, p_offset, p_filesz.
    word, e_phoff, e_phentsize, p_offset, p_filesz = ("Q", 32, 54, 8, 32) if head[4] == 2 else ("I", 28, 42, 4, 16)
    (table,) = struct.unpack_from(order + word, head, e_phoff)
    size, count = struct.unpack_from(order + "HH", head, e_phentsize)
    if table > _FAR or size < p_filesz + struct.calcsize(word):
        return None
    headers = os.pread(fd, size * count, table)
    for place in range(0, len(headers) - size + 1, size):
        if struct.unpack_from(order + "I", headers, place)[0] == _PT_INTERP:
            (at,) = struct.unpack_from(order + word, headers, place + p_offset)
            (length,) = struct.unpack_from(order + word, headers, place + p_filesz)
            # The kernel refuses a longer one, too (PATH_MAX).
            return None if length > _HEAD or at > _FAR else os.fsdecode(os.pread(fd, length, at).split(b"\0", 1)[0])
    return None
