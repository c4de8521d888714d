"""Control groups, v1, v2 and both side by side: made, limited, joined, frozen, killed, read and removed.

A group is one directory in each hierarchy. Nothing here knows whose it is.
"""

from __future__ import annotations

import errno
import os
import posixpath
import time

from buildlib.errors import SandboxError
from buildlib.linux import cgroup_files
from buildlib.linux.signals import signal
from buildlib.linux.suppress import suppress
from buildlib.oci.value import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

UNIFIED = ""
"""The key of v2's one hierarchy among those of v1, which are named by controller or ``name=systemd``."""

_PATIENCE = 5.0
"""Seconds for killed processes to be gone, and for frozen ones to stand still."""


@frozen
class Hierarchy:
    """One tree of groups: where it is mounted, and where in it this process is."""

    names: tuple[str, ...]
    """Its controllers in v1; :data:`UNIFIED` alone for v2."""
    mount: str
    own: str

    def place(self, path: str) -> str:
        """The directory of the group ``path``: absolute from the mount, relative from this process's own group.

        In v2 it is relative to the group above our own: one that has processes can't hand controllers down.
        """
        base = "" if path.startswith("/") else self.own.rstrip("/")
        if self.names == (UNIFIED,):
            base = base.rpartition("/")[0]
        # No ".." leads out of where it is relative to.
        return self.mount + base + posixpath.normpath("/" + path.lstrip("/"))


def hierarchies(mountinfo: str, own: str) -> list[Hierarchy]:
    """The hierarchies of a machine from the texts of /proc/self/mountinfo and /proc/self/cgroup. Pure."""
    points: list[tuple[str, set[str], str, str]] = []
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith(("cgroup ", "cgroup2 ")):
            kind, _, words = rest.split(" ", 2)
            root, point = fields.split(" ")[3:5]
            points.append((kind, set(words.split(",")), root, point))
    found = []
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        for kind, options, root, point in points:
            if (kind == "cgroup2") if not names else (kind == "cgroup" and set(names.split(",")) <= options):
                # A part of a hierarchy may be mounted, as in a container; our own place is then told from its root.
                inner = path if root == "/" else path.removeprefix(root) if path.startswith(root) else "/"
                found.append(Hierarchy(tuple(names.split(",")) if names else (UNIFIED,), point, inner or "/"))
                break
    return found


