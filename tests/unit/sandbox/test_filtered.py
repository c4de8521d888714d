"""Filters of system calls in force: the kernel runs them, a command meets them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from buildlib.errors import SandboxError
from buildlib.linux import caps
from buildlib.linux.syscalls import numbers
from buildlib.oci.runtime import Linux, RuntimeSpec, User
from buildlib.sandbox.chroot import plan_chroot
from buildlib.sandbox.defaults import default_spec

from .conftest import ENV, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Sandbox

pytestmark = pytest.mark.root


def filtered(script: str, seccomp: dict[str, Any] | None, **options: Any) -> RuntimeSpec:
    spec = default_spec(["/bin/sh", "-c", script], env=ENV, **options)
    return evolve(spec, linux=evolve(spec.linux or Linux(), seccomp=seccomp))


PROBE = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        errno = 0;
        long r = syscall(atol(argv[i]), -1L, -1L, -1L, -1L, -1L, -1L);
        printf("%s %d\n", argv[i], r < 0 ? errno : 0);
    }
}
"""


@pytest.fixture
def probe(sandbox: Sandbox, tmp_path: Path) -> str:
    """A program in the container that makes each call whose number it is given, with arguments that can't be meant."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no compiler for the probe")
    (tmp_path / "probe.c").write_text(PROBE)
    subprocess.run(["gcc", "-static", "-o", sandbox.rootfs / "bin/probe", tmp_path / "probe.c"], check=True)
    return "/bin/probe"


REFUSED = "mount umount2 unshare setns bpf keyctl add_key request_key kexec_load init_module reboot swapon acct syslog"


def test_the_default_filter_is_in_force_and_answers_before_the_kernel_does(sandbox: Sandbox, probe: str) -> None:
    table = numbers("x86_64")
    calls = [str(table[name]) for name in [*REFUSED.split(), "clone3", "close", "getpid"]]
    script = f"grep Seccomp: /proc/self/status; {probe} {' '.join(calls)} 470"
    lines = sandbox.sh(script).out.splitlines()
    assert lines[0].split() == ["Seccomp:", "2"]
    answers = dict(line.split() for line in lines[1:])
    assert {answers[str(table[name])] for name in REFUSED.split()} == {"1"}
    assert answers[str(table["clone3"])] == answers["470"] == "38"
    assert answers[str(table["close"])] == "9"
    assert answers[str(table["getpid"])] == "0"


def test_an_ordinary_user_and_no_new_privileges_are_filtered_as_well(sandbox: Sandbox) -> None:
    for options in ({"user": User(1000, 1000)}, {"no_new_privileges": True}):
        ran = sandbox.sh("grep Seccomp: /proc/self/status; unshare -m true || echo refused", **options)
        assert ran.out.split() == ["Seccomp:", "2", "refused"]


def test_an_insecure_command_is_not_filtered(sandbox: Sandbox) -> None:
    assert sandbox.sh("grep Seccomp: /proc/self/status", insecure=True).out.split() == ["Seccomp:", "0"]


def test_unconfined_is_not_filtered(sandbox: Sandbox) -> None:
    ran = sandbox.run(spec=filtered("grep Seccomp: /proc/self/status", None))
    assert ran.out.split() == ["Seccomp:", "0"]


def rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": list(names), "action": action, **more}]}


@pytest.mark.parametrize(
    ("seccomp", "code"),
    [
        (rule("SCMP_ACT_KILL_PROCESS", "sync"), 128 + 31),
        (rule("SCMP_ACT_TRAP", "sync"), 128 + 31),
        (rule("SCMP_ACT_ERRNO", "sync"), 0),
        (rule("SCMP_ACT_LOG", "sync"), 0),
        ({**rule("SCMP_ACT_LOG", "sync"), "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}, 0),
    ],
)
def test_actions_of_a_profile(sandbox: Sandbox, seccomp: dict[str, Any], code: int) -> None:
    assert sandbox.run(spec=filtered("exec sync", seccomp)).code == code


def test_a_filter_without_close_range_does_no_harm(sandbox: Sandbox) -> None:
    assert sandbox.run(spec=filtered("echo ran", rule("SCMP_ACT_ERRNO", "close_range"))) == (0, "ran\n", "")


def test_a_filter_holds_for_32_bit_programs_too(sandbox: Sandbox, tmp_path: Path) -> None:
    """Int $0x80 in a 64-bit program makes the calls of a 32-bit one."""
    if os.uname().machine != "x86_64" or shutil.which("gcc") is None:
        pytest.skip("it takes an x86 with a compiler")
    source = r"""
    #include <stdio.h>
    int main(void) {
        long r;
        __asm__ volatile ("int $0x80" : "=a"(r) : "a"(21L), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L) : "memory");
        printf("%ld\n", r);
    }
    """
    (tmp_path / "x.c").write_text(source)
    subprocess.run(["gcc", "-static", "-o", sandbox.rootfs / "bin/x", tmp_path / "x.c"], check=True)
    assert sandbox.run("/bin/x").out == "-1\n"  # mount


# --- without rights ---------------------------------------------------------------------------------------------------


def test_in_a_chroot_without_rights_only_a_filter_that_was_asked_for_is_missed() -> None:
    own = caps.mask(("CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID"))

    def filters(spec: RuntimeSpec, rights: int = own) -> int:
        return sum(op.describe().startswith("filter") for op in plan_chroot(spec, "/r", rights))

    spec = default_spec(["true"])
    assert filters(spec) == 0
    assert filters(spec, own | caps.mask(("CAP_SYS_ADMIN",))) == 1
    assert filters(default_spec(["true"], no_new_privileges=True)) == 1
    with pytest.raises(SandboxError, match=r"linux.seccomp: to filter system calls takes CAP_SYS_ADMIN"):
        filters(filtered("true", rule("SCMP_ACT_ERRNO", "sync")))


def test_in_a_chroot_a_limit_is_an_error() -> None:
    spec = default_spec(["true"])
    limited = evolve(spec, linux=evolve(spec.linux or Linux(), resources={"pids": {"limit": 1}}))
    with pytest.raises(SandboxError, match=r"linux.resources: limits take a control group"):
        plan_chroot(limited, "/r", caps.mask(("CAP_SYS_CHROOT",)))


# --- a listener -------------------------------------------------------------------------------------------------------

NOTIFICATION = struct.Struct("=QIIiIQ6Q")
"""struct seccomp_notif: id, pid, flags, and the data of the call."""
RECEIVE, ANSWER = 0xC0502100, 0xC0182101


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_a_listener_is_sent_and_decides(sandbox: Sandbox, tmp_path: Path, no_new_privileges: bool) -> None:
    import fcntl

    path = str(tmp_path / "listener")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            peer, _ = server.accept()
            message, fds, _, _ = socket.recv_fds(peer, 1 << 16, 1)
            os.write(writer, message)
            buffer = bytearray(NOTIFICATION.size)
            fcntl.ioctl(fds[0], RECEIVE, buffer)
            identity = NOTIFICATION.unpack(buffer)[0]
            fcntl.ioctl(fds[0], ANSWER, struct.pack("=QqiI", identity, 0, -30, 0))  # EROFS
        finally:
            os._exit(0)
    seccomp = {**rule("SCMP_ACT_NOTIFY", "mkdir", "mkdirat"), "listenerPath": path, "listenerMetadata": "note"}
    try:
        ran = sandbox.run(spec=filtered("mkdir /x", seccomp, no_new_privileges=no_new_privileges))
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        server.close()
    assert "Read-only file system" in ran.err
    told = json.loads(os.read(reader, 1 << 16))
    os.close(reader)
    os.close(writer)
    assert (told["metadata"], told["fds"], told["state"]["status"]) == ("note", ["seccompFd"], "creating")
    assert told["pid"] == told["state"]["pid"] > 1


def test_a_listener_that_nobody_waits_at_is_an_error(sandbox: Sandbox, tmp_path: Path) -> None:
    seccomp = {**rule("SCMP_ACT_NOTIFY", "mkdir"), "listenerPath": str(tmp_path / "none")}
    with pytest.raises(Refused, match=r"connect to the seccomp listener at .*listenerPath"):
        sandbox.run(spec=filtered("true", seccomp))
