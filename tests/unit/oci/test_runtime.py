"""The runtime spec round-trips, with what we do not look into."""

import pytest

from buildlib.errors import FormatError
from buildlib.oci import Mount, RuntimeSpec
from buildlib.oci.runtime import Linux, Namespace, Process, Rlimit, Root, User

# As `runc spec` writes it, shortened, with parts that only real runtimes look into.
SPEC = {
    "ociVersion": "1.0.2-dev",
    "process": {
        "terminal": True,
        "user": {"uid": 0, "gid": 0, "additionalGids": [1, 2]},
        "args": ["sh"],
        "env": ["PATH=/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1024}],
        "noNewPrivileges": True,
        "apparmorProfile": "x",
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "runc",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    ],
    "linux": {
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}],
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}],
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "intelRdt": {"closID": "x"},
    },
    "vm": {"kernel": {"path": "x"}},
}


def test_a_spec_round_trips_with_unknown_parts():
    assert RuntimeSpec.from_dict(SPEC).to_dict() == SPEC


def test_its_parts_are_values():
    spec = RuntimeSpec.from_dict(SPEC)
    assert spec.process is not None
    assert spec.linux is not None
    assert spec.process.user == User(0, 0, additional_gids=(1, 2))
    assert spec.process.rlimits == (Rlimit("RLIMIT_NOFILE", 2**64 - 1, 1024),)
    assert spec.mounts[0] == Mount("proc", "proc", "/proc")
    assert spec.linux.namespaces[1] == Namespace("network", "/run/netns/x")


def test_a_mount_without_a_type_is_a_bind_if_its_options_say_so():
    assert Mount.from_dict({"destination": "/a", "source": "/b", "options": ["rbind", "ro"]}).type == "bind"
    assert Mount.from_dict({"destination": "/a", "options": ["remount"]}).type == "none"


def test_a_new_spec_is_plain_data():
    spec = RuntimeSpec(Process(("true",)), Root("/r"), (Mount("bind", "/a", "/b", ("bind",)),), linux=Linux())
    assert RuntimeSpec.from_dict(spec.to_dict()) == spec
    assert spec.to_dict()["process"] == {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"process": {"args": "sh"}}, "config.json.process.args: expected a list, found a string"),
        ({"mounts": [{"destination": 1}]}, r"config.json.mounts\[0\].destination: expected a string"),
        ({"mounts": [{"destination": "/a", "options": 7}]}, r"config.json.mounts\[0\].options: expected a list"),
        ({"root": {}}, "config.json.root.path is missing"),
        ([], "config.json: expected an object"),
    ],
)
def test_a_wrong_field_is_named(spec, message):
    with pytest.raises(FormatError, match=message):
        RuntimeSpec.from_dict(spec)