def mounted() -> list[Hierarchy]:
    """The hierarchies that are mounted here."""
    return hierarchies(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup"))


class Cgroup:
    """A control group. ``paths`` (hierarchy → directory) is plain data: another process can go on with it."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = dict(paths)

    @classmethod
    def at(cls, path: str, controllers: Iterable[str] | None = None) -> Cgroup:
        """The group ``path`` in every hierarchy, or in those that have ``controllers``.

        An absolute path starts at the mounts; a relative one below the groups in which this process is. Nothing is
        made. Raises :class:`SandboxError` where no control groups are mounted.
        """
        wanted = None if controllers is None else {"blkio" if name == "io" else name for name in controllers}
        found = mounted()
        paths = {}
        for hierarchy in found:
            if wanted is None or wanted & set(hierarchy.names):
                paths.update(dict.fromkeys(hierarchy.names, hierarchy.place(path)))
            elif hierarchy.names == (UNIFIED,) and wanted - paths.keys():
                paths[UNIFIED] = hierarchy.place(path)  # the last one: it has what those of v1 have not
        if not paths:
            raise SandboxError("linux.resources: no control groups are mounted", hint="mount cgroup2 at /sys/fs/cgroup")
        return cls(paths)

    @property
    def directories(self) -> list[str]:
        """Each directory once; controllers may share one."""
        return list(dict.fromkeys(self.paths.values()))

    def create(self) -> Cgroup:
        """Make it, with what is missing above, and let controllers reach it. Raises :class:`SandboxError`."""
        for name, path in self.paths.items():
            with _named(f"linux.cgroupsPath {path}"):
                os.makedirs(path, exist_ok=True)
                if name == "cpuset":
                    _inherit_cpuset(path)
        if UNIFIED in self.paths:
            _hand_down(self.paths[UNIFIED])
        return self

    def exists(self) -> bool:
        """Whether it is there, in whichever hierarchy."""
        return any(os.path.isdir(path) for path in self.directories)

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Set the limits of a spec's ``linux.resources``. Raises :class:`SandboxError` that names the field."""
        if (resources.get("memory") or {}).get("checkBeforeUpdate"):
            self._check_memory(resources["memory"].get("limit"))
        later: list[tuple[str, cgroup_files.Write]] = []
        for write in cgroup_files.writes(resources, self._version):
            path = self._file(write)
            if path is None:
                continue
            try:
                _write(path, write.value)
            except OSError as error:
                # Limits that bound each other (memory and memory + swap, quota and period) have one right order.
                if error.errno != errno.EINVAL:
                    raise _refused(write, error) from error
                later.append((path, write))
        for path, write in reversed(later):
            try:
                _write(path, write.value)
            except OSError as error:
                raise _refused(write, error) from error
        rules = cgroup_files.device_rules(resources)
        if rules is not None:
            self._devices(rules)

    def _version(self, controller: str) -> int | None:
        if controller in self.paths:
            return 1
        if UNIFIED not in self.paths:
            return None
        name = {"blkio": "io", "net_cls": ""}.get(controller, controller)
        return 2 if not name or name in _read(f"{self.paths[UNIFIED]}/cgroup.controllers").split() else None

    def _file(self, write: cgroup_files.Write) -> str | None:
        folder = self.paths.get(write.controller) or self.paths.get(UNIFIED)
        for name in write.files:
            if folder and os.path.exists(f"{folder}/{name}"):
                return f"{folder}/{name}"
        if write.optional:
            return None
        raise SandboxError(f"{write.field}: this kernel has no {write.files[0]} here", op="limit resources")

    def _check_memory(self, limit: int | None) -> None:
        usage = self._number("memory", "memory.usage_in_bytes", "memory.current")
        if limit is not None and 0 < limit < usage:
            field = f"{cgroup_files.PREFIX}.memory.limit"
            raise SandboxError(f"{field}: {usage} bytes are in use, more than {limit}", op="limit resources")

    def _number(self, controller: str, v1: str, v2: str) -> int:
        folder, name = (self.paths[controller], v1) if controller in self.paths else (self.paths.get(UNIFIED), v2)
        text = _read(f"{folder}/{name}").strip()
        return int(text) if text.isdigit() else 0

    def _devices(self, rules: list[dict[str, Any]]) -> None:
        what = f"{cgroup_files.PREFIX}.devices"
        with _named(what):
            if "devices" in self.paths:
                for rule in rules:
                    words = cgroup_files.device_words(rule)
                    _write(f"{self.paths['devices']}/devices.{'allow' if rule.get('allow') else 'deny'}", words)
            elif UNIFIED in self.paths:
                from buildlib.linux import device_filter

                device_filter.attach(self.paths[UNIFIED], rules)
            else:
                raise SandboxError(f"{what}: this machine has no devices controller", op="limit resources")

    def add(self, pid: int) -> None:
        """Move the process ``pid`` into it; 0 is the caller. Raises :class:`SandboxError`."""
        for path in self.directories:
            with _named(f"joining the control group {path}"):
                _write(f"{path}/cgroup.procs", str(pid))

    def pids(self) -> list[int]:
        """The processes in it and in groups below it, as the pid namespace of the caller numbers them."""
        return sorted({pid for path in self._where_processes_are() for pid in _pids(path)})

    def _where_processes_are(self) -> list[str]:
        first = self.paths.get(UNIFIED) or self.paths.get("pids") or next(iter(self.directories), None)
        return [] if first is None else [folder for folder, _, _ in os.walk(first)]

    def freeze(self) -> None:
        """Let every process in it stand still. Raises :class:`SandboxError`."""
        self._set_frozen(True)

    def thaw(self) -> None:
        """Let them go on."""
        self._set_frozen(False)

    def frozen(self) -> bool:
        """Whether it was told to stand still."""
        if "freezer" in self.paths:
            return _read(f"{self.paths['freezer']}/freezer.state").strip() != "THAWED"
        return _read(f"{self.paths.get(UNIFIED)}/cgroup.freeze").strip() == "1"

    def _set_frozen(self, on: bool) -> None:
        with _named("freezing a control group"):
            if "freezer" in self.paths:
                file = f"{self.paths['freezer']}/freezer.state"
                state = "FROZEN" if on else "THAWED"
                for _ in _patiently():
                    _write(file, state)  # again: new processes may have slipped through, so says freezer-subsystem.rst
                    if _read(file).strip() == state:
                        return
            elif UNIFIED in self.paths:
                _write(f"{self.paths[UNIFIED]}/cgroup.freeze", "1" if on else "0")
                for _ in _patiently():
                    if f"frozen {int(on)}" in _read(f"{self.paths[UNIFIED]}/cgroup.events"):
                        return
            else:
                raise SandboxError("freezing a control group: this machine has no freezer", op="freeze")
        raise SandboxError("freezing a control group: its processes do not stand still", op="freeze")

    def kill(self) -> None:
        """Kill every process in it and below it, and wait until they are gone. Raises :class:`SandboxError`."""
        if not self.pids():
            return
        try:
            _write(f"{self.paths[UNIFIED]}/cgroup.kill", "1")  # Linux 5.14
        except (KeyError, OSError):
            self._kill_each()
        if self.frozen():
            self.thaw()
        for _ in _patiently():
            if not self.pids():
                return
        raise SandboxError("killing a control group: some of its processes do not end", op="kill")

    def _kill_each(self) -> None:
        with suppress(SandboxError):
            self.freeze()  # so that none forks away
        for pid in self.pids():
            if pid > 0:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stats(self) -> dict[str, Any]:
        """What it uses, in the shape of ``runc events --stats``; times in nanoseconds, sizes in bytes."""
        from buildlib.linux.cgroup_stats import stats

        return stats(self.paths)

    def remove(self) -> None:
        """Remove it and what is below it; processes in it must have ended. No harm if it is gone."""
        for path in self.directories:
            for folder, _, _ in os.walk(path, topdown=False):
                with _named(f"removing the control group {folder}"):
                    _rmdir(folder)


def _rmdir(folder: str) -> None:
    for _ in _patiently():
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            # Processes that were just killed hold it until they are reaped.
            if error.errno == errno.EBUSY:
                continue
            raise
        return
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), folder)


