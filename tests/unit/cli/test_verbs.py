"""The verbs on real containers: where buildah has no counterpart. The rest is compared in tests/interop/cli_parity."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from buildlib.cli import INTERRUPTED_EXIT
from tests.unit.cli.conftest import start

pytestmark = pytest.mark.root


@pytest.fixture
def ctr(call, busybox_tar):
    """A container named ``c`` on an image named ``base``."""
    assert call("from", "--name", "first", f"tarball:{busybox_tar}").out == "first\n"
    assert call("config", "--cmd", "sh", "--env", "PATH=/bin:/usr/bin", "first").code == 0
    assert call("commit", "first", "base").code == 0
    assert call("rm", "first").code == 0
    assert call("prune").code == 0
    assert call("from", "--name", "c", "base").out == "c\n"
    return "c"


@pytest.mark.parametrize(
    ("command", "code"),
    [(["missing"], 127), (["/etc/passwd"], 126), (["sh", "-c", "kill -TERM $$"], 143), (["sh", "-c", "exit 7"], 7)],
)
def test_the_exit_code_of_run_says_how_the_command_ended(call, ctr, command, code):
    got = call("run", ctr, *command)
    assert got.code == code
    assert got.out == ""
    assert got.err.startswith("Error: ") or code == 126 or got.err.splitlines()[-1].startswith(("Error: ", "hint: "))


def test_output_comes_out_as_it_is(call, ctr):
    got = call("run", ctr, "--", "sh", "-c", r"printf 'a\0b\n'; printf 'e' >&2")
    assert (got.code, got.out, got.err) == (0, "a\0b\n", "e")


def test_variables_of_the_host_are_passed_by_name(call, ctr, monkeypatch):
    monkeypatch.setenv("HOST_VALUE", "from the host")
    monkeypatch.delenv("NOT_THERE", raising=False)
    command = ["sh", "-c", 'echo "$HOST_VALUE|$A|${NOT_THERE-unset}"']
    got = call("run", "-e", "HOST_VALUE", "-e", "A=1=2", "-e", "NOT_THERE", ctr, *command)
    assert got.out == "from the host|1=2|unset\n"


def test_mounts_are_there_for_one_run_and_leave_nothing_in_the_image(call, ctr, tmp_path):
    (tmp_path / "secret").write_text("hush")
    (tmp_path / "shared").mkdir()
    volume = f"{tmp_path}/shared:/shared"
    secret = f"type=secret,id=s,source={tmp_path}/secret"
    mounts = ["-v", volume, "--mount", secret, "--mount", "type=cache,target=/cache", "--mount", "type=tmpfs,target=/t"]
    script = "cat /run/secrets/s; echo kept > /cache/x; echo gone > /t/x; echo out > /shared/x"
    got = call("run", *mounts, ctr, "sh", "-c", script)
    assert (got.code, got.out) == (0, "hush"), got.err
    assert (tmp_path / "shared" / "x").read_text() == "out\n"
    assert call("run", "--mount", "type=cache,target=/cache", ctr, "cat", "/cache/x").out == "kept\n"
    assert call("diff", ctr).out == ""


def test_a_read_only_volume_can_not_be_written(call, ctr, tmp_path):
    (tmp_path / "shared").mkdir()
    got = call("run", "-v", f"{tmp_path}/shared:/shared:ro", ctr, "touch", "/shared/x")
    assert got.code == 1
    assert "Read-only file system" in got.err


def test_without_a_network_there_is_only_loopback(call, ctr):
    assert call("run", "--network", "none", ctr, "sh", "-c", "cat /proc/net/dev | grep -c :").out == "1\n"
    assert 'Error: there is no network "odd"' in call("run", "--network=odd", ctr, "true").err


def test_devices_are_named_by_specifications_of_a_folder(call, ctr, tmp_path):
    spec = {
        "cdiVersion": "0.6.0",
        "kind": "example.com/thing",
        "devices": [{"name": "one", "containerEdits": {"env": ["THING=1"]}}],
    }
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi" / "thing.json").write_text(json.dumps(spec))
    command = ("--device", "example.com/thing=one", ctr, "sh", "-c", "echo $THING")
    assert call("run", "--cdi-config-dir", f"{tmp_path}/cdi", *command).out == "1\n"
    assert call("run", *command).out == "\n"


def test_rmi_all_leaves_what_a_container_uses_with_all_its_names(call, ctr):
    call("tag", "base", "base:2")
    call("config", "--label", "a=b", ctr)
    call("commit", "-q", ctr, "other:1")
    call("tag", "other:1", "other:2")
    got = call("rmi", "--all")
    assert got.code == 125
    assert got.err.startswith("Error: image ")
    assert set(call("images", "--format", "{{.Name}}:{{.Tag}}").out.split()) == {
        "localhost/base:latest",
        "localhost/base:2",
    }
    assert call("rmi", "--all", "--force").code == 0
    assert (call("images", "-q").out, call("containers", "-q").out) == ("", "")


def test_ctrl_c_kills_the_whole_tree_and_exits_130(ctr, tmp_path):
    mark = f"{os.getpid()}77"
    words = ["--root", str(tmp_path / "store"), "run", ctr, "sh", "-c", f"sleep {mark} & echo started; sleep {mark}"]
    running = start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout.readline() == b"started\n"
    assert len(_processes(mark)) >= 2
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()
    assert running.returncode == INTERRUPTED_EXIT
    assert b"Traceback" not in err
    deadline = time.monotonic() + 20
    while _processes(f"sleep\0{mark}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _processes(f"sleep\0{mark}") == []


def _processes(mark):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(folder.name)
        except OSError:
            continue
    return found


def test_a_container_is_used_by_scripts_through_its_id_file(call, ctr, tmp_path):
    call("from", "--name", "d", "--cidfile", str(tmp_path / "cid"), "base")
    id = (tmp_path / "cid").read_text()
    assert call("containers", "-q", "--filter", "name=d").out == f"{id}\n"
    assert call("run", id, "echo", "x").out == "x\n"
    assert call("run", id[:8], "echo", "x").out == "x\n"


def test_history_is_noted_when_it_is_wanted(call, ctr, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    call("run", "--add-history", ctr, "touch", "/x")
    call("copy", "--add-history", ctr, str(tmp_path / "file"), "/y")
    monkeypatch.setenv("BUILDAH_HISTORY", "true")
    call("config", "--env", "A=1", "--user", "app", ctr)
    call("commit", ctr, "noted")
    lines = [entry["created_by"] for entry in json.loads(call("inspect", "noted").out)["History"]]
    expected = ["touch /x", f"#(nop) COPY {tmp_path}/file /y", "#(nop) ENV A=1", "#(nop) USER app"]
    noted = [line.removeprefix("/bin/sh -c ") for line in lines]
    assert [line for line in noted if line in expected] == expected


def test_diff_lists_what_was_changed(call, ctr):
    call("run", ctr, "sh", "-c", "echo x > /new; rm /usr/bin/yes; chmod 700 /home")
    lines = call("diff", ctr).out.splitlines()
    assert [line for line in lines if line.split()[1] in ("/home", "/new", "/usr/bin/yes")] == [
        "C /home", "A /new", "D /usr/bin/yes",
    ]  # fmt: skip
    assert json.loads(call("diff", "--json", ctr).out)["deleted"] == ["/usr/bin/yes"]


def test_a_container_that_is_mounted_can_be_changed_from_outside(call, ctr):
    folder = call("mount", ctr).out.strip()
    (Path(folder) / "etc" / "greeting").write_text("hello")
    assert call("mount").out == f"c {folder}\n"
    assert json.loads(call("mount", "--json").out) == [{"container": "c", "mountPoint": folder}]
    assert json.loads(call("inspect", ctr).out)["MountPoint"] == folder
    assert len(call("umount", ctr).out.strip()) == 64
    assert not (Path(folder) / "etc").exists()
    assert call("run", ctr, "cat", "/etc/greeting").out == "hello"


def test_commit_sends_an_image_elsewhere_and_keeps_none(call, ctr, tmp_path):
    call("run", ctr, "touch", "/x")
    got = call("commit", "--iidfile", str(tmp_path / "iid"), ctr, f"oci-archive:{tmp_path}/image.tar:tag")
    assert (got.code, got.out) == (0, ""), got.err
    id = (tmp_path / "iid").read_text().removeprefix("sha256:")
    assert call("images", "-q").out.split() == call("images", "-q", "base").out.split()
    assert call("pull", "-q", f"oci-archive:{tmp_path}/image.tar").out == f"{id}\n"


def test_the_same_timestamp_gives_the_same_image(call, ctr):
    call("from", "--name", "d", "base")
    for name in (ctr, "d"):
        call("run", name, "sh", "-c", "echo x > /x")
    ids = {call("commit", "--timestamp", "0", name).out for name in (ctr, "d")}
    assert len(ids) == 1
    assert call("commit", "--timestamp", "0", "--source-date-epoch", "1", ctr).code == 125


def test_squash_makes_one_layer(call, ctr):
    call("run", ctr, "touch", "/x")
    call("commit", "--squash", ctr, "flat")
    assert len(json.loads(call("inspect", "--type", "image", "flat").out)["OCIv1"]["rootfs"]["diff_ids"]) == 1


def test_prune_removes_what_has_no_name_and_with_all_what_is_not_used(call, ctr):
    call("run", ctr, "touch", "/x")
    dangling = call("commit", ctr).out
    call("tag", "base", "kept")
    assert call("prune").out == dangling
    assert call("prune", "--all").out == ""
    assert call("images", "-q").out != ""
    assert call("gc", "--all", "--force").code == 0
    assert call("images", "-q").out == ""
    assert call("containers", "-q").out == ""
    assert call("check", "--all").out == ""


def test_check_names_what_is_wrong_and_exits_125(call, ctr, tmp_path):
    assert (call("check").code, call("check").out) == (0, "")
    id = call("images", "-q", "--no-trunc", "base").out.strip().removeprefix("sha256:")
    (tmp_path / "store" / "blobs" / "sha256" / id).write_bytes(b"{}")
    got = call("check")
    assert got.code == 125
    assert id in got.out


def test_an_image_with_several_names_is_removed_by_id_only_with_force(call, ctr):
    call("rm", ctr)
    call("tag", "base", "second")
    id = call("images", "-q", "base").out.strip()
    got = call("rmi", id)
    assert got.code == 125, got.out
    assert len(call("images", "-n").out.splitlines()) == 2
    got = call("rmi", "--force", id)
    assert got.out.splitlines()[:2] == ["untagged: localhost/base:latest", "untagged: localhost/second:latest"]
    assert len(got.out.splitlines()[2]) == 64


def test_images_go_to_a_registry_and_come_back_with_a_login(call, ctr, tmp_path):
    from buildlib.testing import serve_registry

    with serve_registry(auth="bearer", users={"ann": "secret"}) as registry:
        name = f"docker://{registry.host}/team/site:1"
        flags = ["--tls-verify=false", "--retry=0", "--authfile", str(tmp_path / "none.json")]
        assert call("push", "-q", *flags, "base", name).code == 125
        login = [*flags, "--creds", "ann:secret"]
        got = call("push", *login, "--digestfile", str(tmp_path / "digest"), "base", name)
        assert got.code == 0, got.err
        assert (tmp_path / "digest").read_text().startswith("sha256:")
        id = call("images", "-q", "base").out
        call("rm", ctr)
        call("rmi", "base")
        got = call("from", "--name", "d", "--pull=never", *login, f"{registry.host}/team/site:1")
        assert (got.code, got.out) == (125, "")
        got = call("from", "--name", "d", *login, f"{registry.host}/team/site:1")
        assert (got.code, got.out) == (0, "d\n"), got.err
        assert call("images", "-q").out == id
        assert call("commit", "-q", *login, "d", f"docker://{registry.host}/team/other:2").code == 0
    assert call("from", "--name", "e", f"{registry.host}/team/site:1").code == 0, "it is here: no registry is asked"


def test_errors_are_one_line_and_a_hint(call, ctr):
    for words in (
        ["from", "nothing", "--pull=never"], ["from", "--pull=never", "nothing"], ["rmi", "base"], ["rm", "nothing"],
        ["inspect", "nothing"], ["from", "--name", "c", "base"], ["copy", "c", "/missing", "/"], ["run", "c"],
        ["push", "base", "docker-archive:"], ["pull", "oci:/missing"], ["config", "--port", "x", "c"],
        ["tag", "base", "UPPER"],
        ["from", "--format", "odd", "base"], ["from", "--pull=odd", "base"], ["commit", "--format", "odd", "c"],
    ):  # fmt: skip
        got = call(*words)
        lines = got.err.splitlines()
        assert got.code == 125, words
        assert lines[0].startswith("Error: "), words
        assert "internal error" not in got.err
        assert all(line.startswith("hint: ") for line in lines[1:]), (words, got.err)
        assert len(lines) <= 2
