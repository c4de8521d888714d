"""How commands are run: what can't be meant, what is kept, and what becomes of the runtime spec."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from buildlib.container.run_options import UNLIMITED, RunOptions, host_line, shape, ulimit
from buildlib.errors import FormatError, UsageError
from buildlib.oci.runtime import Namespace, Rlimit
from buildlib.sandbox.defaults import MASKED_PATHS, READONLY_PATHS, default_spec

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.store import Store


@pytest.mark.parametrize(
    "wrong",
    [
        {"ipc": "odd"}, {"network": "odd"}, {"pid": "none"}, {"ulimits": ("nofile",)}, {"ulimits": ("odd=1",)},
        {"ulimits": ("nofile=2:1",)}, {"add_hosts": ("name",)}, {"add_hosts": ("a b:1.2.3.4",)}, {"uid_map": ("1:2",)},
        {"memory": 2, "memory_swap": 1},
    ],
)  # fmt: skip
def test_what_can_not_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        RunOptions(**wrong)  # type: ignore[arg-type]


def test_options_survive_json() -> None:
    options = RunOptions(network="none", cap_add=("net_raw",), memory=5, volumes=(("/a", "/b", True),), no_hosts=True)
    assert RunOptions.of(json.loads(json.dumps(options.given()))) == options
    assert RunOptions().given() == {}


def test_what_a_run_says_comes_on_top_of_what_its_container_keeps() -> None:
    kept = RunOptions(network="none", ipc="host", ulimits=("nofile=5",), memory=7)
    assert RunOptions(network="host", ulimits=("nproc=3",)).over(kept) == RunOptions(
        network="host", ipc="host", ulimits=("nofile=5", "nproc=3"), memory=7
    )


def test_limits_do_not_decide_what_is_built_but_names_of_hosts_do() -> None:
    assert RunOptions(memory=7, cpuset_cpus="0").decisive == {}
    assert RunOptions(add_hosts=("db:10.0.0.1",)).decisive == {"add_hosts": ("db:10.0.0.1",)}


def test_the_last_of_several_limits_of_one_kind_counts() -> None:
    process = shape(default_spec(["x"]), RunOptions(ulimits=("nofile=5", "core=-1", "RLIMIT_NOFILE=6:7"))).process
    assert process is not None
    assert process.rlimits == (Rlimit("RLIMIT_NOFILE", 7, 6), Rlimit("RLIMIT_CORE", UNLIMITED, UNLIMITED))
    assert ulimit("stack=1:-1") == ("stack", 1, UNLIMITED)


def test_resources_are_those_of_the_runtime_spec() -> None:
    options = RunOptions(
        memory=1, memory_swap=-1, cpu_shares=2, cpu_quota=3, cpu_period=4, cpuset_cpus="0", cgroup_parent="/p"
    )
    linux = shape(default_spec(["x"]), options).linux
    assert linux is not None
    assert linux.resources == {
        "memory": {"limit": 1, "swap": -1},
        "cpu": {"shares": 2, "quota": 3, "period": 4, "cpus": "0"},
    }
    assert linux.cgroups_path == "/p"


def test_namespaces_are_shared_joined_or_made() -> None:
    options = RunOptions(pid="host", uts="host", ipc="ns:/proc/1/ns/ipc", cgroupns="private")
    spec = shape(default_spec(["x"], hostname="h", network="none"), options, "ns:/run/netns/x")
    assert spec.linux is not None
    spaces = {space.type: space.path for space in spec.linux.namespaces}
    assert spaces == {"mount": "", "ipc": "/proc/1/ns/ipc", "cgroup": "", "network": "/run/netns/x"}
    assert spec.hostname == ""


def test_a_user_namespace_has_mappings() -> None:
    linux = shape(default_spec(["x"]), RunOptions(uid_map=("0:1000:10",))).linux
    assert linux is not None
    assert Namespace("user") in linux.namespaces
    assert [(m.container_id, m.host_id, m.size) for m in (*linux.uid_mappings, *linux.gid_mappings)] == [
        (0, 1000, 10)
    ] * 2


def test_security_options(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    words = (f"seccomp={tmp_path}/profile", "apparmor:mine", "no-new-privileges", "mask=/a:/b", "unmask=/proc/k*")
    spec = shape(default_spec(["x"]), RunOptions(security=(*words, "label=disable")))
    assert spec.linux is not None and spec.process is not None
    assert spec.linux.seccomp == {"defaultAction": "SCMP_ACT_ALLOW"}
    assert (spec.process.no_new_privileges, spec.process.extra["apparmorProfile"]) == (True, "mine")
    assert set(MASKED_PATHS) - set(spec.linux.masked_paths) == {"/proc/kcore", "/proc/keys"}
    assert spec.linux.masked_paths[-2:] == ("/a", "/b")
    free = shape(default_spec(["x"]), RunOptions(security=("unmask=ALL", "seccomp=unconfined"))).linux
    assert free is not None
    assert (free.masked_paths, free.readonly_paths, free.seccomp) == ((), (), None)
    assert READONLY_PATHS


@pytest.mark.parametrize("word", ["odd", "odd=x", "seccomp=", "seccomp=/nowhere"])
def test_a_security_option_that_there_is_not(word: str) -> None:
    with pytest.raises(UsageError):
        shape(default_spec(["x"]), RunOptions(security=(word,)))


def test_a_seccomp_profile_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("x")
    with pytest.raises(FormatError):
        shape(default_spec(["x"]), RunOptions(security=(f"seccomp={tmp_path}/profile",)))


def test_a_host_has_an_address_and_one_name_or_several() -> None:
    assert host_line("a:::1", "") == "::1\ta"
    assert host_line("a;b:10.0.0.1", "") == "10.0.0.1\ta b"
    assert host_line("a:host-gateway", "10.0.0.2") == "10.0.0.2\ta"


@pytest.mark.root
@pytest.mark.usefixtures("busybox_image")
def test_a_container_keeps_how_its_commands_are_run(store: Store) -> None:
    options = RunOptions(
        ulimits=("nofile=50:60",), shm_size=1 << 20, add_hosts=("db:10.0.0.5",), dns=("9.9.9.9",), uts="host",
        group_add=("44",), no_hostname=True, volumes=(("/sys/kernel", "/kernel", True),),
    )  # fmt: skip
    container = store.from_image("localhost/busybox:latest", run=options)
    again = store.container(container.id)
    script = (
        "cat /etc/hosts /etc/resolv.conf; ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1; id -G; hostname; ls /kernel"
    )
    said = again.run(script, capture=True).stdout
    assert "10.0.0.5\tdb\n" in said
    assert "nameserver 9.9.9.9\n50\n60\n" in said
    assert " 1024 " in said
    assert "\n0 44\n" in said
    assert f"\n{os.uname().nodename}\n" in said
    assert "mm\n" in said
    assert again.run("cat /etc/hostname", capture=True, check=False).exit_code
    assert again.run("cat /run/.containerenv", capture=True).stdout.startswith(
        f'engine="buildlib"\nname="{again.name}"\n'
    )
    assert not [change.path for change in again.diff()]
