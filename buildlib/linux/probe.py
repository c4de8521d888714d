"""What this machine allows this process: each fact measured by trying, in children that are thrown away.

It chooses nothing and changes nothing; a folder for the trial of overlayfs is made and removed again.
"""

from __future__ import annotations

import errno
import json
import os
import sys

from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

CAP_SYS_ADMIN = 1 << 21
CAP_SYS_CHROOT = 1 << 18

SYSCTLS = {
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "user.max_user_namespaces": ("0", "96000"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}
"""Kernel parameters that forbid user namespaces: the value that does, and one that does not."""


class Facts(NamedTuple):
    """What is allowed. A field that is a string is empty where it is, and else says what is in the way."""

    privileged: bool
    """Whether this process may mount as it is (CAP_SYS_ADMIN)."""
    nested: bool
    """Whether it is in a user namespace already, so that ids are mapped and no device nodes can be made."""
    user_namespace: str
    """A user namespace with the user's own id; not tried with privilege."""
    subordinate_ids: str
    """A range of ids in it, written by newuidmap(1)."""
    mount: str
    overlay: str
    """Overlayfs over the folder that was asked about, as an upper that can be written, whiteouts included."""
    fuse: str
    chroot: str
    proc: str
    """A fresh /proc in a pid namespace."""
    seccomp: str
    """Whether filters can be installed."""
    confined: bool
    """Whether a seccomp filter is at work on this process already."""
    cgroups: str
    """``v1``, ``v2`` or ``hybrid``, or "" where there are none."""
    lsm: tuple[str, ...]
    """The security modules at work, apparmor and selinux among them."""


class Status(NamedTuple):
    """What /proc/self/status says of this process."""

    effective: int
    confined: bool
    no_new_privs: bool

    @classmethod
    def read(cls) -> Status:
        """Of this process, now."""
        fields = dict(line.partition(":")[::2] for line in text("/proc/self/status").splitlines())
        return cls(
            int(fields.get("CapEff", "0"), 16),
            fields.get("Seccomp", "0").strip() != "0",
            fields.get("NoNewPrivs", "0").strip() != "0",
        )


def measure(folder: str, options: Sequence[str]) -> Facts:
    """Try everything; ``folder`` is where overlays would have their uppers, ``options`` are what they are mounted with.

    It takes some 10 ms without root, 2 ms as root, and 20 ms more in a process with several threads.
    """
    from buildlib.linux.process import thread_count

    if thread_count() == 1:
        return unpack(_in_child(lambda: pack(_measure(folder, options))) or {})
    return unpack(_in_fresh_interpreter(folder, options))


def pack(facts: Facts) -> dict[str, Any]:
    """Plain data."""
    return facts._asdict()


def unpack(data: dict[str, Any]) -> Facts:
    """The facts that :func:`pack` wrote. Raises ``TypeError`` where they are those of another version."""
    facts: Facts = Facts(**data)
    return facts._replace(lsm=tuple(facts.lsm))


def text(path: str) -> str:
    """A small file, stripped; "" where it can't be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 1 << 16).decode(errors="replace").strip()
    except OSError:
        return ""
    finally:
        os.close(fd)


def in_user_namespace() -> bool:
    """Whether this process is in another user namespace than that of the machine."""
    return text("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


# --- the trials -------------------------------------------------------------------------------------------------------


def _measure(folder: str, options: Sequence[str]) -> Facts:
    status = Status.read()
    privileged = bool(status.effective & CAP_SYS_ADMIN)
    inside: dict[str, str] = dict.fromkeys(("mount", "overlay", "fuse", "chroot", "proc"), "no user namespace")
    user_namespace = subordinate_ids = ""
    nested = in_user_namespace()
    if privileged:
        marks = ("userxattr",) if nested else ()
        inside |= _in_child(lambda: _try_inside(folder, (*options, *marks), privileged=True)) or {}
    else:
        inside["chroot"] = "" if status.effective & CAP_SYS_CHROOT else "it needs CAP_SYS_CHROOT"
        found = _in_child(lambda: _try_user_namespace(folder, options)) or {}
        user_namespace = found.pop("user_namespace", "its trial crashed")
        inside |= found
        subordinate_ids = user_namespace or _subordinate_ids()
    return Facts(
        privileged,
        nested,
        user_namespace,
        subordinate_ids,
        **inside,
        seccomp=_seccomp(),
        confined=status.confined,
        cgroups=_cgroups(),
        lsm=tuple(name for name in text("/sys/kernel/security/lsm").split(",") if name),
    )


def _try_user_namespace(folder: str, options: Sequence[str]) -> dict[str, str]:
    from buildlib.linux import namespaces, subids, userns

    try:
        userns.enter(subids.own(os.geteuid(), os.getegid()), namespaces.NEWNS)
    except OSError as error:
        return {"user_namespace": _why_not(error)}
    found = _try_inside(folder, (*options, "userxattr"), privileged=False)
    # AppArmor lets the namespace come into being and then denies every right in it.
    denied = found["mount"] and text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    return {"user_namespace": "AppArmor denies all rights in it" if denied else "", **found}


def _why_not(error: OSError) -> str:
    for name, (forbids, _) in SYSCTLS.items():
        if text(f"/proc/sys/{name.replace('.', '/')}") == forbids:
            return f"{name} is {forbids}"
    return f"{error.strerror}: a seccomp profile or a security module forbids it"


def _subordinate_ids() -> str:
    """Why no range of ids can be mapped."""
    from buildlib.linux import subids

    uid = os.geteuid()
    name = subids.user_name(uid)
    maps = subids.with_subordinates(uid, os.getegid(), name)
    if maps.single:
        return f"/etc/subuid and /etc/subgid have none for {name or uid}"
    for program in subids.PROGRAMS if uid else ():
        if subids.program(program) is None:
            return f"{program} is not installed"
    if uid and Status.read().no_new_privs:
        return "no_new_privs is set, so newuidmap has no rights"

    def trial() -> dict[str, str]:
        from buildlib.linux import userns

        try:
            userns.enter(maps)
        except (OSError, userns.MapFailed) as error:
            return {"reason": str(error)}
        return {"reason": ""}

    return str((_in_child(trial) or {"reason": "its trial crashed"})["reason"])


def _try_inside(folder: str, options: Sequence[str], *, privileged: bool) -> dict[str, str]:
    """What can be done where this process has the rights to mount."""
    from buildlib.linux import mount, namespaces

    def tmpfs() -> None:
        if privileged:
            namespaces.unshare(namespaces.NEWNS)
            mount.make_private()
        os.close(mount.new_mount("tmpfs", source="tmpfs"))

    def fuse() -> None:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        os.close(mount.new_mount("fuse", (f"fd={fd}", "rootmode=40000", "user_id=0", "group_id=0"), source="probe"))

    return {
        "mount": _attempt(tmpfs),
        "overlay": _attempt(lambda: _overlay(folder, options)),
        "fuse": _attempt(fuse),
        "proc": _attempt(_proc),
        "chroot": _attempt(lambda: os.chroot("/")),
    }


def _attempt(work: Callable[[], object]) -> str:
    try:
        work()
    except OSError as error:
        what = f"{error.filename}: " if error.filename and str(error.filename).startswith("/") else ""
        return f"{what}{error.strerror}"
    return ""


def _overlay(folder: str, options: Sequence[str]) -> None:
    """Mount one over a lower with a file, delete that, so that a whiteout is made, and take all away again."""
    from buildlib.linux.overlay import overlay

    base = f"{folder}/probe.{os.getpid()}"
    parts = [f"{base}/{name}" for name in ("lower", "second", "upper", "work")]
    os.mkdir(base, 0o700)
    try:
        for part in parts:
            os.mkdir(part)
        os.close(os.open(f"{parts[0]}/file", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        fd = overlay(parts[:2], parts[2], parts[3], options)
        try:
            os.unlink("file", dir_fd=fd)
        finally:
            os.close(fd)
    finally:
        _remove(base)


def _remove(path: str) -> None:
    try:
        os.chmod(path, 0o700)  # the kernel makes folders that nobody may enter
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                _remove(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(path)
    except OSError:
        return  # in tmp/ of the store, which is swept


def _proc() -> None:
    from buildlib.linux import mount, namespaces

    pid = namespaces.fork_into(namespaces.NEWPID)
    if pid == 0:
        try:
            os.close(mount.new_mount("proc", source="proc"))
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or errno.EIO)
        finally:
            os._exit(errno.EIO)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(abs(code), os.strerror(abs(code)))


def _seccomp() -> str:
    import ctypes

    from buildlib.linux.libc import LIBC

    # SECCOMP_MODE_FILTER with no program: EFAULT where filters are known, EINVAL where not (prctl(2), PR_SET_SECCOMP).
    LIBC.prctl(22, ctypes.c_ulong(2), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return "" if ctypes.get_errno() in (errno.EFAULT, errno.EACCES) else "the kernel has no filters"


def _cgroups() -> str:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return "v2"
    if not os.path.isdir("/sys/fs/cgroup"):
        return ""
    return "hybrid" if os.path.exists("/sys/fs/cgroup/unified/cgroup.procs") else "v1"


# --- children ---------------------------------------------------------------------------------------------------------


def _in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What ``work`` returns in a child of this process; None if it did not come to that."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    found: dict[str, Any] | None = json.loads(said) if said else None
    return found


def _in_fresh_interpreter(folder: str, options: Sequence[str]) -> dict[str, Any]:
    """Other threads hold locks that nobody would release in a forked child (fork(2))."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = f"import sys; sys.path.insert(0, {package!r}); from buildlib.linux.probe import main; main()"
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", program, folder, *options],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)],
    )
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    found: dict[str, Any] = json.loads(said)
    return found


def main() -> None:
    """As a program: ``FOLDER OPTION…``; prints the facts."""
    print(json.dumps(pack(_measure(sys.argv[1], sys.argv[2:]))))
