"""Images that try to reach the host through links and paths: each is refused, or caught beneath the root."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from buildlib.oci.mount import Mount
from buildlib.sandbox.defaults import default_spec

from .conftest import ENV, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Sandbox

pytestmark = pytest.mark.root


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def replace_by_link(path: Path, points_to: str | Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(points_to)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("kind", ["host", "inside", "relative"])
def test_a_link_in_place_of_a_kernel_tree_is_refused(sandbox: Sandbox, host: Path, name: str, kind: str) -> None:
    points_to = {"host": str(host), "inside": "/etc", "relative": "../../../../../etc"}[kind]
    replace_by_link(sandbox.rootfs / name, points_to)
    with pytest.raises(Refused, match=f"at /{name} .*: the image has a symbolic link there"):
        sandbox.sh("true")
    assert names(host) == ["secret"]


def test_a_bind_below_a_link_to_the_host_stays_in_the_root(sandbox: Sandbox, host: Path, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 me\n")
    replace_by_link(sandbox.rootfs / "etc", host)
    mounts = [Mount("bind", str(tmp_path / "hosts"), "/etc/hosts", ("bind",))]
    # The same path in the image is meant: it is made there.
    assert sandbox.run("cat", "/etc/hosts", mounts=mounts).out == "127.0.0.1 me\n"
    assert names(host) == ["secret"]
    assert (sandbox.rootfs / str(host).lstrip("/") / "hosts").is_file()


@pytest.mark.parametrize("points_to", ["/proc/self/fd/{fd}", "/proc/self/root", "/proc/1/root", "/proc/self/cwd"])
def test_a_target_through_a_link_of_proc_is_refused(sandbox: Sandbox, host: Path, points_to: str) -> None:
    fd = os.open(host, os.O_RDONLY)
    try:
        (sandbox.rootfs / "mnt").symlink_to(points_to.format(fd=fd))
        mounts = [Mount("bind", str(host), "/mnt/inner", ("rbind",))]
        with pytest.raises(Refused, match=r"SandboxError: bind .* at /mnt/inner"):
            sandbox.sh("true", mounts=mounts)
    finally:
        os.close(fd)
    assert names(host) == ["secret"]


def test_a_working_directory_through_an_open_descriptor_is_refused(sandbox: Sandbox, host: Path) -> None:
    fd = os.open(host, os.O_RDONLY)
    try:
        (sandbox.rootfs / "work").symlink_to(f"/proc/self/fd/{fd}")
        for cwd in (f"/proc/self/fd/{fd}", "/work"):
            with pytest.raises(Refused, match="SandboxError: go to"):
                sandbox.sh("cat secret", cwd=cwd)
    finally:
        os.close(fd)


def test_a_working_directory_by_dots_ends_at_the_root(sandbox: Sandbox) -> None:
    assert sandbox.sh("pwd", cwd="/../../../tmp").out == "/tmp\n"


@pytest.mark.parametrize("way", ["command", "link", "script", "script in PATH", "loader"])
def test_our_own_program_can_t_be_made_the_command(sandbox: Sandbox, way: str) -> None:
    program = sandbox.rootfs / "bin/evil"
    command = "/bin/evil"
    if way == "command":
        command = "/proc/self/exe"
    elif way == "link":
        program.symlink_to("/proc/self/exe")
    elif way == "loader":
        program.write_bytes(with_loader(b"/proc/self/exe"))
        program.chmod(0o755)
    else:
        program.write_text("#!/proc/self/exe\n")
        program.chmod(0o111)
        command = "evil" if way == "script in PATH" else command
    ran = sandbox.run(command)
    assert ran.code == 126
    assert "it goes through a link of /proc" in ran.err


def with_loader(loader: bytes) -> bytes:
    """This Python's own program file, with another loader."""
    from buildlib.sandbox.program import interpreter

    with open(sys.executable, "rb") as file:  # noqa: PTH123
        old = (interpreter(file.fileno()) or "").encode()
        return file.read().replace(old + b"\0", loader.ljust(len(old), b"\0") + b"\0", 1)


def test_masked_paths_can_t_be_redirected_by_the_image(sandbox: Sandbox, host: Path) -> None:
    (sandbox.rootfs / "dev/null").symlink_to(host / "secret")
    assert sandbox.run("cat", "/proc/timer_list") == (0, "", "")
    assert (host / "secret").read_text() == "secret"


def test_dev_of_the_image_is_hidden_not_written_to(sandbox: Sandbox, host: Path) -> None:
    (sandbox.rootfs / "dev/shm").symlink_to(host)
    (sandbox.rootfs / "dev/pts").symlink_to(host)
    assert sandbox.sh("touch /dev/shm/x").code == 0
    assert names(sandbox.rootfs / "dev") == ["pts", "shm"]
    assert names(host) == ["secret"]


def test_the_command_can_t_undo_the_mounts(sandbox: Sandbox) -> None:
    ran = sandbox.sh(
        "umount /proc/sys; mount -o remount,rw /sys; mount -t tmpfs x /tmp; mknod /tmp/sda b 8 0; "
        "chroot / true && echo ok"
    )
    assert ran.out == "ok\n"


def test_a_root_that_was_left_by_chroot_is_still_the_container(sandbox: Sandbox) -> None:
    assert "passwd" in sandbox.sh("chroot /home /bin/sh; cd /../../..; ls etc").out


def test_environment_words_without_a_name_are_dropped(sandbox: Sandbox) -> None:
    assert sandbox.run(spec=default_spec(["env"], env=[*ENV, "=x", "novalue"])).out.split() == list(ENV)
