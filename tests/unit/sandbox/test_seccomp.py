"""Filters of system calls: compiled by us, interpreted here, compared with libseccomp's and with podman's profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from buildlib.errors import SandboxError
from buildlib.linux.syscalls import AUDIT, X32_BIT, numbers
from buildlib.sandbox import seccomp
from buildlib.sandbox.defaults import CAPABILITIES
from buildlib.sandbox.seccomp import compiler, default, profile

from .bpf import ALLOW, EINVAL, ENOSYS, EPERM, KILL_PROCESS, LOG, NOTIFY, TRAP, by_libseccomp, decide

X86_64, I386, AARCH64, ARM = AUDIT["x86_64"], AUDIT["x86"], AUDIT["aarch64"], AUDIT["arm"]
N = numbers("x86_64")


def words(text: str) -> list[str]:
    return text.split()


def compiled(*rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", native: str = "x86_64", **more: Any) -> bytes:
    spec = {"defaultAction": default, "syscalls": [{"args": [], **rule} for rule in rules], **more}
    return compiler.compile_filter(spec, native)[0]


def allow(*names: str, **args: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **args}


# --- the compiler -----------------------------------------------------------------------------------------------------


def test_named_calls_have_their_action_and_others_the_default() -> None:
    program = compiled(allow("read", "write"), {"names": ["close"], "action": "SCMP_ACT_TRAP"}, allow("openat"))
    assert [decide(program, X86_64, N[name]) for name in ("read", "write", "close", "openat", "open")] == [
        ALLOW, ALLOW, TRAP, ALLOW, EPERM,
    ]  # fmt: skip


def test_calls_newer_than_those_of_the_profile_do_not_exist() -> None:
    program = compiled(allow("read", "openat2"))
    assert decide(program, X86_64, N["openat2"] - 1) == EPERM
    assert decide(program, X86_64, N["openat2"] + 1) == ENOSYS
    assert decide(program, X86_64, 5000) == ENOSYS
    permissive = compiled({"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}, default="SCMP_ACT_ALLOW")
    assert decide(permissive, X86_64, 5000) == ALLOW
    assert decide(permissive, X86_64, N["reboot"]) == EPERM


@pytest.mark.parametrize(
    ("action", "number", "told"),
    [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS),
        ("SCMP_ACT_ERRNO", None, EPERM),
        ("SCMP_ACT_ERRNO", 38, ENOSYS),
        ("SCMP_ACT_ERRNO", 0, 0x50000),
        ("SCMP_ACT_TRACE", 7, 0x7FF00007),
        ("SCMP_ACT_LOG", None, LOG),
        ("SCMP_ACT_NOTIFY", None, NOTIFY),
    ],
)
def test_actions(action: str, number: int | None, told: int) -> None:
    assert compiler.action(action, number, "x") == told


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"defaultAction": "SCMP_ACT_X"}, "linux.seccomp.defaultAction"),
        ({}, "linux.seccomp.defaultAction"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}, "linux.seccomp.flags"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}, "linux.seccomp.defaultAction: 5000"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.listenerPath"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "X"}]}, r"\(read\)\.action"),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [allow("read", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}])],
            },
            r"\(read\)\.args",
        ),
    ],
)
def test_what_can_t_be_meant_names_its_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(SandboxError, match=field):
        seccomp.make(given, ())


BIG = 0x1_0000_0005
OPERATORS = {
    "NE": lambda a, b: a != b,
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
    "EQ": lambda a, b: a == b,
    "GE": lambda a, b: a >= b,
    "GT": lambda a, b: a > b,
}


@pytest.mark.parametrize("word", OPERATORS)
@pytest.mark.parametrize("value", [5, BIG, 0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF])
def test_arguments_are_compared_in_64_bits(word: str, value: int) -> None:
    program = compiled(allow("read", args=[{"index": 1, "value": value, "op": f"SCMP_CMP_{word}"}]))
    for given in (0, 4, 5, 6, 0xFFFFFFFF, BIG - 1, BIG, BIG + 1, 0x2_0000_0004, 0xFFFFFFFFFFFFFFFF):
        expected = ALLOW if OPERATORS[word](given, value) else EPERM
        assert decide(program, X86_64, 0, [9, given]) == expected, (given, value)


def test_masks_and_several_arguments() -> None:
    masked = {"index": 0, "value": 0xF0000000F, "valueTwo": 0x100000002, "op": "SCMP_CMP_MASKED_EQ"}
    second = {"index": 2, "value": 7, "op": "SCMP_CMP_EQ"}
    program = compiled(allow("read", args=[masked, second]))
    assert decide(program, X86_64, 0, [0xF1000000F2 & ~0xE00000000 & ~0xF0 | 0x2, 0, 7]) == ALLOW
    assert decide(program, X86_64, 0, [0x100000002, 0, 8]) == EPERM
    assert decide(program, X86_64, 0, [0x2, 0, 7]) == EPERM


def test_conditions_on_the_same_argument_are_alternatives_as_in_runc() -> None:
    either = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 2)]
    program = compiled(allow("read", args=either))
    assert [decide(program, X86_64, 0, [value]) for value in (0, 1, 2)] == [EPERM, ALLOW, ALLOW]


def test_rules_are_tried_in_order() -> None:
    first = {"names": ["socket"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]}
    program = compiled(first, allow("socket"))
    assert [decide(program, X86_64, N["socket"], [value]) for value in (3, 4)] == [TRAP, ALLOW]


def test_each_machine_has_its_own_numbers_and_a_foreign_one_is_killed() -> None:
    every = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]
    program = compiled(allow("read", "ioctl"), architectures=every)
    assert decide(program, X86_64, N["read"]) == ALLOW
    assert decide(program, I386, numbers("x86")["read"]) == ALLOW
    assert decide(program, I386, N["read"]) == EPERM
    assert decide(program, X86_64, X32_BIT | 514) == ALLOW  # ioctl of x32
    assert decide(program, X86_64, X32_BIT | N["ioctl"]) == EPERM
    assert decide(program, AARCH64, 63) == KILL_PROCESS
    alone = compiled(allow("read"))
    assert decide(alone, I386, 3) == KILL_PROCESS
    assert decide(alone, X86_64, X32_BIT) == KILL_PROCESS
    arm = compiled(allow("read"), native="aarch64", architectures=["SCMP_ARCH_ARM"])
    assert (decide(arm, AARCH64, 63), decide(arm, ARM, 3), decide(arm, ARM, 63)) == (ALLOW, ALLOW, ENOSYS)


def test_on_32_bits_only_the_lower_half_of_an_argument_counts() -> None:
    rule = allow("personality", args=[{"index": 0, "value": 0xFFFFFFFF, "op": "SCMP_CMP_EQ"}])
    program = compiled(rule, architectures=["SCMP_ARCH_X86"])
    assert decide(program, I386, numbers("x86")["personality"], [0xFFFFFFFF]) == ALLOW


def test_many_calls_with_conditions_reach_beyond_the_longest_jump() -> None:
    names = sorted(N, key=lambda name: N[name])[:300]
    program = compiled(*(allow(name, args=[{"index": 1, "value": N[name], "op": "SCMP_CMP_EQ"}]) for name in names))
    for name in names:
        assert decide(program, X86_64, N[name], [0, N[name]]) == ALLOW
        assert decide(program, X86_64, N[name], [0, N[name] + 1]) == EPERM


def test_too_long_a_filter_is_an_error() -> None:
    def rule(name: str) -> dict[str, Any]:
        return allow(name, args=[{"index": index, "value": BIG + N[name], "op": "SCMP_CMP_EQ"} for index in range(6)])

    with pytest.raises(SandboxError, match="instructions, the kernel takes 4096"):
        compiled(*map(rule, N))


def every_number() -> list[tuple[int, int]]:
    calls = [(X86_64, number) for number in range(460)] + [(I386, number) for number in range(460)]
    return calls + [(X86_64, X32_BIT | number) for number in range(560)]


def test_libseccomp_decides_the_same_for_every_call() -> None:
    given = profile.resolve(default.profile(), CAPABILITIES, "x86_64")
    # It knows no order among rules: what it can't tell apart is left out, and told in the next test.
    rules = [rule for rule in given["syscalls"] if rule["names"] != ["socket"] and rule["action"] != "SCMP_ACT_ERRNO"]
    rules = [{**rule, "names": [n for n in rule["names"] if _plain(n)]} for rule in rules]
    ours = compiler.compile_filter({**given, "syscalls": rules}, "x86_64")[0]
    theirs = by_libseccomp(EPERM, rules, lambda rule: compiler.action(rule["action"], None, ""), (
        X86_64, I386, 0x4000003E,
    ))  # fmt: skip
    differ = []
    for machine, number in every_number():
        for arguments in ((), (0x8,), (0x10000000,), (0xFFFFFFFF,), (17, 3, 2)):
            got, told = decide(ours, machine, number, arguments), decide(theirs, machine, number, arguments)
            if got != told and not (got == ENOSYS and told == EPERM):
                differ.append((hex(machine), number, arguments, hex(got), hex(told)))
    assert differ == []


def _plain(name: str) -> bool:
    """Not one that libseccomp takes apart into the functions of socketcall(2) and ipc(2), or does not know."""
    multiplexed = ("socketcall", "ipc")
    table = numbers("x86")
    older = table.get(name, 0) < 451 and name != "uretprobe"
    direct = name not in multiplexed and not (337 <= table.get(name, 0) <= 402 and name in _PARTS)
    return older and direct


_PARTS = frozenset(
    words(
        """
        accept4 bind connect getpeername getsockname getsockopt listen msgctl msgget msgrcv msgsnd recvfrom
        recvmmsg recvmsg semctl semget sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown
        socket socketpair
        """
    )
)


# --- our own profile --------------------------------------------------------------------------------------------------


def ours(*capabilities: str) -> bytes:
    return seccomp.make(seccomp.DEFAULT, (*CAPABILITIES, *capabilities)).program


REFUSED = words(
    """
    acct add_key bpf delete_module fanotify_init finit_module fsmount fsopen init_module io_uring_setup
    io_uring_enter ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind mount mount_setattr
    move_mount move_pages migrate_pages nfsservctl open_by_handle_at open_tree perf_event_open pivot_root
    process_madvise quotactl reboot request_key setdomainname sethostname setns settimeofday clock_settime swapoff
    swapon syslog umount2 unshare userfaultfd uselib ustat vhangup lsm_set_self_attr open_tree_attr pidfd_getfd
    """
)


def test_doors_to_the_host_are_shut() -> None:
    program = ours()
    assert {name: decide(program, X86_64, N[name]) for name in REFUSED} == dict.fromkeys(REFUSED, EPERM)


def test_programs_of_every_day_run() -> None:
    program = ours()
    names = words("read openat execve clone wait4 fork socket epoll_wait futex ptrace mmap seccomp chroot statx")
    assert {name: decide(program, X86_64, N[name]) for name in names} == dict.fromkeys(names, ALLOW)


@pytest.mark.parametrize(("capability", "names"), default.CAPABILITIES.items())
def test_a_capability_opens_its_calls(capability: str, names: str) -> None:
    program = seccomp.make(seccomp.DEFAULT, (capability,)).program
    without = seccomp.make(seccomp.DEFAULT, ()).program
    for name in names.split():
        if name in N and name not in ("clone", "clone3"):
            assert decide(program, X86_64, N[name]) == ALLOW
            assert decide(without, X86_64, N[name]) == EPERM


def test_no_new_namespaces_by_clone_and_none_by_clone3() -> None:
    program = ours()
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(program, X86_64, N["clone"], [flag | 0x11]) == EPERM
    assert decide(program, X86_64, N["clone"], [0x3D0F00]) == ALLOW
    assert decide(program, X86_64, N["clone3"]) == ENOSYS
    assert decide(ours("CAP_SYS_ADMIN"), X86_64, N["clone3"]) == ALLOW


def test_sockets_of_virtual_machines_are_refused_whatever_stands_in_the_upper_half() -> None:
    program = ours()
    assert decide(program, X86_64, N["socket"], [40, 1, 0]) == EPERM
    assert decide(program, X86_64, N["socket"], [1 << 32 | 40, 1, 0]) == EPERM
    assert decide(program, X86_64, N["socket"], [16, 3, 9]) == EINVAL
    assert decide(ours("CAP_AUDIT_WRITE"), X86_64, N["socket"], [16, 3, 9]) == ALLOW
    assert decide(program, X86_64, N["socket"], [16, 3, 0]) == ALLOW


def test_personalities_that_weaken_memory_protection_are_refused() -> None:
    program = ours()
    assert [decide(program, X86_64, N["personality"], [value]) for value in (0, 8, 0x20008, 0xFFFFFFFF)] == [ALLOW] * 4
    assert decide(program, X86_64, N["personality"], [0x40000]) == EPERM  # ADDR_NO_RANDOMIZE


def test_calls_of_the_future_do_not_exist() -> None:
    assert decide(ours(), X86_64, 470) == ENOSYS
    assert decide(ours(), I386, 470) == ENOSYS


def test_every_name_of_the_profile_is_a_call_of_some_machine() -> None:
    known = {name for arch in AUDIT for name in numbers(arch)}
    named = {name for rule in default.profile()["syscalls"] for name in rule["names"]}
    # Of 31-bit s390 and the ABI of old ARM: other profiles name them as well.
    assert named - known <= {"arm_sync_file_range", "fstatat64", "timerfd", "oldfstat", "oldlstat", "oldstat"} | _ODD


_ODD = {"umount", "recv", "send", "stime", "time", "ugetrlimit"}

DIFFERENCES = {
    "only theirs": {
        # Namespaces and mounts: docker's profile, and ours, want CAP_SYS_ADMIN for them.
        "clone3", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
        "pivot_root", "setns", "umount", "umount2", "unshare",
        # Keys of the kernel, its log, its end, memory of NUMA nodes, descriptors of others: as docker.
        "keyctl", "syslog", "reboot", "get_mempolicy", "mbind", "set_mempolicy", "pidfd_getfd",
        # No program of this century, and not in docker's list either.
        "readdir", "sigaction", "signal", "sigpending", "sigsuspend",
    },
    "only ours": {
        # vmsplice and asynchronous I/O that docker allows, too.
        "vmsplice", "io_pgetevents", "io_pgetevents_time64", "oldfstat", "oldlstat", "oldstat",
        # Newer than their list.
        "cachestat", "fchmodat2", "file_getattr", "file_setattr", "futex_requeue", "futex_wait", "futex_waitv",
        "futex_wake", "getxattrat", "listmount", "listxattrat", "lsm_get_self_attr", "lsm_list_modules",
        "map_shadow_stack", "mseal", "removexattrat", "setxattrat", "statmount", "uretprobe",
    },
}  # fmt: skip


def test_beside_podmans_profile_only_known_differences() -> None:
    path = Path("/usr/share/containers/seccomp.json")
    if not path.exists():
        pytest.skip("podman's profile is not installed here")
    theirs = compiler.compile_filter(profile.resolve(json.loads(path.read_text()), CAPABILITIES, "x86_64"), "x86_64")[0]
    program = ours()
    found: dict[str, set[str]] = {"only theirs": set(), "only ours": set()}
    for arch in ("x86_64", "x86", "x32"):
        for name, number in numbers(arch).items():
            mine, their = (decide(p, AUDIT[arch], number, (0, 0, 0)) == ALLOW for p in (program, theirs))
            if mine != their:
                found["only ours" if mine else "only theirs"].add(name)
    assert found == DIFFERENCES


# --- profiles of others -----------------------------------------------------------------------------------------------


def test_conditions_of_a_profile() -> None:
    given = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X", "CAP_Y"]}},
            {"names": ["b"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_X", "CAP_Z"]}},
            {"names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
            {"names": ["d"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["e"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "900.1"}},
            {"name": "f", "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}},
        ],
    }

    def names(*capabilities: str, arch: str = "x86_64") -> str:
        rules = profile.resolve(given, capabilities, arch)["syscalls"]
        return "".join(name for rule in rules for name in rule["names"])

    assert names("CAP_X") == "cdf"
    assert names("CAP_X", "CAP_Y") == "acdf"
    assert names(arch="aarch64") == "bdf"


def test_our_filter_is_made_once() -> None:
    assert seccomp.make(seccomp.DEFAULT, CAPABILITIES) is seccomp.make(seccomp.DEFAULT, tuple(reversed(CAPABILITIES)))
