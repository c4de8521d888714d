"""What a control group uses, in the shape of ``runc events --stats``. It reads files and changes none."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_BLKIO = {
    "ioServiceBytesRecursive": ("blkio.throttle.io_service_bytes_recursive", "blkio.bfq.io_service_bytes_recursive"),
    "ioServicedRecursive": ("blkio.throttle.io_serviced_recursive", "blkio.bfq.io_serviced_recursive"),
}
_IO_STAT = {"rbytes": (0, "Read"), "wbytes": (0, "Write"), "rios": (1, "Read"), "wios": (1, "Write")}
_HUGE_SIZES = "/sys/kernel/mm/hugepages"


def stats(paths: Mapping[str, str]) -> dict[str, Any]:
    """The numbers of the group whose directories are ``paths`` (hierarchy → directory, "" for v2's)."""
    unified = paths.get("")

    def folder(controller: str) -> tuple[str | None, bool]:
        return (paths[controller], False) if controller in paths else (unified, True)

    return {
        "cpu": _cpu(paths, unified),
        "cpuset": {},
        "memory": _memory(*folder("memory")),
        "pids": _pids(folder("pids")[0]),
        "blkio": _blkio(*folder("blkio")),
        "hugetlb": _hugetlb(*folder("hugetlb")),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _cpu(paths: Mapping[str, str], unified: str | None) -> dict[str, Any]:
    usage: dict[str, Any] = {"total": 0, "kernel": 0, "user": 0}
    if "cpuacct" in paths:
        account = paths["cpuacct"]
        usage["total"] = _number(f"{account}/cpuacct.usage")
        usage["percpu"] = [int(word) for word in _text(f"{account}/cpuacct.usage_percpu").split()]
        usage["kernel"] = _number(f"{account}/cpuacct.usage_sys")
        usage["user"] = _number(f"{account}/cpuacct.usage_user")
    elif unified:
        stat = _pairs(f"{unified}/cpu.stat")
        for key, name in (("total", "usage_usec"), ("kernel", "system_usec"), ("user", "user_usec")):
            usage[key] = stat.get(name, 0) * 1000
    stat = _pairs(f"{paths.get('cpu', unified)}/cpu.stat")
    throttling = {
        "periods": stat.get("nr_periods", 0),
        "throttledPeriods": stat.get("nr_throttled", 0),
        "throttledTime": stat.get("throttled_time", stat.get("throttled_usec", 0) * 1000),
    }
    return {"usage": usage, "throttling": throttling}


def _memory(folder: str | None, v2: bool) -> dict[str, Any]:
    raw = _pairs(f"{folder}/memory.stat")
    if not v2:
        names = (("usage", ""), ("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp."))
        entries = {key: _memory_entry(f"{folder}/memory.{middle}") for key, middle in names}
        return {"cache": raw.get("total_cache", raw.get("cache", 0)), **entries, "raw": raw}
    usage = _v2_entry(folder, "memory")
    usage["failcnt"] = _pairs(f"{folder}/memory.events").get("max", 0)
    swap = _v2_entry(folder, "memory.swap")
    if swap["limit"] and usage["limit"]:  # the shape counts memory and swap together
        swap["limit"] += usage["limit"]
    swap["usage"] += usage["usage"]
    none = {"limit": 0, "failcnt": 0}
    return {"cache": raw.get("file", 0), "usage": usage, "swap": swap, "kernel": none, "kernelTCP": none, "raw": raw}


def _memory_entry(prefix: str) -> dict[str, int]:
    return {
        "limit": _number(f"{prefix}limit_in_bytes"),
        "usage": _number(f"{prefix}usage_in_bytes"),
        "max": _number(f"{prefix}max_usage_in_bytes"),
        "failcnt": _number(f"{prefix}failcnt"),
    }


def _v2_entry(folder: str | None, name: str) -> dict[str, int]:
    return {
        "limit": _number(f"{folder}/{name}.max"),
        "usage": _number(f"{folder}/{name}.current"),
        "max": _number(f"{folder}/{name}.peak"),
        "failcnt": 0,
    }


def _pids(folder: str | None) -> dict[str, int]:
    return {"current": _number(f"{folder}/pids.current"), "limit": _number(f"{folder}/pids.max")}


def _blkio(folder: str | None, v2: bool) -> dict[str, Any]:
    if v2:
        return _io_stat(_text(f"{folder}/io.stat"))
    found: dict[str, Any] = {}
    for key, files in _BLKIO.items():
        lines = next(filter(None, (_text(f"{folder}/{name}") for name in files)), "")
        entries = []
        for line in lines.splitlines():
            words = line.replace(":", " ").split()  # "8:0 Read 4096", and a "Total" at the end
            if len(words) == 4:
                entries.append({"major": int(words[0]), "minor": int(words[1]), "op": words[2], "value": int(words[3])})
        found[key] = entries
    return found


def _io_stat(text: str) -> dict[str, Any]:
    found: tuple[list[Any], list[Any]] = ([], [])
    for line in text.splitlines():
        device, *words = line.split()
        major, _, minor = device.partition(":")
        for word in words:
            key, _, value = word.partition("=")
            if key in _IO_STAT:
                which, op = _IO_STAT[key]
                found[which].append({"major": int(major), "minor": int(minor), "op": op, "value": int(value)})
    return dict(zip(_BLKIO, found, strict=True))


def _hugetlb(folder: str | None, v2: bool) -> dict[str, Any]:
    found = {}
    for size in _huge_sizes():
        prefix = f"{folder}/hugetlb.{size}."
        if v2 and os.path.exists(f"{prefix}current"):
            failed = _pairs(f"{prefix}events").get("max", 0)
            found[size] = {"usage": _number(f"{prefix}current"), "failcnt": failed}
        elif os.path.exists(f"{prefix}usage_in_bytes"):
            found[size] = {
                "usage": _number(f"{prefix}usage_in_bytes"),
                "max": _number(f"{prefix}max_usage_in_bytes"),
                "failcnt": _number(f"{prefix}failcnt"),
            }
    return found


def _huge_sizes() -> list[str]:
    """Page sizes as the controller names them: ``2MB``."""
    try:
        sizes = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in os.listdir(_HUGE_SIZES))
    except OSError:
        return []
    units = ((1 << 20, "GB"), (1 << 10, "MB"), (1, "KB"))
    return [next(f"{size // unit}{word}" for unit, word in units if size >= unit) for size in sizes]


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> int:
    """The number in a file; 0 if there is none, also for ``max``."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0


def _pairs(path: str) -> dict[str, int]:
    """A file of lines ``name number``."""
    words = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}
