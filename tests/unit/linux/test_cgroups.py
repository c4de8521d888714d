"""Control groups on the real kernel, whichever versions it has mounted; and what would be written where, as data."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import SandboxError
from buildlib.linux import cgroup_files, device_filter
from buildlib.linux.cgroup_stats import _io_stat
from buildlib.linux.cgroups import UNIFIED, Cgroup, Hierarchy, hierarchies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MIB = 1 << 20


@pytest.fixture
def group() -> Iterator[Cgroup]:
    made = Cgroup.at(f"buildlib-test-{secrets.token_hex(4)}").create()
    try:
        yield made
    finally:
        made.kill()
        made.remove()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1234"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def unified_only(group: Cgroup) -> Cgroup:
    if UNIFIED not in group.paths:
        pytest.skip("no cgroup2 is mounted here")
    return Cgroup({UNIFIED: group.paths[UNIFIED]})


# --- which files get which values -------------------------------------------------------------------------------------


def written(resources: dict[str, Any], version: int) -> dict[str, str]:
    return {write.files[0]: write.value for write in cgroup_files.writes(resources, lambda _: version)}


EVERYTHING: dict[str, Any] = {
    "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB, "disableOOMKiller": False},
    "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "burst": 1000, "idle": 0, "cpus": "0-1", "mems": "0"},
    "pids": {"limit": 20},
    "blockIO": {
        "weight": 500,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 7}],
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}],
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}},
}


def test_what_v1_is_told() -> None:
    assert written(EVERYTHING, 1) == {
        "memory.limit_in_bytes": "67108864",
        "memory.memsw.limit_in_bytes": "100663296",
        "memory.soft_limit_in_bytes": "33554432",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
        "cpu.shares": "1024",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
        "cpu.cfs_burst_us": "1000",
        "cpu.idle": "0",
        "pids.max": "20",
        "blkio.weight": "500",
        "blkio.weight_device": "8:0 10",
        "blkio.throttle.read_bps_device": "8:0 1000",
        "blkio.throttle.write_iops_device": "8:16 7",
        "hugetlb.2MB.limit_in_bytes": "4194304",
        "hugetlb.2MB.rsvd.limit_in_bytes": "4194304",
        "rdma.max": "mlx5_1 hca_handle=3 hca_object=10",
    }


def test_what_v2_is_told() -> None:
    assert written(EVERYTHING | {"unified": {"memory.high": "1000"}}, 2) == {
        "memory.max": "67108864",
        "memory.swap.max": "33554432",
        "memory.low": "33554432",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
        "cpu.weight": "100",
        "cpu.max": "50000 100000",
        "cpu.max.burst": "1000",
        "cpu.idle": "0",
        "pids.max": "20",
        "io.bfq.weight": "8:0 1",
        "io.max": "8:16 wiops=7",
        "hugetlb.2MB.max": "4194304",
        "hugetlb.2MB.rsvd.max": "4194304",
        "rdma.max": "mlx5_1 hca_handle=3 hca_object=10",
        "memory.high": "1000",
    }


@pytest.mark.parametrize(
    ("resources", "v1", "v2"),
    [
        ({"memory": {"limit": -1}}, {"memory.limit_in_bytes": "-1"}, {"memory.max": "max"}),
        ({"memory": {"limit": 9, "swap": -1}}, None, {"memory.max": "9", "memory.swap.max": "max"}),
        ({"memory": {"limit": 9, "swap": 9}}, None, {"memory.max": "9", "memory.swap.max": "0"}),
        ({"cpu": {"quota": -1}}, {"cpu.cfs_quota_us": "-1"}, {"cpu.max": "max 100000"}),
        ({"cpu": {"period": 5000}}, {"cpu.cfs_period_us": "5000"}, {"cpu.max": "max 5000"}),
        ({"cpu": {"shares": 0, "cpus": ""}}, {}, {}),
        ({"pids": {"limit": -1}}, {"pids.max": "max"}, {"pids.max": "max"}),
        ({"blockIO": {"weight": 1000}}, None, {"io.bfq.weight": "default 10000"}),
        ({"memory": {"disableOOMKiller": True}}, {"memory.oom_control": "1"}, None),
        ({"network": {"classID": 7}}, {"net_cls.classid": "7"}, None),
    ],
)
def test_no_limit_and_the_rest(resources: dict[str, Any], v1: dict[str, str] | None, v2: dict[str, str] | None) -> None:
    if v1 is not None:
        assert written(resources, 1) == v1
    if v2 is not None:
        assert written(resources, 2) == v2


@pytest.mark.parametrize(
    ("resources", "field"),
    [
        ({"memory": {"swappiness": 5}}, "linux.resources.memory.swappiness"),
        ({"memory": {"swap": 5}}, "linux.resources.memory.swap"),
        ({"memory": {"kernel": 5}}, "linux.resources.memory.kernel"),
        ({"memory": {"disableOOMKiller": True}}, "linux.resources.memory.disableOOMKiller"),
        ({"cpu": {"realtimeRuntime": 5}}, "linux.resources.cpu.realtimeRuntime"),
        ({"network": {"classID": 5}}, "linux.resources.network.classID"),
        ({"blockIO": {"leafWeight": 5}}, "linux.resources.blockIO.leafWeight"),
        ({"unified": {"../x.y": "1"}}, "linux.resources.unified"),
        ({"flux": {"x": 1}}, "linux.resources.flux"),
    ],
)
def test_what_v2_lacks_is_an_error_that_names_the_field(resources: dict[str, Any], field: str) -> None:
    with pytest.raises(SandboxError, match=field):
        written(resources, 2)


def test_a_controller_that_is_missing_is_an_error_that_names_the_section() -> None:
    with pytest.raises(SandboxError, match=r"linux.resources.pids: this machine has no pids controller"):
        cgroup_files.writes({"pids": {"limit": 1}}, lambda _: None)


def test_the_controllers_that_resources_need() -> None:
    assert cgroup_files.controllers({"cpu": {"cpus": "0"}}) == {"cpuset"}
    assert cgroup_files.controllers({"cpu": {"cpus": "0", "shares": 2}, "pids": {"limit": 1}}) == {
        "cpuset", "cpu", "pids",
    }  # fmt: skip
    assert cgroup_files.controllers({"devices": [], "unified": {"io.max": ""}, "blockIO": {}}) == {"devices", "io"}


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 100), (262144, 10000), (1 << 30, 10000)])
def test_shares_become_a_weight_of_the_same_meaning(shares: int, weight: int) -> None:
    assert cgroup_files.weight(shares) == weight


def test_device_rules_in_words() -> None:
    words = cgroup_files.device_words
    assert words({"allow": False, "access": "rwm"}) == "a"
    assert words({"type": "c", "major": 1, "minor": 3, "access": "rw"}) == "c 1:3 rw"
    assert words({"type": "b", "major": 8, "minor": -1}) == "b 8:* rwm"


MOUNTS = """\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
OWN = "3:memory:/docker/abc/inner\n2:cpu,cpuacct:/\n1:name=systemd:/user.slice\n0::/user.slice/session.scope\n"


