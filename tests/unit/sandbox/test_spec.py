"""Fields of the Linux part of the runtime spec, as the command in the sandbox finds them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from buildlib.linux import mount as kernel
from buildlib.linux import namespaces
from buildlib.oci.mount import Mount
from buildlib.oci.runtime import IDMapping, Linux, Namespace, Process, RuntimeSpec, User
from buildlib.sandbox.defaults import default_spec
from buildlib.sandbox.ops.labels import has

from .conftest import ENV, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Sandbox

pytestmark = pytest.mark.root


def spec(script: str, *mounts: Mount, process: dict[str, Any] | None = None, **linux: Any) -> RuntimeSpec:
    made = default_spec(["/bin/sh", "-c", script], env=ENV, mounts=mounts)
    given: Linux = made.linux or Linux()
    extra = linux.pop("namespaces", ())
    names = {each.type for each in extra}
    spaces = (*(each for each in given.namespaces if each.type not in names), *extra)
    return evolve(
        made,
        linux=evolve(given, namespaces=spaces, **linux),
        process=evolve(made.process or Process(), **(process or {})),
    )


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with another file system mounted in it."""
    top = tmp_path / "tree"
    (top / "inner").mkdir(parents=True)
    fd = kernel.new_mount("tmpfs")
    kernel.move_mount(fd, str(top / "inner"))
    os.close(fd)
    try:
        yield top
    finally:
        kernel.umount(str(top / "inner"))


# --- mounts -----------------------------------------------------------------------------------------------------------


def test_ro_is_about_the_mount_and_rro_about_all_below_it(sandbox: Sandbox, tree: Path) -> None:
    script = "touch /mnt/x 2>/dev/null || echo ro; touch /mnt/inner/x 2>/dev/null || echo rro"
    ran = sandbox.run(spec=spec(script, Mount("bind", str(tree), "/mnt", ("rbind", "ro"))))
    assert ran.out == "ro\n"
    ran = sandbox.run(spec=spec(script, Mount("bind", str(tree), "/mnt", ("rbind", "rro"))))
    assert ran.out == "ro\nrro\n"


@pytest.mark.parametrize("word", ["nosuid", "nodev", "noexec", "noatime", "nosymfollow", "nodiratime"])
def test_attributes_reach_mounts_below_when_they_are_recursive(sandbox: Sandbox, tree: Path, word: str) -> None:
    bind = Mount("bind", str(tree), "/mnt", ("rbind", f"r{word}"))
    lines = sandbox.run(spec=spec("grep ' /mnt' /proc/self/mountinfo", bind)).out.splitlines()
    assert len(lines) == 2
    assert all(word in line.split()[5].split(",") for line in lines)


def test_an_option_that_a_bind_can_t_have_is_refused(sandbox: Sandbox, tree: Path) -> None:
    with pytest.raises(Refused, match=r"mounts \(/mnt\): a bind has no option 'size=3'"):
        sandbox.run(spec=spec("true", Mount("bind", str(tree), "/mnt", ("bind", "size=3"))))


def test_a_bind_without_rbind_leaves_out_what_is_mounted_below(sandbox: Sandbox, tree: Path) -> None:
    (tree / "inner/f").write_text("")
    assert sandbox.run(spec=spec("ls /mnt/inner", Mount("bind", str(tree), "/mnt", ("bind",)))).out == ""
    assert sandbox.run(spec=spec("ls /mnt/inner", Mount("bind", str(tree), "/mnt", ("rbind",)))).out == "f\n"


def test_a_read_only_tmpfs_holds_what_is_mounted_in_it(sandbox: Sandbox, tree: Path) -> None:
    mounts = (Mount("tmpfs", "tmpfs", "/srv", ("ro", "nosuid")), Mount("bind", str(tree), "/srv/in", ("rbind",)))
    ran = sandbox.run(spec=spec("ls /srv /srv/in; touch /srv/x || echo ro; touch /srv/in/x && echo rw", *mounts))
    assert ran.out.split() == ["/srv:", "in", "/srv/in:", "inner", "ro", "rw"]


