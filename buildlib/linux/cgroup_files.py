"""Which files of a control group get which values for the resources of a runtime spec. Pure: nothing here writes.

Fields and their units are those of config-linux.md of the runtime spec; files those of cgroups(7) and of
Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import math

from buildlib.errors import SandboxError
from buildlib.oci.value import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    Given = Mapping[str, Any]

PREFIX = "linux.resources"
ALLOWED: tuple[dict[str, Any], ...] = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None))
    ),
)
"""Rules that follow those of every spec: without these devices no container works (config-linux.md)."""


@frozen
class Write:
    """A value for a file, and the field of the spec that asks for it."""

    controller: str
    files: tuple[str, ...]
    """The first of them that exists is meant."""
    value: str
    field: str
    optional: bool = False
    """Nothing is lost where the kernel has none of the files."""


def writes(resources: Given, version: Callable[[str], int | None]) -> list[Write]:
    """The writes for ``resources`` in order; ``version`` says whether a controller is to be had as v1 or v2 (or None).

    Devices are not among them: see :func:`device_rules`. Raises :class:`SandboxError` that names the field for what
    the controller does not know.
    """
    found: list[Write] = []
    for section, given in resources.items():
        if section in ("devices", "unified") or not given:
            continue
        if section not in _SECTIONS:
            raise _lacking(section, "there is no such resource")
        controller, *makers = _SECTIONS[section]
        if section == "cpu" and not set(given) - {"cpus", "mems"}:
            controller = "cpuset"
        have = version(controller)
        if have is None:
            raise _lacking(section, f"this machine has no {controller} controller")
        found += makers[have - 1](given)
    found += (Write("", (name,), str(value), f"{PREFIX}.unified.{name}") for name, value in _unified(resources))
    return found


def controllers(resources: Given) -> set[str]:
    """The controllers that ``resources`` need."""
    needed = {_SECTIONS[section][0] for section, given in resources.items() if given and section in _SECTIONS}
    cpu = set(resources.get("cpu") or ())
    if cpu & {"cpus", "mems"}:
        needed.add("cpuset")
    if cpu and not cpu - {"cpus", "mems"}:
        needed.discard("cpu")
    needed |= {name.split(".")[0] for name, _ in _unified(resources)}
    return needed | ({"devices"} if resources.get("devices") is not None else set())


def device_rules(resources: Given) -> list[dict[str, Any]] | None:
    """The rules for devices in order, later ones win; None where the spec does not speak of devices."""
    given = resources.get("devices")
    return None if given is None else [*given, *ALLOWED]


def device_words(rule: Given) -> str:
    """A rule as v1's devices.allow and devices.deny read it: ``c 1:3 rwm``. A number less than zero means all."""
    kind = rule.get("type") or "a"
    if kind == "a":
        return "a"
    numbers = ("*" if n is None or n < 0 else str(n) for n in (rule.get("major"), rule.get("minor")))
    return f"{kind} {':'.join(numbers)} {rule.get('access') or 'rwm'}"


def weight(shares: int) -> int:
    """cpu.shares (2 … 262144) as cpu.weight (1 … 10000): 1024, v1's default, is 100, v2's, and the ends meet."""
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    # The parabola through (2, 1), (1024, 100) and (262144, 10000) in the logarithms, as runc and crun have it.
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def _unified(resources: Given) -> list[tuple[str, str]]:
    found = sorted((resources.get("unified") or {}).items())
    for name, _ in found:
        if "/" in name or "." not in name:
            raise _lacking("unified", f"{name!r} is no name of a file")
    return found


def _lacking(field: str, why: str) -> SandboxError:
    return SandboxError(f"{PREFIX}.{field}: {why}", op="limit resources")


class _Section:
    """The fields of one section, each taken out when it is used, so that what is left is known to be unknown."""

    def __init__(self, name: str, controller: str, given: Given, version: int) -> None:
        self.name = name
        self.controller = controller
        self.given = {key: value for key, value in given.items() if value is not None}
        self.version = version

    def take(self, field: str) -> Any:
        return self.given.pop(field, None)

    def write(self, field: str, *files: str, controller: str | None = None, limit: bool = False) -> Iterator[Write]:
        """The field as it stands in the first of ``files``; with ``limit`` less than zero is no limit."""
        value = self.take(field)
        if value is not None:
            none = "-1" if self.version == 1 else "max"
            text = none if limit and value < 0 else str(int(value) if isinstance(value, bool) else value)
            yield Write(controller or self.controller, files, text, f"{PREFIX}.{self.name}.{field}")

    def end(self) -> None:
        # A field that asks for nothing (false, 0 of kernel memory) may stand there on every kernel.
        for field, value in self.given.items():
            if value:
                raise _lacking(f"{self.name}.{field}", f"cgroup v{self.version} has nothing like it")


