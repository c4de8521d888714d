"""The profile of commands that nobody gave another: what programs of a build need, and nothing that is only good for
reaching the host. Pure.

It is as strict as docker's. A call that is known and not allowed ends with EPERM, one that is newer than this list with
ENOSYS, so that a C library falls back on an older one. The kernel checks rights as ever; this keeps its lesser known
doors shut besides, also for a root that has the rights.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ENOSYS, _EINVAL = 38, 22

FILES = """
        access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64     fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32
    fchownat fcntl fcntl64     fdatasync fgetxattr file_getattr file_setattr flistxattr flock fremovexattr
    fsetxattr fstat fstat64 fstatat64 fstatfs     fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents
    getdents64 getxattr getxattrat inotify_add_watch     inotify_init inotify_init1 inotify_rm_watch lchown
    lchown32 lgetxattr link linkat listmount listxattr listxattrat     llistxattr _llseek lremovexattr lseek
    lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat     oldfstat oldlstat oldstat
    open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink     readlinkat
    readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat
    splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs tee truncate
    truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev
"""
MEMORY = """
        brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall
    mmap mmap2     mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
    process_mrelease     remap_file_pages
"""
PROCESSES = """
        capget capset execve execveat exit exit_group fork getegid getegid32 geteuid geteuid32 getgid getgid32
    getgroups     getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid
    getresuid32 getrlimit getrusage     getsid gettid getuid getuid32 ioprio_get ioprio_set kill landlock_add_rule
    landlock_create_ruleset     landlock_restrict_self lsm_get_self_attr lsm_list_modules pause pidfd_open
    pidfd_send_signal prctl prlimit64     process_vm_readv process_vm_writev ptrace restart_syscall rseq seccomp
    setfsgid setfsgid32 setfsuid setfsuid32 setgid     setgid32 setgroups setgroups32 setpgid setpriority setregid
    setregid32 setresgid setresgid32 setresuid setresuid32     setreuid setreuid32 setrlimit setsid setuid
    setuid32 sysinfo times tgkill tkill ugetrlimit uname vfork wait4 waitid     waitpid get_robust_list
    set_robust_list get_thread_area set_thread_area set_tid_address getcpu getrandom     rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask sigreturn
    sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
    sched_getscheduler     sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler     sched_yield uretprobe
"""
WAITING = """
        adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64     clock_nanosleep clock_nanosleep_time64 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_pwait2     epoll_wait epoll_wait_old eventfd eventfd2 futex futex_requeue futex_time64
    futex_wait futex_waitv futex_wake getitimer     gettimeofday io_cancel io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit nanosleep     _newselect poll ppoll ppoll_time64 pselect6
    pselect6_time64 select setitimer time timerfd_create timerfd_gettime     timerfd_gettime64 timerfd_settime
    timerfd_settime64 timer_create timer_delete timer_getoverrun timer_gettime     timer_gettime64 timer_settime
    timer_settime64
"""
TALKING = """
        accept accept4 bind connect getpeername getsockname getsockopt ioctl ipc listen mq_getsetattr mq_notify
    mq_open     mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget
    msgrcv msgsnd pipe     pipe2 recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl semget semop semtimedop
    semtimedop_time64 send sendmmsg     sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketcall
    socketpair
"""

MACHINES = {
    ("amd64", "x32"): "arch_prctl modify_ldt",
    ("x86",): "modify_ldt",
    ("arm", "arm64"): "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    ("ppc64le",): "swapcontext sync_file_range2",
    ("riscv64",): "riscv_flush_icache riscv_hwprobe",
    ("s390x",): "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
}

CAPABILITIES = {
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
        open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount
        umount2 unshare
    """,
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
"""Calls that are for those who have a capability."""

_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, a 32-bit machine, both with the name of an old kernel, and to ask. Others weaken memory protection."""

_AF_NETLINK, _AF_VSOCK, _NETLINK_AUDIT = 16, 40, 9

_NEWEST = "lsm_set_self_attr"
"""Known and refused like all others that stand nowhere; what is newer than all names here is ENOSYS."""


def profile() -> dict[str, Any]:
    """The profile, in the form that docker's has."""
    everywhere = [word for group in (FILES, MEMORY, PROCESSES, WAITING, TALKING) for word in group.split()]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
        "syscalls": [
            _allow(everywhere),
            _refuse([_NEWEST], 1),
            *_sockets(),
            *(_allow(["personality"], _is(0, value)) for value in _PERSONALITIES),
            *_clones(),
            *(_allow(names.split(), includes={"arches": list(arches)}) for arches, names in MACHINES.items()),
            *(_allow(names.split(), includes={"caps": [one]}) for one, names in CAPABILITIES.items()),
        ],
    }


def _sockets() -> list[dict[str, Any]]:
    """All kinds but those of virtual machines; that for audit only with the right to write there.

    A kernel that has no audit answers so (EINVAL), and programs go on without. The kernel takes these numbers as an
    int: what stands in the upper half of a register must not hide them.
    """
    return [
        _refuse(["socket"], 1, _low_half(0, _AF_VSOCK)),
        _refuse(
            ["socket"],
            _EINVAL,
            _low_half(0, _AF_NETLINK),
            _low_half(2, _NETLINK_AUDIT),
            excludes={"caps": ["CAP_AUDIT_WRITE"]},
        ),
        _allow(["socket"]),
    ]


def _clones() -> list[dict[str, Any]]:
    """New threads and processes, but no namespaces. The flags of clone3 lie in memory, where no filter can look."""
    flags = {"op": "SCMP_CMP_MASKED_EQ", "value": _NEW_NAMESPACES, "valueTwo": 0}
    return [
        _allow(["clone"], {"index": 0, **flags}, excludes={"caps": ["CAP_SYS_ADMIN"], "arches": ["s390x"]}),
        _allow(
            ["clone"],
            {"index": 1, **flags},
            includes={"arches": ["s390x"]},
            excludes={"caps": ["CAP_SYS_ADMIN"]},
        ),
        _refuse(["clone3"], _ENOSYS, excludes={"caps": ["CAP_SYS_ADMIN"]}),
    ]


def _allow(names: list[str], *conditions: dict[str, Any], **when: Any) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(conditions), **when}


def _refuse(names: list[str], number: int, *conditions: dict[str, Any], **when: Any) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": list(conditions), **when}


def _is(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def _low_half(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": 0xFFFFFFFF, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
