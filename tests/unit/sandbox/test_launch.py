"""What a command in the sandbox finds, and what becomes of it: real namespaces, a real busybox."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from buildlib.oci.mount import Mount
from buildlib.oci.runtime import Rlimit, User
from buildlib.sandbox.defaults import default_spec
from buildlib.sandbox.launcher import Sandbox as Launched
from buildlib.sandbox.target import mount_point

from .conftest import ENV, Refused

if TYPE_CHECKING:
    from .conftest import Sandbox

pytestmark = pytest.mark.root


# --- what it sees -----------------------------------------------------------------------------------------------------


def test_the_command_sees_no_process_but_its_own_and_an_init(sandbox: Sandbox) -> None:
    ran = sandbox.sh("echo $$; echo /proc/[0-9]*; cat /proc/1/comm")
    assert ran == (0, "2\n/proc/1 /proc/2\ninit\n", "")


def test_the_init_tells_nothing_of_the_host(sandbox: Sandbox) -> None:
    ran = sandbox.sh(
        "tr -d '\\0' </proc/1/cmdline; cat /proc/1/environ; "
        " cat /proc/1/maps; readlink /proc/1/fd/0; ls /proc/1/root; kill -9 1; echo $?"
    )
    assert ran.out == "0\n"
    assert ran.err.count("ermission denied") >= 3


def test_orphans_are_reaped(sandbox: Sandbox) -> None:
    ran = sandbox.sh("(sleep 0 & exec true); sleep 0.2; grep -l 'State:.Z' /proc/[0-9]*/status")
    assert ran.out == ""


def test_every_namespace_but_the_network_is_its_own(sandbox: Sandbox) -> None:
    lines = sandbox.sh("for n in mnt pid ipc uts cgroup net; do readlink /proc/self/ns/$n; done").out.split()
    names = ["mnt", "pid", "ipc", "uts", "cgroup", "net"]
    own = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in names]
    assert [mine == theirs for mine, theirs in zip(own, lines, strict=True)] == [False] * 5 + [True]


def test_without_network_there_is_only_loopback_and_it_is_up(sandbox: Sandbox) -> None:
    ran = sandbox.sh(
        "ls /sys/class/net; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up", network="none", cap_add=["net_raw"]
    )
    assert ran.out == "lo\nup\n"


def test_the_tree_of_the_host_is_gone(sandbox: Sandbox) -> None:
    ran = sandbox.sh("cut -d' ' -f5 /proc/self/mountinfo; ls /")
    mounts, listing = ran.out.split("bin\n", 1)[0].split(), ran.out
    assert mounts[0] == "/"
    assert not any(spot.startswith(str(sandbox.rootfs.parent)) for spot in mounts)
    assert "work" not in listing


def test_dev_has_the_usual_nodes_and_nothing_of_the_host(sandbox: Sandbox) -> None:
    ran = sandbox.sh(
        "ls /dev; echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; "
        "(echo >/dev/full) 2>/dev/null || echo full; ls -d /dev/pts/ptmx; test -w /dev/shm && echo shm"
    )
    nodes = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert ran.out.split() == [*nodes.split(), "3", "3", "full", "/dev/pts/ptmx", "shm"]


def test_sys_is_read_only_and_kernel_files_are_masked(sandbox: Sandbox) -> None:
    ran = sandbox.sh(
        "touch /sys/x || echo 1; echo 1 >/proc/sys/kernel/panic || echo 2; wc -c </proc/timer_list; ls /sys/firmware; "
        "echo b >/proc/sysrq-trigger || echo 3"
    )
    assert ran.out.split() == ["1", "2", "0", "3"]


def test_no_descriptor_leaks_into_the_container(sandbox: Sandbox) -> None:
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        ran = sandbox.sh("for n in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/self/fd/$n && echo $n; done")
    finally:
        os.close(leak)
    assert ran.out.split() == ["0", "1", "2"]


def test_names_and_environment_are_exactly_those_of_the_spec(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    ran = sandbox.run("env", env=["PATH=/bin:/usr/bin", "A=1", "A=2", "B=x=y"])
    assert sorted(ran.out.split()) == ["A=2", "B=x=y", "PATH=/bin:/usr/bin"]
    assert sandbox.run("hostname", hostname="box").out == "box\n"
    assert socket.gethostname() != "box"


def test_the_umask_limits_and_signals_are_fresh(sandbox: Sandbox) -> None:
    assert sandbox.sh("umask; ulimit -n", rlimits=[Rlimit("RLIMIT_NOFILE", 512, 256)]).out.split() == ["0022", "256"]
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        ran = sandbox.run("grep", "-E", "Sig(Ign|Blk)", "/proc/self/status")
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    # posix_spawn(3) of glibc leaves its own two, 32 and 33, ignored
    ours = [int(mask, 16) & 0x7FFFFFFF for mask in ran.out.split()[1::2]]
    assert ours == [0, 0]


# --- who it is --------------------------------------------------------------------------------------------------------


def test_root_has_exactly_the_eleven_capabilities(sandbox: Sandbox) -> None:
    ran = sandbox.sh("grep -E 'Cap|NoNew' /proc/self/status")
    held = "00000000800405fb"
    assert ran.out.split() == [
        "CapInh:", "0" * 16, "CapPrm:", held, "CapEff:", held, "CapBnd:", held, "CapAmb:", "0" * 16, "NoNewPrivs:", "0",
    ]  # fmt: skip


def test_capabilities_can_be_added_and_dropped(sandbox: Sandbox) -> None:
    assert (
        "CapEff:\t0000000000000002"
        in sandbox.sh("cat /proc/self/status", cap_add=["DAC_OVERRIDE"], cap_drop=["all"]).out
    )


def test_a_user_has_its_ids_and_no_capability_but_may_reach_the_bounding_set(sandbox: Sandbox) -> None:
    user = User(1000, 1001, additional_gids=(44, 7))
    ran = sandbox.sh("id -u; id -g; id -G; grep -E 'Cap(Eff|Bnd)' /proc/self/status", user=user)
    held = "00000000800405fb"
    assert ran.out.split() == ["1000", "1001", "1001", "7", "44", "CapEff:", "0" * 16, "CapBnd:", held]


def test_no_new_privileges_is_set_when_the_spec_says_so(sandbox: Sandbox) -> None:
    assert "NoNewPrivs:\t1" in sandbox.sh("cat /proc/self/status", no_new_privileges=True).out


def test_a_user_may_write_to_its_own_standard_output_by_name(sandbox: Sandbox) -> None:
    reader, writer = os.pipe()
    spec = default_spec(["/bin/sh", "-c", "echo hello >/dev/stdout"], env=ENV, user=User(1000, 1000))
    pid = os.fork()
    if pid == 0:
        from buildlib.sandbox.launcher import launch

        os._exit(launch(spec, str(sandbox.rootfs), stdio=(0, writer, 2)))
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "hello\n"
    assert os.waitpid(pid, 0)[1] == 0


def test_a_missing_working_directory_is_made_with_the_users_ownership(sandbox: Sandbox) -> None:
    ran = sandbox.sh("pwd; stat -c '%u:%g %a' . /srv", cwd="/srv/app", user=User(1000, 1001, umask=0o077))
    assert ran.out.split() == ["/srv/app", "1000:1001", "755", "1000:1001", "755"]


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("true", 0),
        ("exit 3", 3),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("sh -c 'kill -9 $$'; exit $?", 137),
        ("nosuch", 127),
        ("/etc/passwd", 126),
    ],
)
def test_the_exit_code_is_relayed(sandbox: Sandbox, script: str, code: int) -> None:
    assert sandbox.sh(script).code == code


def test_a_command_that_is_not_there_is_127(sandbox: Sandbox) -> None:
    ran = sandbox.run("nosuch")
    assert (ran.code, ran.err) == (127, "Error: nosuch: command not found in PATH of the container\n")
    ran = sandbox.run("/bin/nosuch")
    assert (ran.code, ran.err) == (127, "Error: /bin/nosuch: no such file in the container\n")


def test_a_file_that_is_no_program_is_126(sandbox: Sandbox) -> None:
    (sandbox.rootfs / "bin/data").write_text("data")
    assert sandbox.run("data") == (126, "", "Error: /bin/data: permission denied\n")
    (sandbox.rootfs / "bin/data").chmod(0o755)
    ran = sandbox.run("data")
    assert ran.code == 126
    assert "not a program for this machine" in ran.err
    assert sandbox.run("/bin") == (126, "", "Error: /bin: it is a directory\n")


def test_path_is_searched_in_order_and_goes_on_after_what_is_not_executable(sandbox: Sandbox) -> None:
    (sandbox.rootfs / "one").mkdir()
    (sandbox.rootfs / "one/tool").write_text("#!/bin/sh\necho wrong")
    (sandbox.rootfs / "bin/tool").write_text("#!/bin/sh\necho right")
    (sandbox.rootfs / "bin/tool").chmod(0o755)
    assert sandbox.run("tool", env=["PATH=/none:/one:/bin"]).out == "right\n"
    assert sandbox.run("tool", env=["PATH=/one"]).code == 126


def test_a_script_without_its_interpreter_names_it(sandbox: Sandbox) -> None:
    script = sandbox.rootfs / "bin/script"
    script.write_text("#!/usr/bin/python9 -u\n")
    script.chmod(0o755)
    ran = sandbox.run("script")
    assert (ran.code, ran.err) == (
        127, "Error: /bin/script: its interpreter '/usr/bin/python9' is missing in the container\n",
    )  # fmt: skip


def test_a_program_without_its_loader_names_it(sandbox: Sandbox) -> None:
    program = sandbox.rootfs / "bin/dynamic"
    program.write_bytes(Path("/bin/ls").read_bytes())
    program.chmod(0o755)
    ran = sandbox.run("dynamic")
    assert ran.code == 127
    assert "its loader '/lib" in ran.err


def test_when_the_command_ends_its_daemons_die_too(sandbox: Sandbox) -> None:
    before = time.monotonic()
    ran = sandbox.sh("(trap '' HUP TERM INT; sleep 100) & echo done")
    assert ran.out == "done\n"
    assert time.monotonic() - before < 50
    assert not alive("sleep 100")


def test_a_timeout_kills_the_whole_tree(sandbox: Sandbox) -> None:
    with pytest.raises(Refused, match="TimeoutError"):
        sandbox.sh("setsid sleep 101 & setsid sleep 101 & wait", timeout=0.3)
    assert not alive("sleep 101")


def test_a_hang_up_of_the_cancelling_side_kills_the_whole_tree(sandbox: Sandbox) -> None:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        theirs.close()
        time.sleep(0.3)
        os._exit(0)
    ours.close()
    with pytest.raises(Refused, match="Cancelled"):
        sandbox.sh("setsid sleep 102 & wait", cancel_fd=theirs.fileno())
    os.waitpid(pid, 0)
    theirs.close()
    assert not alive("sleep 102")


def alive(command: str) -> bool:
    """Whether a process with this command line runs, in any pid namespace."""
    wanted = command.replace(" ", "\0") + "\0"
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_text() == wanted:
                return True
        except OSError:
            continue
    return False


# --- what it is given -------------------------------------------------------------------------------------------------


def test_binds_show_directories_and_files_and_ro_holds(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/f").write_text("in dir")
    (tmp_path / "file").write_text("a file")
    (sandbox.rootfs / "mnt").mkdir()
    (sandbox.rootfs / "etc/conf").write_text("")
    mounts = [
        Mount("bind", str(tmp_path / "dir"), "/mnt", ("rbind", "ro")),
        Mount("bind", str(tmp_path / "file"), "/etc/conf", ("bind",)),
    ]
    ran = sandbox.sh("cat /mnt/f /etc/conf; touch /mnt/x || echo ro; echo y >/etc/conf", mounts=mounts)
    assert ran.out == "in dira filero\n"
    assert (tmp_path / "file").read_text() == "y\n"


def test_a_bind_lies_below_another_mount_and_its_point_is_made_there(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/f").write_text("f")
    mounts = [Mount("bind", str(tmp_path / "dir"), "/dev/a/b", ("rbind",))]
    assert sandbox.run("cat", "/dev/a/b/f", mounts=mounts).out == "f"


def test_a_read_only_root_refuses_writes_but_not_to_its_mounts(sandbox: Sandbox) -> None:
    assert sandbox.sh("touch /x || echo ro; touch /dev/shm/x && echo rw", readonly=True).out == "ro\nrw\n"


def test_a_missing_mount_point_is_made(sandbox: Sandbox, tmp_path: Path) -> None:
    (sandbox.rootfs / "proc").rmdir()
    (tmp_path / "file").write_text("bound")
    mounts = [Mount("bind", str(tmp_path / "file"), "/srv/deep/file", ("bind",))]
    assert sandbox.run("cat", "/srv/deep/file", mounts=mounts).out == "bound"
    assert (sandbox.rootfs / "proc").is_dir()
    assert (sandbox.rootfs / "srv/deep/file").read_text() == ""


def test_in_a_root_of_layers_a_missing_mount_point_is_an_error_and_nothing_is_made(rootfs: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="no such mount point in the image"),
        mount_point(str(rootfs), "/srv/new", directory=True),
    ):
        pass
    assert not (rootfs / "srv").exists()


def test_what_the_spec_asks_for_and_the_sandbox_lacks_is_an_error(sandbox: Sandbox) -> None:
    spec = default_spec(["true"])
    assert spec.linux is not None
    spec = evolve(spec, linux=evolve(spec.linux, resources={"pids": {"limit": 3}}))
    with pytest.raises(Refused, match=r"SandboxError: linux.resources: the spec asks for it"):
        sandbox.run(spec=spec)


def test_no_process_and_no_descriptor_is_left(sandbox: Sandbox) -> None:
    def look() -> list[int]:
        before = len(list(Path("/proc/self/fd").iterdir()))
        launched = Launched.start((), (0, 1, 2), own_pids=False)
        launched.wait(None, None)
        launched.end()
        return [before, len(list(Path("/proc/self/fd").iterdir()))]

    before, after = look()
    assert before == after
