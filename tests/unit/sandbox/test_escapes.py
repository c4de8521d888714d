"""Known ways out of a container, each tried: none leads to the host."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from buildlib.oci.mount import Mount
from buildlib.oci.runtime import Linux, Namespace
from buildlib.sandbox.defaults import MOUNTS, default_spec
from buildlib.sandbox.target import mount_point

from .conftest import ENV, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Sandbox

pytestmark = pytest.mark.root


@contextlib.contextmanager
def again_and_again(change: Callable[[], None]) -> Iterator[None]:
    """Let a thread do ``change`` without a pause."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            change()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def swap(one: Path, other: Path) -> Callable[[], None]:
    """Exchange two names, as an attacker that shares the directory would (renameat2(2), RENAME_EXCHANGE)."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(one), os.fsencode(other))
    return lambda: library.renameat2(-100, names[0], -100, names[1], 2)


# --- mount targets ----------------------------------------------------------------------------------------------------


def test_a_target_that_is_swapped_with_a_link_never_ends_on_the_host(rootfs: Path, host: Path) -> None:
    """CVE-2021-30465: what is opened is what is mounted on, and it lies beneath the root."""
    (rootfs / "data").mkdir()
    (rootfs / "link").symlink_to(host)
    inside = set()
    with again_and_again(swap(rootfs / "data", rootfs / "link")):
        for _ in range(3000):
            try:
                with mount_point(str(rootfs), "/data/sub", directory=True, make=True) as spot:
                    inside.add(os.readlink(f"/proc/self/fd/{spot}"))  # noqa: PTH115
            except OSError as error:  # to refuse is right as well: gone, no directory, a link where one was made
                assert error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EEXIST)
    assert inside
    assert all(path.startswith(f"{rootfs}/") for path in inside)
    assert [entry.name for entry in host.iterdir()] == ["secret"]


@pytest.mark.parametrize(
    "target",
    ["/proc/self/attr", "/proc/sys", "/proc/sys/kernel/core_pattern", "/proc/1", "/proc/self/exe", "/proc/self/status"],
)
def test_nothing_is_mounted_in_proc(sandbox: Sandbox, host: Path, target: str) -> None:
    """CVE-2019-16884, CVE-2019-19921, CVE-2025-52881: labels and parameters would be written to a stage set."""
    source = str(host if target in ("/proc/self/attr", "/proc/sys", "/proc/1") else host / "secret")
    with pytest.raises(Refused, match=r"nothing may be mounted in /proc but over a few files|link"):
        sandbox.sh("true", mounts=[Mount("bind", source, target, ("rbind",))])


def test_a_link_in_the_image_leads_no_mount_into_proc(sandbox: Sandbox, host: Path) -> None:
    (sandbox.rootfs / "innocent").symlink_to("/proc/sys/kernel")
    with pytest.raises(Refused, match="nothing may be mounted in /proc"):
        sandbox.sh("true", mounts=[Mount("bind", str(host), "/innocent", ("rbind",))])


def test_numbers_of_proc_may_be_faked(sandbox: Sandbox, host: Path) -> None:
    bind = Mount("bind", str(host / "secret"), "/proc/meminfo", ("bind",))
    assert sandbox.run("cat", "/proc/meminfo", mounts=[bind]).out == "secret"


@pytest.mark.parametrize("mount", [Mount("tmpfs", "tmpfs", "/proc"), Mount("bind", "/tmp", "/proc", ("rbind",))])
def test_only_a_proc_file_system_becomes_proc(sandbox: Sandbox, mount: Mount) -> None:
    spec = default_spec(["true"], env=ENV)
    for mounts in ((mount, *MOUNTS[1:]), (*MOUNTS, mount)):
        with pytest.raises(Refused, match=r"only a proc file system can be mounted at /proc|nothing may be mounted"):
            sandbox.run(spec=evolve(spec, mounts=mounts))


def test_a_device_that_the_image_has_put_there_is_not_taken_for_ours(sandbox: Sandbox, host: Path) -> None:
    """Without a file system of its own at /dev, nodes are made in the image, which may have something else there."""
    (sandbox.rootfs / "dev/null").symlink_to(host / "secret")
    spec = default_spec(["true"], env=ENV)
    mounts = tuple(mount for mount in spec.mounts if not mount.target.startswith("/dev"))
    linux = evolve(spec.linux or Linux(), masked_paths=())
    with pytest.raises(Refused, match=r"make /dev/null.*File exists"):
        sandbox.run(spec=evolve(spec, mounts=mounts, linux=linux))
    (sandbox.rootfs / "dev/null").unlink()
    ran = sandbox.run(spec=evolve(spec, mounts=mounts, linux=linux))
    assert ran.code == 0
    assert (sandbox.rootfs / "dev/null").is_char_device()
    assert sandbox.run(spec=evolve(spec, mounts=mounts, linux=linux)).code == 0  # they are there already: the same


# --- parameters and masks ---------------------------------------------------------------------------------------------


def test_a_parameter_is_written_to_the_kernel_whatever_the_image_shows(sandbox: Sandbox) -> None:
    import shutil

    shutil.rmtree(sandbox.rootfs / "proc")
    (sandbox.rootfs / "proc/sys/kernel").mkdir(parents=True)
    (sandbox.rootfs / "proc/sys/kernel/msgmax").write_text("fake")
    spec = default_spec(["cat", "/proc/sys/kernel/msgmax"], env=ENV)
    spec = evolve(spec, linux=evolve(spec.linux or Linux(), sysctl={"kernel.msgmax": "4001"}))
    assert sandbox.run(spec=spec).out == "4001\n"
    assert (sandbox.rootfs / "proc/sys/kernel/msgmax").read_text() == "fake"


@pytest.mark.parametrize("name", ["net/../kernel.core_pattern", "net.ipv4/../../kernel/core_pattern", "net...x"])
def test_the_name_of_a_parameter_leads_to_no_other(sandbox: Sandbox, name: str) -> None:
    spec = default_spec(["true"], env=ENV, network="none")
    spec = evolve(spec, linux=evolve(spec.linux or Linux(), sysctl={name: "|/evil"}))
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    with pytest.raises(Refused, match=r"sysctl"):
        sandbox.run(spec=spec)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_masks_hold_while_the_image_changes_its_dev_null(sandbox: Sandbox, host: Path) -> None:
    """CVE-2025-31133: a mask is the host's device, and is looked at after it was opened."""
    dev = sandbox.rootfs / "dev"
    (dev / "null").write_text("")
    (dev / "other").symlink_to(host / "secret")
    with again_and_again(swap(dev / "null", dev / "other")):
        for _ in range(5):
            ran = sandbox.sh("cat /proc/timer_list /proc/keys; echo x >/proc/timer_list; ls /sys/firmware")
            assert (ran.code, ran.out) == (0, "")
    assert (host / "secret").read_text() == "secret"


