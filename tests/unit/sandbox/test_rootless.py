"""The spec of a run as it can be had in a user namespace."""

from __future__ import annotations

from buildlib.sandbox.defaults import default_spec
from buildlib.sandbox.rootless import adapt


def mounts(
    network: str = "host", *, single: bool = False, shut_in: bool = True
) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    spec = adapt(default_spec(["true"], network=network), single=single, shut_in=shut_in)
    return {mount.target: (mount.type, mount.source, mount.options) for mount in spec.mounts}


def test_sys_is_the_machines_unless_the_network_is_the_containers() -> None:
    assert mounts()["/sys"] == ("bind", "/sys", ("rbind", "nosuid", "noexec", "nodev", "ro"))
    assert mounts("none")["/sys"][0] == mounts("none", shut_in=False)["/sys"][0] == "sysfs"


def test_proc_stays_where_the_pids_are_the_containers() -> None:
    assert mounts()["/proc"][0] == "proc"
    assert mounts(shut_in=False)["/proc"][:2] == ("bind", "/proc")


def test_without_an_ipc_namespace_there_are_no_message_queues() -> None:
    assert "/dev/mqueue" in mounts()
    assert "/dev/mqueue" not in mounts(shut_in=False)


def test_with_one_id_no_option_names_another() -> None:
    assert "gid=5" in mounts()["/dev/pts"][2]
    assert "gid=5" not in mounts(single=True)["/dev/pts"][2]
    assert "ptmxmode=0666" in mounts(single=True)["/dev/pts"][2]


def test_all_else_is_as_it_was() -> None:
    usual = {mount.target: (mount.type, mount.source, mount.options) for mount in default_spec(["true"]).mounts}
    changed = {target for target, mount in mounts().items() if usual[target] != mount}
    assert changed == {"/sys"}