def test_hierarchies_are_found_where_they_are_mounted() -> None:
    assert hierarchies(MOUNTS, OWN) == [
        Hierarchy(("memory",), "/sys/fs/cgroup/memory", "/inner"),
        Hierarchy(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", "/"),
        Hierarchy(("name=systemd",), "/sys/fs/cgroup/systemd", "/user.slice"),
        Hierarchy((UNIFIED,), "/sys/fs/cgroup/unified", "/user.slice/session.scope"),
    ]


def test_a_relative_group_is_below_our_own_in_v1_and_beside_it_in_v2() -> None:
    v1, v2 = Hierarchy(("cpu",), "/c", "/a/b"), Hierarchy((UNIFIED,), "/u", "/a/b")
    assert (v1.place("x"), v1.place("/x")) == ("/c/a/b/x", "/c/x")
    assert (v2.place("x"), v2.place("/x/y")) == ("/u/a/x", "/u/x/y")
    assert Hierarchy((UNIFIED,), "/u", "/").place("x") == "/u/x"


def test_a_group_does_not_climb_out_of_its_place() -> None:
    assert Hierarchy(("cpu",), "/c", "/a").place("../../x") == "/c/a/x"
    assert Hierarchy(("cpu",), "/c", "/a").place("/../x") == "/c/x"


def test_io_of_v2_in_the_shape_of_events() -> None:
    stat = "8:0 rbytes=90 wbytes=7 rios=2 wios=1 dbytes=0 dios=0\n"
    assert _io_stat(stat)["ioServicedRecursive"] == [
        {"major": 8, "minor": 0, "op": "Read", "value": 2},
        {"major": 8, "minor": 0, "op": "Write", "value": 1},
    ]


# --- devices in v2: a program of ours, and what the kernel makes of it ----------------------------------------------


def run_filter(rules: list[dict[str, Any]], kind: str, major: int, minor: int, access: str) -> bool:
    """What the program decides, by interpreting it."""
    import struct

    code = device_filter.assemble(rules)
    words = [struct.unpack_from("=BBhi", code, place) for place in range(0, len(code), 8)]
    bits = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    context = [bits << 16 | {"b": 1, "c": 2}[kind], major, minor]
    registers, place = [0] * 11, 0
    while True:
        op, which, offset, value = words[place]
        target, source = which & 15, which >> 4
        place += 1
        if op == 0x61:
            registers[target] = context[offset // 4]
        elif op == 0x57:
            registers[target] &= value
        elif op == 0x77:
            registers[target] >>= value
        elif op == 0xB7:
            registers[target] = value
        elif op == 0xBF:
            registers[target] = registers[source]
        elif op == 0x15:
            place += offset if registers[target] == value else 0
        elif op == 0x55:
            place += offset if registers[target] != value else 0
        else:
            assert op == 0x95
            return bool(registers[0])


RULES: list[dict[str, Any]] = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
    {"allow": True, "type": "b", "major": 8, "access": "r"},
    {"allow": False, "type": "b", "major": 8, "minor": 1, "access": "r"},
]


@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (("c", 1, 3, "r"), True),
        (("c", 1, 3, "rw"), True),
        (("c", 1, 3, "m"), False),
        (("c", 1, 3, "rm"), False),
        (("b", 1, 3, "r"), False),
        (("b", 8, 0, "r"), True),
        (("b", 8, 1, "r"), False),
        (("b", 8, 0, "w"), False),
    ],
)
def test_the_program_decides_as_the_rules_say(access: tuple[str, int, int, str], allowed: bool) -> None:
    assert run_filter(RULES, *access) is allowed


