"""The same profile in force by runc (with libseccomp) and by us: the kernel gives the same answer to every call."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.linux.syscalls import X32_BIT, numbers
from buildlib.oci.value import evolve
from buildlib.sandbox.defaults import CAPABILITIES, default_spec
from buildlib.sandbox.seccomp import default, profile

from .conftest import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.oci.runtime import RuntimeSpec

pytestmark = pytest.mark.root

# Each call in a process of its own with arguments that can't be meant; what does not come back is killed.
PROBE = r"""
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        long number = atol(argv[i]);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            errno = 0;
            long r = syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
            _exit(r < 0 ? errno : 0);
        }
        int status;
        waitpid(pid, &status, 0);
        printf("%ld %d\n", number, WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status));
    }
}
"""

UNSPEAKABLE = """
    exit exit_group pause fork vfork clone rt_sigreturn rt_sigsuspend uretprobe uprobe sync syncfs kill
"""
"""Calls that do not return, return twice, or take their time."""


NEWEST = 453
"""The newest call that the libseccomp of today's distributions knows: about later ones it can't but say ENOSYS."""


def calls() -> list[str]:
    table = numbers("x86_64")
    plain = [number for name, number in table.items() if name not in UNSPEAKABLE.split() and number <= NEWEST]
    x32 = [X32_BIT | number for number in (0, 1, 2, 39, 514, 520)]
    return [str(number) for number in [*plain, *range(470, 480), *x32]]


@pytest.fixture
def rootfs(tmp_path: Path) -> Iterator[Path]:
    if os.uname().machine != "x86_64":
        pytest.skip("the calls of the probe are those of x86_64")
    root = tmp_path / "rootfs"
    for name in ("bin", "proc", "dev", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    (tmp_path / "probe.c").write_text(PROBE)
    subprocess.run([program("gcc"), "-static", "-o", root / "bin/probe", tmp_path / "probe.c"], check=True)
    yield root


def by_runc(rootfs: Path, spec: RuntimeSpec) -> str:
    bundle = rootfs.parent
    name = f"probe-{os.getpid()}"
    config = spec.to_dict()
    config["linux"]["cgroupsPath"] = f"/{name}"
    config["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
    (bundle / "config.json").write_text(json.dumps(config))
    argv = [program("runc"), "--root", str(bundle / "runc"), "run", "--bundle", str(bundle), name]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_us(rootfs: Path, spec: RuntimeSpec) -> str:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            from buildlib.linux import mount, namespaces
            from buildlib.sandbox.launcher import launch

            namespaces.unshare(namespaces.NEWNS)
            mount.make_private()
            os._exit(launch(spec, str(rootfs), stdio=(0, writer, 2)))
        finally:
            os._exit(99)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return text


def spec_with(seccomp: dict[str, Any]) -> RuntimeSpec:
    spec = default_spec(["/bin/probe", *calls()], env=["PATH=/bin"])
    linux = spec.linux
    assert linux is not None
    return evolve(spec, linux=evolve(linux, seccomp=seccomp))


def theirs() -> dict[str, Any]:
    path = Path("/usr/share/containers/seccomp.json")
    if not path.exists():
        pytest.skip("podman's profile is not installed: apt-get install golang-github-containers-common")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("whose", ["podman's", "ours"])
def test_every_call_is_answered_as_under_runc(rootfs: Path, whose: str) -> None:
    given = theirs() if whose == "podman's" else default.profile()
    resolved = profile.resolve(given, CAPABILITIES, "x86_64")
    known = {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
    seccomp = {key: value for key, value in resolved.items() if key in known}
    fields = {"names", "action", "errnoRet", "args"}
    seccomp["syscalls"] = [
        {key: rule[key] for key in fields if rule.get(key) is not None} for rule in seccomp["syscalls"]
    ]
    spec = spec_with(seccomp)
    ran, expected = by_us(rootfs, spec).split("\n"), by_runc(rootfs, spec).split("\n")
    names = {str(number): name for name, number in numbers("x86_64").items()}
    differ = {}
    for mine, their in zip(ran, expected, strict=True):
        number = mine.split(" ")[0]
        if mine != their:
            differ[names.get(number, number)] = (mine.split()[1:], their.split()[1:])
    assert differ == {}