def test_the_type_bind_is_a_bind_without_the_option(sandbox: Sandbox, tree: Path) -> None:
    assert sandbox.run(spec=spec("ls /mnt", Mount("bind", str(tree), "/mnt", ("ro",)))).out == "inner\n"


def test_tmpcopyup_begins_with_what_was_there(sandbox: Sandbox) -> None:
    etc = sandbox.rootfs / "etc"
    (etc / "link").symlink_to("passwd")
    (etc / "deep").mkdir(mode=0o750)
    (etc / "deep/file").write_text("deep")
    os.chown(etc / "deep/file", 5, 6)
    os.setxattr(etc / "deep/file", "user.note", b"x")
    script = "cat /etc/link >/dev/null && cat /etc/deep/file; stat -c %u:%g:%a /etc/deep/file /etc/deep; echo >/etc/new"
    ran = sandbox.run(spec=spec(script, Mount("tmpfs", "tmpfs", "/etc", ("tmpcopyup", "mode=700"))))
    assert ran.out.split() == ["deep5:6:644", "0:0:750"]
    assert not (etc / "new").exists()


def test_owners_on_an_id_mapped_bind_are_those_of_its_mappings(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/f").write_text("")
    os.chown(tmp_path / "dir/f", 7, 8)
    maps = {
        "uidMappings": [{"containerID": 7, "hostID": 1007, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 100}],
    }
    bind = Mount("bind", str(tmp_path / "dir"), "/mnt", ("bind", "idmap"), extra=maps)
    assert sandbox.run(spec=spec("stat -c %u:%g /mnt/f", bind)).out == "1007:1008\n"


def test_idmap_without_any_mappings_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"mounts \(/mnt\): idmap without mappings"):
        sandbox.run(spec=spec("true", Mount("bind", str(tmp_path), "/mnt", ("bind", "idmap"))))


@pytest.mark.parametrize(("kind", "tag"), [("", ""), ("rprivate", ""), ("rshared", "shared"), ("unbindable", "unbin")])
def test_the_propagation_of_the_root(sandbox: Sandbox, kind: str, tag: str) -> None:
    def share() -> None:
        kernel.set_propagation(kernel.MS_SHARED)

    ran = sandbox.run(
        spec=spec("grep ' / / ' /proc/self/mountinfo || grep ' / [^ ]*' /proc/1/mountinfo", rootfs_propagation=kind),
        before=share,
    )
    root = next(line for line in sandbox_mounts(ran.out) if line[4] == "/")
    shown = " ".join(root[6 : root.index("-")])
    assert tag in shown
    assert bool(shown) == bool(tag)


def sandbox_mounts(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_bind_may_follow_or_share_the_mount_events_of_the_host(sandbox: Sandbox, tree: Path) -> None:
    def share() -> None:
        kernel.set_propagation(kernel.MS_SHARED)

    for words, tag in ((("rbind",), ""), (("rbind", "rslave"), "master"), (("rbind", "rshared"), "shared")):
        bind = Mount("bind", str(tree / "inner"), "/mnt", words)
        wanted = spec("cat /proc/self/mountinfo", bind, rootfs_propagation="shared")
        lines = sandbox_mounts(sandbox.run(spec=wanted, before=share).out)
        found = next(line for line in lines if line[4] == "/mnt")
        shown = " ".join(found[6 : found.index("-")])
        assert tag in shown
        assert bool(shown) == bool(tag)


def test_control_groups_are_seen_from_the_containers_own_on(sandbox: Sandbox) -> None:
    script = "grep cgroup /proc/self/mountinfo | cut -d' ' -f4 | sort -u; touch /sys/fs/cgroup/x 2>/dev/null || echo ro"
    groups = Mount("cgroup", "cgroup", "/sys/fs/cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro"))
    ran = sandbox.run(spec=spec(script, groups))
    assert (ran.out, ran.err) == ("/\nro\n", "")


# --- namespaces -------------------------------------------------------------------------------------------------------


