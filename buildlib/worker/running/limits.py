"""The control group of one run: made below the caller's when the spec limits something, removed when all is dead."""

from __future__ import annotations

import os

from buildlib.linux.cgroup_files import controllers
from buildlib.linux.cgroups import Cgroup
from buildlib.linux.process import start_time
from buildlib.oci.runtime import Linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.oci.runtime import RuntimeSpec

_PREFIX = "buildlib-run-"


def place(spec: RuntimeSpec) -> dict[str, str]:
    """The directories of a group for this run, below ``linux.cgroupsPath`` if that is set; none of them is made.

    Raises :class:`SandboxError` where no control groups are mounted.
    """
    linux = spec.linux or Linux()
    # By its name whoever comes later knows that the run is over, if nobody was left to remove it.
    pid = int(os.readlink("/proc/self"))
    name = f"{_PREFIX}{pid}.{start_time(pid)}"
    path = f"{linux.cgroups_path}/{name}" if linux.cgroups_path else name
    group = Cgroup.at(path, controllers(linux.resources or {}))
    _sweep(group)
    return group.paths


def release(paths: dict[str, str]) -> None:
    """Remove the group, if it was made; nothing runs in it any more. Raises :class:`SandboxError`."""
    Cgroup(paths).remove()


def _sweep(group: Cgroup) -> None:
    """Remove groups beside ``group`` whose runs ended without that being done: somebody killed the worker."""
    for directory in group.directories:
        parent = os.path.dirname(directory)
        try:
            names = os.listdir(parent)
        except OSError:
            continue
        for name in names:
            pid, _, started = name.removeprefix(_PREFIX).partition(".")
            if name.startswith(_PREFIX) and pid.isdigit() and str(start_time(int(pid))) != started:
                try:
                    os.rmdir(f"{parent}/{name}")
                except OSError:
                    continue  # something still ends in there, or another one was faster
