"""The control group of one run: made below the caller's when the spec limits something, removed when all is dead."""

from __future__ import annotations

import os

from buildlib.errors import SandboxError
from buildlib.linux.cgroup_files import controllers
from buildlib.linux.cgroups import Cgroup
from buildlib.linux.process import start_time
from buildlib.oci.runtime import Linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildlib.oci.runtime import RuntimeSpec

_PREFIX = "buildlib-run-"


def limit(spec: RuntimeSpec) -> dict[str, str]:
    """The directories of a new group with the limits of ``spec``, below ``linux.cgroupsPath`` if that is set.

    Raises :class:`SandboxError` that names the field, and no group is left then.
    """
    linux = spec.linux or Linux()
    resources = linux.resources or {}
    # By its name whoever comes later knows that the run is over, if nobody was left to remove it.
    pid = int(os.readlink("/proc/self"))
    name = f"{_PREFIX}{pid}.{start_time(pid)}"
    group = Cgroup.at(f"{linux.cgroups_path}/{name}" if linux.cgroups_path else name, controllers(resources))
    _sweep(group)
    try:
        _create(group, resources)
        group.apply(resources)
    except BaseException:
        group.remove()
        raise
    return group.paths


def _create(group: Cgroup, resources: Iterable[str]) -> None:
    try:
        group.create()
    except SandboxError as error:
        what = f"linux.resources ({', '.join(resources)}): no control group can be made for it"
        hint = "without root it takes a group that was handed over: systemd-run --user --scope -p Delegate=yes …"
        raise SandboxError(f"{what}: {error}", op=error.op, errno=error.errno, hint=hint) from error


def release(paths: dict[str, str]) -> None:
    """Remove the group; nothing runs in it any more. Raises :class:`SandboxError`."""
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