# --- what is open -----------------------------------------------------------------------------------------------------


def test_neither_the_command_nor_init_holds_a_descriptor_of_the_host(sandbox: Sandbox, host: Path) -> None:
    """CVE-2024-21626."""
    fds = [os.open(host, os.O_RDONLY) for _ in range(3)]
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        script = "ls -l /proc/self/fd /proc/1/fd /proc/1/cwd 2>/dev/null; cd /proc/self/fd/7 || cd /proc/1/cwd || true"
        ran = sandbox.sh(script, cap_add=["SYS_PTRACE"])
    finally:
        for fd in fds:
            os.close(fd)
    assert str(host.parent) not in ran.out


@pytest.mark.parametrize("capabilities", [[], ["SYS_PTRACE"]])
def test_our_own_program_can_t_be_overwritten(sandbox: Sandbox, capabilities: list[str]) -> None:
    """CVE-2019-5736."""
    program = Path(sys.executable).resolve()
    before = hashlib.sha256(program.read_bytes()).hexdigest()
    script = (
        "for n in 1 self; do echo evil >/proc/$n/exe; dd if=/dev/zero of=/proc/$n/exe conv=notrunc count=1; done; "
        "exec 9</proc/1/exe && echo evil >/proc/self/fd/9; true"
    )
    ran = sandbox.sh(script, cap_add=capabilities)
    assert ran.code in (0, 1, 2)
    assert hashlib.sha256(program.read_bytes()).hexdigest() == before


def test_init_shows_nothing_even_to_who_may_trace(sandbox: Sandbox) -> None:
    ran = sandbox.sh("ls /proc/1/root/; cat /proc/1/root/etc/hostname", cap_add=["SYS_PTRACE"])
    assert "home" in ran.out or ran.out == ""
    assert not (sandbox.rootfs / "etc/hostname").exists()
    assert Path("/etc/hostname").read_text() not in ran.out


# --- joined namespaces ------------------------------------------------------------------------------------------------


def test_a_namespace_of_the_wrong_kind_is_refused(sandbox: Sandbox) -> None:
    spec = default_spec(["true"], env=ENV)
    linux = spec.linux or Linux()
    spaces = (*(n for n in linux.namespaces if n.type != "ipc"), Namespace("ipc", "/proc/self/ns/net"))
    with pytest.raises(Refused, match="join ipc namespace"):
        sandbox.run(spec=evolve(spec, linux=evolve(linux, namespaces=spaces)))
