"""Which tier the worker of a store works in: the strongest that the machine allows, and what it lacks.

The facts come from :mod:`buildlib.linux.probe` and are kept in the store, for as long as nothing has changed that
they could depend on. Root on an ordinary file system needs no facts.
"""

from __future__ import annotations

import json
import os

from buildlib.errors import UsageError
from buildlib.linux import probe
from buildlib.oci.value import NamedTuple
from buildlib.worker.tier import ROOT, Tier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.linux.probe import Facts, Status

DRIVERS = ("overlay", "fuse", "copy")
ISOLATIONS = ("oci", "rootless", "chroot")

ORDINARY = frozenset(("ext4", "xfs", "btrfs", "tmpfs", "f2fs", "zfs", "bcachefs"))
"""File systems on which overlayfs can have its upper, so that it need not be tried."""

FILE = "machine.json"
"""In the store: the facts, and what they were true of."""

_BARE = "no RUN is shut in, none has a /proc, and what they mount is copied"


class Choice(NamedTuple):
    """A tier, and what is lost by it: sentences, each with what is in the way."""

    tier: Tier
    losses: tuple[str, ...] = ()
    hint: str = ""
    """The one command that would give more; "" where there is none."""
    fresh: bool = False
    """Whether it was found out just now, so that it is worth telling."""

    def __str__(self) -> str:
        return f"storage driver {self.tier.driver}, isolation {self.tier.isolation}"


def choose(root: str, driver: str | None = None, isolation: str | None = None) -> Choice:
    """The tier for the store at ``root``; ``driver`` and ``isolation`` force one.

    Raises :class:`UsageError` for what there is not, or what the machine does not allow.
    """
    for what, name, known in (("storage driver", driver, DRIVERS), ("isolation", isolation, ISOLATIONS)):
        if name is not None and name not in known:
            raise UsageError(f"there is no {what} {name!r}", hint=f"there are {', '.join(known)}")
    status = probe.Status.read()
    if driver in (None, "overlay") and isolation in (None, "oci") and _is_ordinary_root(status, root):
        return Choice(ROOT)
    facts, fresh = known_facts(root, status)
    return decide(facts, driver, isolation)._replace(fresh=fresh)


def decide(facts: Facts, driver: str | None = None, isolation: str | None = None) -> Choice:
    """The strongest tier that ``facts`` allow. Pure, but for the user's name in a hint."""
    losses: list[str] = []
    hint = ""
    whole = "rootless" if facts.nested else "oci"
    ids, strongest = "host", whole if facts.privileged and not facts.mount else "chroot"
    if not facts.privileged and not facts.user_namespace:
        ids, strongest = ("single" if facts.subordinate_ids else "range"), "rootless"
        if facts.subordinate_ids:
            losses.append(f"one user id only, for {facts.subordinate_ids}: other owners are recorded and not set")
            hint = _more_ids(facts)
    elif not facts.privileged:
        losses.append(f"no namespaces, for a user namespace can't be had ({facts.user_namespace}): {_BARE}")
        hint = _allow_user_namespaces(facts)
    elif facts.mount:
        losses.append(f"no namespaces, for nothing can be mounted ({facts.mount}): {_BARE}")
    chosen = _isolation(facts, isolation, strongest)
    return Choice(Tier(_driver(facts, driver, losses), chosen, ids), tuple(losses), hint)  # type: ignore[arg-type]


def _isolation(facts: Facts, wanted: str | None, strongest: str) -> str:
    """``oci`` and ``rootless`` are the same with and without root; either word means what can be had."""
    if wanted in (None, "chroot"):
        return wanted or strongest
    if strongest == "chroot":
        reason = facts.user_namespace or f"mounting is not allowed: {facts.mount}"
        hint = _allow_user_namespaces(facts) or "leave --isolation away"
        raise UsageError(f"the isolation {wanted!r} can't be had: {reason}", hint=hint)
    return strongest if wanted == "oci" else "rootless"