def _memory_1(given: Given) -> Iterator[Write]:
    section = _Section("memory", "memory", given, 1)
    section.take("checkBeforeUpdate")
    yield from section.write("limit", "memory.limit_in_bytes", limit=True)
    yield from section.write("swap", "memory.memsw.limit_in_bytes", limit=True)
    yield from section.write("reservation", "memory.soft_limit_in_bytes", limit=True)
    for field, file in (("kernel", "memory.kmem.limit_in_bytes"), ("kernelTCP", "memory.kmem.tcp.limit_in_bytes")):
        if section.given.get(field):
            yield from section.write(field, file, limit=True)
    yield from section.write("swappiness", "memory.swappiness")
    if section.given.get("disableOOMKiller"):
        yield from section.write("disableOOMKiller", "memory.oom_control")
    if section.given.get("useHierarchy"):
        yield from section.write("useHierarchy", "memory.use_hierarchy")
    section.end()


def _memory_2(given: Given) -> Iterator[Write]:
    section = _Section("memory", "memory", given, 2)
    section.take("checkBeforeUpdate")
    section.take("useHierarchy")  # v2 has nothing else
    limit, swap = section.given.get("limit"), section.take("swap")
    yield from section.write("limit", "memory.max", limit=True)
    if swap:
        # The spec counts memory and swap together, v2 swap alone.
        if swap > 0 and (limit is None or limit < 0 or swap < limit):
            raise _lacking("memory.swap", f"{swap} bytes of memory and swap need a limit of memory that is not more")
        value = "max" if swap < 0 else str(swap - limit)
        yield Write("memory", ("memory.swap.max",), value, f"{PREFIX}.memory.swap")
    yield from section.write("reservation", "memory.low", limit=True)
    section.end()


def _cpuset(section: _Section) -> Iterator[Write]:
    for field in ("cpus", "mems"):
        if not section.given.get(field):
            section.take(field)
        yield from section.write(field, f"cpuset.{field}", controller="cpuset")


def _cpu_1(given: Given) -> Iterator[Write]:
    section = _Section("cpu", "cpu", given, 1)
    yield from _cpuset(section)
    if section.given.get("shares"):
        yield from section.write("shares", "cpu.shares")
    if section.given.get("realtimePeriod"):
        yield from section.write("realtimePeriod", "cpu.rt_period_us")
    if section.given.get("realtimeRuntime"):
        yield from section.write("realtimeRuntime", "cpu.rt_runtime_us")
    if section.given.get("period"):
        yield from section.write("period", "cpu.cfs_period_us")
    if section.given.get("quota"):
        yield from section.write("quota", "cpu.cfs_quota_us", limit=True)
    yield from section.write("burst", "cpu.cfs_burst_us")
    yield from section.write("idle", "cpu.idle")
    section.end()


def _cpu_2(given: Given) -> Iterator[Write]:
    section = _Section("cpu", "cpu", given, 2)
    yield from _cpuset(section)
    shares = section.take("shares")
    if shares:
        yield Write("cpu", ("cpu.weight",), str(weight(shares)), f"{PREFIX}.cpu.shares")
    quota, period = section.take("quota"), section.take("period")
    if quota or period:
        field = "quota" if quota else "period"
        value = f"{quota if quota and quota > 0 else 'max'} {period or 100000}"
        yield Write("cpu", ("cpu.max",), value, f"{PREFIX}.cpu.{field}")
    yield from section.write("burst", "cpu.max.burst")
    yield from section.write("idle", "cpu.idle")
    section.end()


def _pids(given: Given) -> Iterator[Write]:
    limit = given.get("limit")
    if limit is not None:
        yield Write("pids", ("pids.max",), str(limit) if limit > 0 else "max", f"{PREFIX}.pids.limit")


