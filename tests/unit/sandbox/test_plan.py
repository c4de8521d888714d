"""A plan is data: what will be done, in which order, without doing it."""

from __future__ import annotations

import pytest
from attrs import evolve

from buildlib.errors import SandboxError, UsageError
from buildlib.oci.mount import Mount
from buildlib.oci.runtime import Device, Linux, Namespace, RuntimeSpec, User
from buildlib.sandbox.defaults import CAPABILITIES, capabilities, default_spec
from buildlib.sandbox.plan import plan


def described(spec: RuntimeSpec, **options: bool) -> list[str]:
    return [op.describe() for op in plan(spec, "/rootfs", **options)]


def test_the_default_plan_in_order() -> None:
    spec = default_spec(["true"], env=["PATH=/bin"], network="none", hostname="box", cwd="/srv")
    words = [line.split(" (")[0] for line in described(spec)]
    assert words == [
        "unshare mount ipc uts cgroup network",
        "make / recursively slave",
        "bind /rootfs on itself",
        "mount proc at /proc",
        "mount tmpfs at /dev",
        "mount devpts at /dev/pts",
        "mount tmpfs at /dev/shm",
        "mount mqueue at /dev/mqueue",
        "mount sysfs at /sys",
        *[line for line in words if line.startswith("make /dev/null")],
        "name the host box",
        "bring up lo",
        *[line for line in words if line.startswith(("mask /proc", "make read-only /proc"))],
        "pivot to /rootfs",
        "join a new session keyring",
        "go to /srv",
        "set umask 0022",
        "vet true",
        "filter system calls",
        "become 0:0 with 11 capabilities",
        "die with the launcher",
        "execute true",
    ]


def test_ids_change_after_everything_that_needs_root_and_the_command_comes_last() -> None:
    lines = described(default_spec(["id"], user=User(5, 6), no_new_privileges=True, readonly=True), own_init=True)
    assert [line.split(" (")[0] for line in lines[-6:]] == [
        "vet id",
        "become 5:6 with 11 capabilities",
        "die with the launcher",
        "forbid new privileges",
        "filter system calls",
        "remain as init, execute id",
    ]
    assert lines.index("make / read-only") > lines.index("go to /")


def test_the_same_spec_gives_the_same_plan_also_through_json() -> None:
    spec = default_spec(["true"])
    assert plan(spec, "/r") == plan(RuntimeSpec.from_dict(spec.to_dict()), "/r")


def test_mounts_keep_the_order_of_the_spec() -> None:
    spec = default_spec(["x"], mounts=[Mount("bind", "/a", "/b", ("rbind", "ro")), Mount("detached", "7", "/c")])
    assert [line for line in described(spec) if line.startswith(("bind /a", "attach"))] == [
        "bind /a at /b (rbind,ro)",
        "attach mount 7 at /c",
    ]


@pytest.mark.parametrize(
    ("linux", "message"),
    [
        (Linux(namespaces=(Namespace("user"),)), "user namespace"),
        (Linux(namespaces=(Namespace("pid", "/proc/1/ns/pid"),)), "a process joins no pid namespace"),
        (Linux(sysctl={"kernel.panic": "1"}), "belongs to no namespace"),
        (Linux(sysctl={"net.ipv4.ip_forward": "1"}), "belongs to no namespace"),
        (Linux(resources={"pids": {"limit": 1}}), "linux.resources"),
        (Linux(rootfs_propagation="rodd"), "linux.rootfsPropagation"),
    ],
)
def test_what_is_not_offered_is_refused_before_anything_runs(linux: Linux, message: str) -> None:
    with pytest.raises(SandboxError, match=message):
        plan(evolve(default_spec(["true"]), linux=linux), "/rootfs")


def test_a_device_outside_dev_is_refused() -> None:
    spec = default_spec(["true"])
    for path in ("/etc/x", "/dev/../etc/x", "/device"):
        with pytest.raises(SandboxError, match="outside /dev"):
            plan(evolve(spec, linux=Linux(devices=(Device(path, "c", 1, 3),))), "/rootfs")


def test_a_spec_without_a_command_is_refused() -> None:
    with pytest.raises(UsageError):
        plan(default_spec([]), "/rootfs")


def test_capabilities_are_added_then_dropped() -> None:
    assert capabilities() == CAPABILITIES
    assert "CAP_NET_RAW" in capabilities(["net_raw"])
    assert "CAP_CHOWN" not in capabilities([], ["CAP_CHOWN"])
    assert capabilities([], ["ALL"]) == ()
    assert capabilities(["chown"], ["all"]) == ("CAP_CHOWN",)
    assert len(capabilities(["all"])) == 41
    with pytest.raises(UsageError, match="CAP_FLY"):
        capabilities(["fly"])


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError):
        default_spec(["true"], network="bridge")
