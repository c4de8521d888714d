"""What a copy changes about the metadata of the files that it carries over. Pure."""

from __future__ import annotations

import stat

from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from buildlib.worker.copying.modes import Chmod


class Effect(NamedTuple):
    """How modes and owners come out.

    ``owner`` is given to everything, None keeps the source's. ``strip`` takes setuid and setgid bits away from what
    is not a directory, as docker and buildah do with files of the build context.
    """

    owner: tuple[int, int] | None = (0, 0)
    chmod: Chmod | None = None
    strip: bool = False
    chowned: bool = False
    """Whether ``owner`` was asked for; archives of ADD keep their owners otherwise."""
    timestamp: int | None = None
    """The time that everything gets, instead of that of its source."""

    def mode(self, mode: int) -> int:
        """The permission bits that a file of the full ``mode`` gets."""
        if self.strip:
            mode &= ~0o6000
        return self.chmod.apply(mode) if self.chmod is not None else stat.S_IMODE(mode)

    def ids(self, info: os.stat_result) -> tuple[int, int]:
        """The owner that a file gets."""
        return self.owner if self.owner is not None else (info.st_uid, info.st_gid)

    def times(self, info: os.stat_result) -> tuple[int, int]:
        """Access and modification time that a file gets, in nanoseconds."""
        time = info.st_mtime_ns if self.timestamp is None else self.timestamp * 1_000_000_000
        return time, time

    @property
    def parent_mode(self) -> int:
        """The mode of directories that are made on the way to the destination."""
        return 0o755 if self.chmod is None or self.chmod.octal is None else self.chmod.octal