def test_without_rules_everything_is_allowed_and_a_last_rule_for_all_hides_the_others() -> None:
    assert run_filter([], "b", 8, 0, "w")
    assert not run_filter([*RULES, {"allow": False}], "c", 1, 3, "r")


def opens(path: str, group: Cgroup, flags: int = os.O_RDONLY) -> bool:
    """Whether a process in ``group`` can open ``path``."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            group.add(0)
            os.open(path, flags)
            code = 0
        except PermissionError:
            code = 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 1)
    return code == 0


@pytest.mark.root
@pytest.mark.parametrize("version", [1, 2])
def test_devices_are_refused_by_the_kernel(group: Cgroup, version: int) -> None:
    if version == 2:
        group = unified_only(group)
    elif "devices" not in group.paths:
        pytest.skip("there is no devices controller of v1 here")
    assert opens("/dev/kmsg", group)
    group.apply({"devices": [{"allow": False, "access": "rwm"}]})
    assert opens("/dev/null", group)
    assert opens("/dev/zero", group)
    assert not opens("/dev/kmsg", group)
    # An update replaces the rules.
    kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    group.apply({"devices": [{"allow": False, "access": "rwm"}, kmsg]})
    assert opens("/dev/kmsg", group)
    assert not opens("/dev/kmsg", group, os.O_WRONLY)


# --- a real group -----------------------------------------------------------------------------------------------------


def value(group: Cgroup, controller: str, *names: str) -> str:
    folder = Path(group.paths.get(controller) or group.paths[UNIFIED])
    return next((folder / name).read_text().strip() for name in names if (folder / name).exists())


@pytest.mark.root
def test_limits_stand_in_the_kernels_files(group: Cgroup) -> None:
    group.apply({"memory": {"limit": 64 * MIB}, "pids": {"limit": 7}, "cpu": {"quota": 20000, "period": 50000}})
    assert value(group, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    assert value(group, "pids", "pids.max") == "7"
    assert value(group, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "20000"
    assert group.stats()["memory"]["usage"]["limit"] == 64 * MIB
    assert group.stats()["pids"]["limit"] == 7


@pytest.mark.root
def test_limits_that_bound_each_other_move_in_both_directions(group: Cgroup) -> None:
    for limit in (64 * MIB, 16 * MIB, 128 * MIB):
        group.apply({"memory": {"limit": limit, "swap": limit}})
        assert value(group, "memory", "memory.limit_in_bytes", "memory.max") == str(limit)


@pytest.mark.root
def test_the_limit_of_processes_holds(group: Cgroup) -> None:
    group.apply({"pids": {"limit": 2}})
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            group.add(0)
            for code in range(1, 5):  # noqa: B007 - it is the exit code
                if os.fork() == 0:
                    time.sleep(100)
        except BlockingIOError:
            os._exit(code)
        finally:
            os._exit(9)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 2


@pytest.mark.root
def test_a_value_that_the_kernel_refuses_names_the_field(group: Cgroup) -> None:
    with pytest.raises(SandboxError, match=r"linux.resources.cpu.cpus: cpuset.cpus does not take '9999'"):
        group.apply({"cpu": {"cpus": "9999"}})
    with pytest.raises(SandboxError, match=r"linux.resources.hugepageLimits.3MB: this kernel has no"):
        group.apply({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]})
    with pytest.raises(SandboxError, match=r"linux.resources.unified.memory.nonsense: this kernel has no"):
        group.apply({"unified": {"memory.nonsense": "1"}})


@pytest.mark.root
def test_a_limit_below_what_is_in_use_is_refused_if_the_spec_says_so(group: Cgroup) -> None:
    pid = os.fork()
    if pid == 0:
        group.add(0)
        ballast = bytearray(os.urandom(8 * MIB))
        time.sleep(100)
        os._exit(len(ballast) & 1)
    try:
        end = time.monotonic() + 20
        while group.stats()["memory"]["usage"]["usage"] < 8 * MIB and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(SandboxError, match=r"linux.resources.memory.limit: \d+ bytes are in use"):
            group.apply({"memory": {"limit": MIB, "checkBeforeUpdate": True}})
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.root
def test_huge_pages_and_unified_files_of_v2(group: Cgroup) -> None:
    v2 = unified_only(group)
    if "hugetlb" not in Path(v2.paths[UNIFIED], "cgroup.controllers").read_text():
        pytest.skip("hugetlb is not a controller of v2 here")
    v2.apply({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}], "unified": {"cgroup.max.depth": "3"}})
    assert value(v2, UNIFIED, "hugetlb.2MB.max") == str(4 * MIB)
    assert value(v2, UNIFIED, "cgroup.max.depth") == "3"


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.root
@pytest.mark.parametrize("version", [1, 2])
def test_frozen_processes_are_killed_all_the_same(
    group: Cgroup, sleeper: subprocess.Popen[bytes], version: int
) -> None:
    if version == 2:
        group = unified_only(group)
    group.add(sleeper.pid)
    assert group.pids() == [sleeper.pid]
    group.freeze()
    assert group.frozen()
    group.thaw()
    assert not group.frozen()
    group.freeze()
    group.kill()
    assert sleeper.wait(10) == -signal.SIGKILL
    assert group.pids() == []


@pytest.mark.root
def test_groups_below_are_seen_killed_and_removed(group: Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    inner = Cgroup({name: f"{path}/inner" for name, path in group.paths.items()}).create()
    inner.add(sleeper.pid)
    assert group.pids() == [sleeper.pid]
    group.kill()
    sleeper.wait(10)
    group.remove()
    assert not group.exists()
    assert not inner.exists()
    group.remove()