@pytest.fixture
def other() -> Iterator[int]:
    """The pid of a process in namespaces of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            namespaces.unshare(
                namespaces.NEWIPC | namespaces.NEWUTS | namespaces.NEWNET | namespaces.NEWCGROUP | namespaces.NEWNS
            )
            os.write(writer, b"x")
            time.sleep(100)
        finally:
            os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    try:
        yield pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("kind", ["ipc", "uts", "network", "cgroup"])
def test_a_namespace_can_be_joined_by_its_path(sandbox: Sandbox, other: int, kind: str) -> None:
    name = {"network": "net"}.get(kind, kind)
    path = f"/proc/{other}/ns/{name}"
    ran = sandbox.run(spec=spec(f"readlink /proc/self/ns/{name}", namespaces=(Namespace(kind, path),)))
    assert ran.out.strip() == str(Path(path).readlink())


def test_in_a_mount_namespace_that_is_joined_the_tree_is_its_own(sandbox: Sandbox, other: int) -> None:
    wanted = spec("readlink /proc/self/ns/mnt", namespaces=(Namespace("mount", f"/proc/{other}/ns/mnt"),))
    wanted = evolve(wanted, mounts=(), linux=evolve(wanted.linux or Linux(), masked_paths=(), readonly_paths=()))
    # Process 1 of the new pid namespace is not in the /proc that is there.
    assert sandbox.run(spec=evolve(wanted, process=evolve(wanted.process or Process(), args=("/bin/true",)))).code == 0
    with pytest.raises(Refused, match="mounts: in a mount namespace that is joined"):
        sandbox.run(spec=spec("true", namespaces=(Namespace("mount", f"/proc/{other}/ns/mnt"),)))


MAPS = (IDMapping(0, 100000, 1000),)


def test_a_user_namespace_gives_root_that_is_nobody_outside(sandbox: Sandbox) -> None:
    os.chmod(sandbox.rootfs.parent, 0o755)  # noqa: PTH101
    (sandbox.rootfs / "tmp").mkdir(exist_ok=True)
    (sandbox.rootfs / "tmp").chmod(0o777)
    wanted = spec(
        "id -u; cat /proc/self/uid_map; touch /tmp/x; touch /etc/x || echo no; stat -c %u .",
        namespaces=(Namespace("user"),),
        uid_mappings=MAPS,
        gid_mappings=MAPS,
        process={"cwd": "/new", "user": User(0, 0)},
    )
    ran = sandbox.run(spec=wanted)
    assert ran.out.split() == ["0", "0", "100000", "1000", "no", "0"]
    assert (sandbox.rootfs / "tmp/x").stat().st_uid == 100000


def test_a_user_namespace_can_be_joined(sandbox: Sandbox) -> None:
    from buildlib.linux.idmap import user_namespace

    fd = user_namespace([(0, 200000, 10)], [(0, 200000, 10)])
    try:
        path = f"/proc/{os.getpid()}/fd/{fd}"
        ran = sandbox.run(spec=spec("cat /proc/self/uid_map", namespaces=(Namespace("user", path),)))
    finally:
        os.close(fd)
    assert ran.out.split() == ["0", "200000", "10"]


def test_a_user_namespace_without_mappings_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(Refused, match=r"linux.uidMappings, linux.gidMappings: a user namespace needs both"):
        sandbox.run(spec=spec("true", namespaces=(Namespace("user"),), uid_mappings=MAPS))


def test_the_clocks_of_a_time_namespace_are_set_back(sandbox: Sandbox) -> None:
    offsets = {"boottime": {"secs": 7000000, "nanosecs": 5}, "monotonic": {"secs": 10}}
    ran = sandbox.run(spec=spec("cat /proc/uptime", namespaces=(Namespace("time"),), time_offsets=offsets))
    assert float(ran.out.split()[0]) > 7000000


def test_time_offsets_need_their_namespace(sandbox: Sandbox) -> None:
    with pytest.raises(Refused, match=r"linux.timeOffsets: they need a time namespace"):
        sandbox.run(spec=spec("true", time_offsets={"boottime": {"secs": 1}}))


def test_parameters_are_set_in_the_namespaces_of_the_container_only(sandbox: Sandbox) -> None:
    before = Path("/proc/sys/kernel/msgmax").read_text()
    wanted = spec(
        "cat /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max",
        sysctl={"kernel.msgmax": "4000", "fs.mqueue.msg_max": "7"},
    )
    assert sandbox.run(spec=wanted).out.split() == ["4000", "7"]
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


# --- the process ------------------------------------------------------------------------------------------------------


def test_scheduler_io_priority_personality_and_affinity(sandbox: Sandbox) -> None:
    process = {
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        "io_priority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
        "exec_cpu_affinity": {"final": "0"},
    }
    script = (
        "uname -m; ionice -p $$; cut -d' ' -f19 /proc/$$/stat; "
        "grep Cpus_allowed_list /proc/self/status; cut -d' ' -f41 /proc/$$/stat"
    )
    ran = sandbox.run(spec=spec(script, process=process, personality={"domain": "LINUX32"}))
    words = ran.out.split("\n")
    assert words[0] == ("i686" if os.uname().machine == "x86_64" else words[0])
    assert "idle" in words[1]
    assert words[2] == "5"
    assert words[3].split()[1] == "0"
    assert words[4] == str(os.SCHED_BATCH)


@pytest.mark.parametrize(
    ("process", "field"),
    [
        ({"scheduler": {"policy": "SCHED_ODD"}}, "process.scheduler.policy"),
        ({"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}}, "process.scheduler.flags"),
        ({"io_priority": {"class": "X"}}, "process.ioPriority.class"),
        ({"exec_cpu_affinity": {"final": "x"}}, "process.execCPUAffinity.final"),
        ({"terminal": True}, "process.terminal"),
    ],
)
def test_a_word_that_means_nothing_names_its_field(sandbox: Sandbox, process: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=f"SandboxError: {field}"):
        sandbox.run(spec=spec("true", process=process))


@pytest.mark.parametrize(
    ("linux", "field"),
    [
        ({"personality": {"domain": "LINUX", "flags": ["X"]}}, "linux.personality.flags"),
        ({"time_offsets": {"x": {}}, "namespaces": (Namespace("time"),)}, "linux.timeOffsets"),
        ({"extra": {"intelRdt": {"closID": "x"}}}, "linux.intelRdt"),
        ({"uid_mappings": MAPS}, "linux.uidMappings"),
        ({"namespaces": (Namespace("odd"),)}, "linux.namespaces"),
    ],
)
def test_a_field_of_linux_that_can_t_be_meant_is_named(sandbox: Sandbox, linux: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=f"SandboxError: {field}"):
        sandbox.run(spec=spec("true", **linux))


@pytest.mark.parametrize(
    ("module", "process"), [("apparmor", {"apparmor_profile": "x"}), ("selinux", {"selinux_label": "x"})]
)
def test_a_label_without_its_module_is_an_error(sandbox: Sandbox, module: str, process: dict[str, Any]) -> None:
    if has(module):
        pytest.skip(f"this kernel has {module}")
    with pytest.raises(Refused, match=rf"this kernel has no {module}"):
        sandbox.run(spec=spec("true", process=process))


def test_unconfined_needs_no_apparmor(sandbox: Sandbox) -> None:
    assert sandbox.run(spec=spec("true", process={"apparmor_profile": "unconfined"})).code == 0


def test_the_command_is_in_the_group_that_was_made_for_it(sandbox: Sandbox) -> None:
    import secrets

    from buildlib.linux.cgroups import Cgroup
    from buildlib.sandbox.plan import plan

    group = Cgroup.at(f"buildlib-test-{secrets.token_hex(4)}").create()
    try:
        wanted = spec("cat /proc/self/cgroup; sleep 100")
        assert plan(wanted, "/r", cgroup=group.paths)[0].describe().startswith("join control group /")
    finally:
        group.remove()


def test_the_host_keeps_its_mounts(sandbox: Sandbox) -> None:
    def count() -> int:
        return len(Path("/proc/self/mountinfo").read_text().splitlines())

    before = count()
    sandbox.sh("true")
    assert count() == before
    assert subprocess.run(["ls", sandbox.rootfs / "proc"], capture_output=True, check=True).stdout == b""
