"""The tier a worker works in: how it stacks layers and how far it can shut a command in. It chooses nothing itself."""

from __future__ import annotations

from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Driver = Literal["overlay", "fuse", "copy"]
    Isolation = Literal["oci", "rootless", "chroot"]
    Ids = Literal["host", "range", "single"]


class Tier(NamedTuple):
    """What a store's worker does with what it is allowed; plain data that travels to it when it is born."""

    driver: Driver = "overlay"
    """How layers are stacked: by the kernel's overlayfs, by ours in user space, by copying."""
    isolation: Isolation = "oci"
    """How a command runs: in namespaces as root, in those of a user namespace, in no more than a chroot."""
    ids: Ids = "host"
    """Whose user and group ids the worker works with.

    Those of the machine, a range that is mapped to the user's subordinate ids (subuid(5)), or only the user's own.
    """

    @property
    def mounts(self) -> bool:
        """Whether a request mounts what it needs, and so gets a mount namespace of its own."""
        return self.driver != "copy" or self.isolation != "chroot"

    @property
    def stays(self) -> bool:
        """Whether the process that starts a command has to outlive it: to serve its files, or to find its children."""
        return self.driver == "fuse" or self.isolation == "chroot"


ROOT = Tier()
"""All that there is; for root."""

_current = ROOT


def current() -> Tier:
    """The tier of this worker."""
    return _current


def adopt(tier: Tier) -> None:
    """Make ``tier`` that of this process and its children. Called once, at birth."""
    global _current  # noqa: PLW0603 - a fact of the process, like its user namespace
    _current = tier


def pack(tier: Tier) -> str:
    """The tier as one word of a command line."""
    return ",".join(tier)


def unpack(word: str) -> Tier:
    """The tier that :func:`pack` wrote."""
    return Tier(*word.split(","))  # type: ignore[arg-type]
