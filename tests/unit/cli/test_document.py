"""The document of ``inspect`` has buildah's shape, whatever the config holds."""

import json

from buildlib.cli.document import describe, plain
from buildlib.cli.template import Template

CONFIG = {
    "created": "2026-11-24T10:10:20.13Z",
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["A=1"], "Labels": {"x": "y"}, "OnBuild": ["RUN a"], "Custom": 1},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
    "history": [{"created": "2026-11-24T10:10:20Z", "created_by": "/bin/sh", "empty_layer": True}],
    "own": {"field": 1},
}


def test_empty_fields_are_left_out_where_buildah_leaves_them_out():
    document = plain(describe(config=CONFIG, name="localhost/x:latest"))
    assert json.loads(json.dumps(document)) == document
    assert document["OCIv1"] == CONFIG
    assert document["FromImage"] == "localhost/x:latest"
    docker = document["Docker"]["config"]
    assert docker["Env"] == ["A=1"]
    assert (docker["Cmd"], docker["Volumes"], docker["User"], docker["OnBuild"]) == (None, None, "", ["RUN a"])
    assert "ExposedPorts" not in docker
    assert document["History"] == CONFIG["history"]


def test_the_config_of_an_empty_container_is_a_document_too():
    document = plain(describe(config={}, container="c"))
    assert document["OCIv1"] == {
        "architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": None},
    }  # fmt: skip
    assert document["History"] is None


def test_a_template_sees_the_fields_that_json_leaves_out():
    document = describe(config=CONFIG)
    fields = ("OCIv1.Config.User", "OCIv1.Config.Cmd", "OCIv1.Config.Custom", "Docker.Config.Cmd", "OCIv1.OSVersion")
    assert [Template(f"{{{{.{field}}}}}").render(document) for field in fields] == ["", "[]", "1", "[]", ""]


def test_a_template_prints_times_as_go_does():
    assert Template("{{.OCIv1.Created}}").render(describe(config=CONFIG)) == "2026-11-24 10:10:20.13 +0000 UTC"
    assert Template("{{.OCIv1.Created}}").render(describe(config={})) == "0001-01-01 00:00:00 +0000 UTC"


def test_how_commands_are_kept_apart_is_told_in_buildahs_words():
    run = {"network": "none", "ipc": "host", "pid": "ns:/proc/1/ns/pid", "cap_add": ["net_raw"], "cap_drop": ["KILL"],
           "isolation": "chroot", "uid_map": ["0:1000:10"]}  # fmt: skip
    document = plain(describe(config={}, run=run))
    spaces = {space["Name"]: (space["Host"], space["Path"]) for space in document["NamespaceOptions"]}
    assert spaces == {
        "cgroup": (False, ""), "ipc": (True, ""), "mount": (False, ""), "network": (False, ""),
        "pid": (False, "/proc/1/ns/pid"), "user": (True, ""), "uts": (False, ""),
    }  # fmt: skip
    assert (document["Isolation"], document["ConfigureNetwork"]) == ("chroot", "NetworkDisabled")
    assert "CAP_NET_RAW" in document["Capabilities"]
    assert "CAP_KILL" not in document["Capabilities"]
    assert document["IDMappingOptions"]["UIDMap"] == [{"ContainerID": 0, "HostID": 1000, "Size": 10}]
    everything = plain(describe(config={}, run={"cap_drop": ["ALL"], "cap_add": ["chown"]}))
    assert everything["Capabilities"] == ["CAP_CHOWN"]
