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

_KNOWN = _SET.keys() | _CLEAR.keys() | _PROPAGATION.keys()


@frozen
class Options:
    """What a list of mount options means."""

    attributes: int = 0
    """ATTR_… bits to set on the mount, ``ro`` and the like."""
    clear: int = 0
    """ATTR_… bits to clear: ``rw``, ``suid``, … matter for binds of what has the opposite set."""
    all_attributes: int = 0
    """As ``attributes``, on the mount and on all that is mounted below it: ``rro`` and the like."""
    all_clear: int = 0
    propagation: int = 0
    """One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0 where nothing was said."""
    all_propagation: bool = False
    """``rprivate`` and the like: so is all that is mounted below."""
    bind: bool = False
    recursive: bool = False
    """``rbind``: with all that is mounted below."""
    idmap: str = ""
    """"idmap" or "ridmap": owners are shown as the ids of a user namespace."""
    copy_up: bool = False
    """``tmpcopyup``: a new tmpfs begins with what was there before."""
    rest: tuple[str, ...] = ()
    """What is left for the file system itself, in order."""


def parse(words: Iterable[str]) -> Options:
    """Sort option words (config.md of the runtime spec, "Linux mount options"); the last of contradicting ones wins."""
    found: dict[str, int] = {"attributes": 0, "clear": 0, "all_attributes": 0, "all_clear": 0}
    propagation, all_propagation, bind, recursive, copy_up, idmap = 0, False, False, False, False, ""
    rest = []
    for word in words:
        everywhere = word[:1] == "r" and word[1:] in _KNOWN
        short = word[1:] if everywhere else word
        prefix = "all_" if everywhere else ""
        if word in ("", "defaults"):
            continue
        if word in ("bind", "rbind"):
            bind, recursive = True, recursive or word == "rbind"
        elif word == "tmpcopyup":
            copy_up = True
        elif word in ("idmap", "ridmap"):
            idmap = word
        elif short in _SET:
            found[f"{prefix}attributes"] |= _SET[short]
            found[f"{prefix}clear"] &= ~_SET[short]
        elif short in _CLEAR:
            found[f"{prefix}attributes"] &= ~_CLEAR[short]
            found[f"{prefix}clear"] |= _CLEAR[short]
        elif short in _PROPAGATION:
            propagation, all_propagation = _PROPAGATION[short], everywhere
        else:
            rest.append(word)
    return Options(
        **found,
        propagation=propagation,
        all_propagation=all_propagation,
        bind=bind,
        recursive=recursive,
        idmap=idmap,
        copy_up=copy_up,
        rest=tuple(rest),
    )