def _driver(facts: Facts, wanted: str | None, losses: list[str]) -> str:
    lacking = {"overlay": facts.overlay, "fuse": facts.fuse or _no_fuse_library(), "copy": ""}
    if wanted is not None:
        if lacking[wanted]:
            hint = "leave --storage-driver away, and the best that works is taken"
            raise UsageError(f"the storage driver {wanted!r} can't be had: {lacking[wanted]}", hint=hint)
        return wanted
    name = next(name for name in DRIVERS if not lacking[name])
    if name != "overlay":
        slower = {"fuse": "files pass through our own process", "copy": "a container is a copy of its layers"}[name]
        losses.append(f"no overlayfs ({facts.overlay}): {slower}")
    return name


def _no_fuse_library() -> str:
    from importlib.util import find_spec

    return "" if find_spec("pyfuse3") else "pyfuse3 is not installed"


def _allow_user_namespaces(facts: Facts) -> str:
    """The command that lifts what forbids them, where one does."""
    for name, (_, allows) in probe.SYSCTLS.items():
        if facts.user_namespace.startswith(name):
            return f"sudo sysctl -w {name}={allows}"
    if facts.user_namespace.startswith("AppArmor"):
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    return "in a container, give it `--security-opt seccomp=unconfined`" if facts.confined else ""


def _more_ids(facts: Facts) -> str:
    """The command that gives this user subordinate ids, or the use of them."""
    from buildlib.linux import subids

    if "not installed" in facts.subordinate_ids:
        return "sudo apt-get install uidmap"
    if not facts.subordinate_ids.startswith("/etc/"):
        return ""
    return subids.command_for_more(os.geteuid())


# --- facts ------------------------------------------------------------------------------------------------------------


def _is_ordinary_root(status: Status, root: str) -> bool:
    """Whether everything is allowed: nothing confines this process, and the store is no overlay or network share."""
    if not status.effective & probe.CAP_SYS_ADMIN or status.confined or probe.in_user_namespace():
        return False
    if not probe.text("/proc/self/attr/current").startswith(("unconfined", "kernel")) and _apparmor():
        return False
    device = os.stat(root).st_dev
    mark = f" {os.major(device)}:{os.minor(device)} "
    for line in probe.text("/proc/self/mountinfo").splitlines():
        if mark in line:
            return line.partition(" - ")[2].partition(" ")[0] in ORDINARY
    return False


def _apparmor() -> bool:
    return os.path.isdir("/sys/module/apparmor")


def known_facts(root: str, status: Status | None = None, *, again: bool = False) -> tuple[Facts, bool]:
    """The facts about this machine for a store at ``root``, and whether they were measured just now.

    They are taken from the store while nothing has changed that they depend on.
    """
    status = status or probe.Status.read()
    mark = _mark(root, status)
    path = f"{root}/{FILE}"
    if not again:
        try:
            kept: dict[str, Any] = json.loads(probe.text(path) or "{}")
            if kept.get("mark") == mark:
                return probe.unpack(kept["facts"]), False
        except (ValueError, TypeError, KeyError, AttributeError):
            pass  # of another version, or half of it
    from buildlib.snapshot.overlay import OPTIONS

    facts = probe.measure(f"{root}/tmp", OPTIONS)  # noqa: S108 - a folder of the store
    _keep(path, {"mark": mark, "facts": probe.pack(facts)})
    return facts, True


def _keep(path: str, data: dict[str, Any]) -> None:
    try:
        fresh = f"{path}.{os.getpid()}"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(data, file)
        os.rename(fresh, path)
    except OSError:
        return  # it is measured again the next time


def _mark(root: str, status: Status) -> list[Any]:
    """What the facts depend on, as far as it is cheap to look at."""
    from buildlib.linux import subids

    times = []
    for name in (*subids.FILES, "/etc/passwd", "/dev/fuse"):
        try:
            times.append(os.stat(name).st_ctime_ns)
        except OSError:
            times.append(0)
    return [
        probe.text("/proc/sys/kernel/random/boot_id"),
        os.geteuid(),
        *status,
        os.readlink("/proc/self/ns/user"),
        os.stat(root).st_dev,
        *times,
        *map(subids.program, subids.PROGRAMS),
        *(probe.text(f"/proc/sys/{name.replace('.', '/')}") for name in probe.SYSCTLS),
    ]