def _patiently() -> Iterator[None]:
    """Again and again, ever more slowly, until patience is at its end."""
    end, pause = time.monotonic() + _PATIENCE, 0.0002
    while time.monotonic() < end:
        yield
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


class _named:  # noqa: N801 - it is used like a function
    """What the kernel refuses in the block is an error that says what was to be done."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            message = f"{self.what}: {error.strerror}"
            raise SandboxError(message, op=self.what, errno=error.errno) from error


def _refused(write: cgroup_files.Write, error: OSError) -> SandboxError:
    what = f"{write.field}: {write.files[0]} does not take {write.value!r}"
    return SandboxError(f"{what}: {error.strerror}", op="limit resources", errno=error.errno)


def _inherit_cpuset(path: str) -> None:
    """In v1 a new group has no processors and no memory, and takes no process: give it those of the one above."""
    above = os.path.dirname(path)
    for name in ("cpuset.cpus", "cpuset.mems"):
        if os.path.exists(f"{path}/{name}") and not _read(f"{path}/{name}").strip():
            if not _read(f"{above}/{name}").strip():
                _inherit_cpuset(above)
            _write(f"{path}/{name}", _read(f"{above}/{name}").strip())


def _hand_down(path: str) -> None:
    """Enable v2's controllers on the way down to ``path``, as far as the groups above it allow.

    What they do not allow shows when a limit is set: its file is missing then.
    """
    above = os.path.dirname(path)
    if not os.path.exists(f"{above}/cgroup.subtree_control"):
        return
    _hand_down(above)
    for name in _read(f"{above}/cgroup.controllers").split():
        if name not in _read(f"{above}/cgroup.subtree_control").split():
            with suppress(OSError):
                _write(f"{above}/cgroup.subtree_control", f"+{name}")


def _pids(path: str) -> list[int]:
    return [int(word) for word in _read(f"{path}/cgroup.procs").split()]


def _read(path: str) -> str:
    """The text of a file; "" if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
