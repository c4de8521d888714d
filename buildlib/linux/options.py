"""The option words of mount(8), sorted into what the kernel wants to hear separately. Pure: nothing here mounts."""

from __future__ import annotations

from buildlib.linux import mount
from buildlib.oci.value import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SET = {
    "ro": mount.ATTR_RDONLY,
    "nosuid": mount.ATTR_NOSUID,
    "nodev": mount.ATTR_NODEV,
    "noexec": mount.ATTR_NOEXEC,
    "noatime": mount.ATTR_NOATIME,
    "strictatime": mount.ATTR_STRICTATIME,
    "nodiratime": mount.ATTR_NODIRATIME,
    "nosymfollow": mount.ATTR_NOSYMFOLLOW,
}
_CLEAR = {
    "rw": mount.ATTR_RDONLY,
    "suid": mount.ATTR_NOSUID,
    "dev": mount.ATTR_NODEV,
    "exec": mount.ATTR_NOEXEC,
    "atime": mount.ATTR_ATIME_MASK,
    "relatime": mount.ATTR_ATIME_MASK,
    "norelatime": mount.ATTR_ATIME_MASK,
    "nostrictatime": mount.ATTR_ATIME_MASK,
    "diratime": mount.ATTR_NODIRATIME,
    "symfollow": mount.ATTR_NOSYMFOLLOW,
}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "slave": mount.MS_SLAVE,
    "shared": mount.MS_SHARED,
    "unbindable": mount.MS_UNBINDABLE,
}


@frozen
class Options:
    """What a list of mount options means."""

    attributes: int = 0
    """ATTR_… bits to set on the mount, ``ro`` and the like."""
    clear: int = 0
    """ATTR_… bits to clear: ``rw``, ``suid``, … matter for binds of what has the opposite set."""
    propagation: int = 0
    """One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0 where nothing was said."""
    bind: bool = False
    recursive: bool = False
    """``rbind``: with all that is mounted below."""
    rest: tuple[str, ...] = ()
    """What is left for the file system itself, in order."""


def parse(words: Iterable[str]) -> Options:
    """Sort option words; of words that contradict each other the last wins.

    ``rro``, ``rnosuid``, … (recursive attributes of the runtime spec) count as ``ro``, ``nosuid``, …: whoever
    performs a recursive bind sets attributes on all of it.
    """
    attributes = clear = propagation = 0
    bind = recursive = False
    rest = []
    for word in words:
        short = word[1:] if word.startswith("r") and word[1:] in (_SET | _CLEAR | _PROPAGATION) else word
        if word in ("", "defaults"):
            continue
        if word in ("bind", "rbind"):
            bind, recursive = True, recursive or word == "rbind"
        elif short in _SET:
            attributes, clear = attributes | _SET[short], clear & ~_SET[short]
        elif short in _CLEAR:
            attributes, clear = attributes & ~_CLEAR[short], clear | _CLEAR[short]
        elif short in _PROPAGATION:
            propagation = _PROPAGATION[short]
        else:
            rest.append(word)
    return Options(attributes, clear, propagation, bind, recursive, tuple(rest))