_THROTTLES = (
    ("throttleReadBpsDevice", "read_bps", "rbps"),
    ("throttleWriteBpsDevice", "write_bps", "wbps"),
    ("throttleReadIOPSDevice", "read_iops", "riops"),
    ("throttleWriteIOPSDevice", "write_iops", "wiops"),
)


def _io_1(given: Given) -> Iterator[Write]:
    section = _Section("blockIO", "blkio", given, 1)
    for field, name in (("weight", "weight"), ("leafWeight", "leaf_weight")):
        if section.given.get(field):
            yield from section.write(field, f"blkio.{name}", f"blkio.bfq.{name}")
    where = f"{PREFIX}.blockIO.weightDevice"
    for device in section.take("weightDevice") or ():
        for field, name in (("weight", "weight_device"), ("leafWeight", "leaf_weight_device")):
            if device.get(field) is not None:
                value = f"{device['major']}:{device['minor']} {device[field]}"
                yield Write("blkio", (f"blkio.{name}", f"blkio.bfq.{name}"), value, where)
    for field, name, _ in _THROTTLES:
        for device in section.take(field) or ():
            value = f"{device['major']}:{device['minor']} {device['rate']}"
            yield Write("blkio", (f"blkio.throttle.{name}_device",), value, f"{PREFIX}.blockIO.{field}")
    section.end()


def _io_2(given: Given) -> Iterator[Write]:
    section = _Section("blockIO", "io", given, 2)
    files = ("io.bfq.weight", "io.weight")
    weight_ = section.take("weight")
    if weight_:
        yield Write("io", files, f"default {_io_weight(weight_)}", f"{PREFIX}.blockIO.weight")
    for device in section.take("weightDevice") or ():
        value = f"{device['major']}:{device['minor']} {_io_weight(device['weight'])}"
        yield Write("io", files, value, f"{PREFIX}.blockIO.weightDevice")
    for field, _, key in _THROTTLES:
        for device in section.take(field) or ():
            value = f"{device['major']}:{device['minor']} {key}={device['rate'] or 'max'}"
            yield Write("io", ("io.max",), value, f"{PREFIX}.blockIO.{field}")
    section.end()


def _io_weight(value: int) -> int:
    """10 … 1000 of v1 as 1 … 10000 of v2, in proportion."""
    return 1 + (value - 10) * 9999 // 990 if value > 10 else 1


def _hugetlb(version: int) -> Callable[[Iterable[Given]], Iterator[Write]]:
    end = "limit_in_bytes" if version == 1 else "max"

    def make(given: Iterable[Given]) -> Iterator[Write]:
        for limit in given:
            size, value, field = limit["pageSize"], str(limit["limit"]), f"{PREFIX}.hugepageLimits.{limit['pageSize']}"
            yield Write("hugetlb", (f"hugetlb.{size}.{end}",), value, field)
            yield Write("hugetlb", (f"hugetlb.{size}.rsvd.{end}",), value, field, optional=True)

    return make


def _network_1(given: Given) -> Iterator[Write]:
    if given.get("classID"):
        yield Write("net_cls", ("net_cls.classid",), str(given["classID"]), f"{PREFIX}.network.classID")
    for entry in given.get("priorities") or ():
        value = f"{entry['name']} {entry['priority']}"
        yield Write("net_prio", ("net_prio.ifpriomap",), value, f"{PREFIX}.network.priorities")


def _network_2(given: Given) -> Iterator[Write]:
    _Section("network", "network", given, 2).end()
    return iter(())


def _rdma(given: Given) -> Iterator[Write]:
    for device, limits in sorted(given.items()):
        words = [
            f"{name}={limits[field]}"
            for field, name in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if limits.get(field) is not None
        ]
        yield Write("rdma", ("rdma.max",), " ".join([device, *words]), f"{PREFIX}.rdma.{device}")


_SECTIONS: dict[str, Any] = {
    "memory": ("memory", _memory_1, _memory_2),
    "cpu": ("cpu", _cpu_1, _cpu_2),
    "pids": ("pids", _pids, _pids),
    "blockIO": ("blkio", _io_1, _io_2),
    "hugepageLimits": ("hugetlb", _hugetlb(1), _hugetlb(2)),
    "network": ("net_cls", _network_1, _network_2),
    "rdma": ("rdma", _rdma, _rdma),
}
"""Section of the spec → its controller, and what it becomes as v1 and as v2. (v2 calls blkio "io".)"""
