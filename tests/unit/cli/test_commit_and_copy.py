"""``commit``, ``copy``, ``add`` and ``from`` with the flags that buildah 1.28 has not, or does not show."""

import json
import os

import pytest

pytestmark = pytest.mark.root


@pytest.fixture
def ctr(call, busybox_tar):
    """A container named ``c`` on an image that has busybox."""
    assert call("from", "--name", "c", f"tarball:{busybox_tar}").out == "c\n"
    return "c"


@pytest.fixture
def empty(call):
    assert call("from", "--name", "e", "scratch").code == 0
    return "e"


def config_of(call, name):
    return json.loads(call("inspect", "--type", "image", "--format", "{{json .OCIv1.Config}}", name).out)


def tree(call, name):
    mounted = call("mount", name).out.strip()
    found = {}
    for folder, _, files in os.walk(mounted):
        for file in files:
            path = f"{folder}/{file}"
            found[os.path.relpath(path, mounted)] = os.lstat(path)
    assert call("umount", name).code == 0
    return found


def test_changes_and_config_are_in_the_image_and_not_in_the_container(call, empty, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"config": {"Cmd": ["x"], "Env": ["A=1"], "Labels": {"l": "1"}}}))
    call("config", "--env", "GONE=1", "--env", "B=0", empty)
    changes = [
        'CMD ["y", "z"]',
        "ENV B=2 C='a b'",
        "LABEL m=n",
        "EXPOSE 80 53/udp",
        "VOLUME /v",
        "WORKDIR /w",
        "USER u",
    ]
    changes += [
        "ENTRYPOINT run it",
        'HEALTHCHECK --interval=5s CMD ["q"]',
        "ONBUILD RUN a",
        "STOPSIGNAL INT",
        "ENV OLD form",
    ]
    words = [word for change in changes for word in ("--change", change)]
    got = call("commit", "-q", "--config", f"{tmp_path}/config.json", *words, "--unsetenv", "GONE", empty, "out")
    assert got.code == 0, got.err
    config = config_of(call, "out")
    assert config["Env"] == ["B=2", "A=1", "C=a b", "OLD=form"]
    assert (config["Cmd"], config["Entrypoint"]) == (["y", "z"], ["/bin/sh", "-c", "run it"])
    assert config["Labels"] == {"l": "1", "m": "n"}
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert (config["WorkingDir"], config["User"], config["StopSignal"]) == ("/w", "u", "INT")
    assert (config["Volumes"], config["OnBuild"]) == ({"/v": {}}, ["RUN a"])
    assert config["Healthcheck"] == {"Test": ["CMD", "q"], "Interval": 5_000_000_000}
    assert call("inspect", "--format", "{{.OCIv1.Config.Env}} {{.OCIv1.Config.Cmd}}", empty).out == "[GONE=1 B=0] []"
    assert call("containers", "-q").out.count("\n") == 1


@pytest.mark.parametrize("change", ["RUN x", "CMD", "SHELL sh", "ENV 'A"])
def test_a_change_that_can_not_be_applied_is_an_error(call, empty, change):
    got = call("commit", "-q", "--change", change, empty, "out")
    assert (got.code, got.out) == (125, "")
    assert got.err.startswith("Error: ")


def test_files_are_added_to_the_image_only(call, empty, tmp_path):
    (tmp_path / "f").write_text("hello")
    (tmp_path / "f").chmod(0o4700)
    assert (
        call("commit", "-q", "--add-file", f"{tmp_path}/f:/etc/x", "--add-file", f"{tmp_path}/f", empty, "out").code
        == 0
    )
    assert tree(call, empty) == {}
    call("from", "--name", "two", "out")
    found = tree(call, "two")
    assert set(found) == {"etc/x", str(tmp_path / "f").lstrip("/")}
    assert [(info.st_uid, info.st_mode & 0o7777) for info in found.values()] == [(0, 0o644)] * 2
    assert call("inspect", "--format", "{{len .OCIv1.RootFS.DiffIDs}}", "out").out == "1"
    assert call("commit", "--add-file", f"{tmp_path}/missing", empty, "x").code == 125


def test_what_a_commit_made_is_told_in_a_file_and_an_index(call, empty, tmp_path):
    got = call("commit", "-q", "--manifest", "list", "--metadata-file", f"{tmp_path}/m", empty, "out")
    told = json.loads((tmp_path / "m").read_text())
    assert told["containerimage.config.digest"] == f"sha256:{got.out.strip()}"
    assert told["image.name"] == "out"
    assert told["containerimage.digest"] == told["containerimage.descriptor"]["digest"]
    assert call("commit", "-q", "--manifest", "list", "--timestamp", "5", empty).code == 0
    listed = json.loads(call("manifest", "inspect", "list").out)["manifests"]
    assert len(listed) == 2
    assert listed[0]["digest"] == told["containerimage.digest"]


def test_an_image_for_elsewhere_is_not_kept_here(call, empty, tmp_path):
    call("copy", "-q", empty, __file__, "/")
    assert call("commit", "-q", "--compression-format", "zstd", empty, f"oci:{tmp_path}/layout:x").out == ""
    assert call("images", "-q").out == ""
    inspected = json.loads(call("inspect", "--raw", f"oci:{tmp_path}/layout:x").out)
    assert inspected["layers"][0]["mediaType"].endswith("+zstd")


def test_an_annotation_of_the_time_can_be_left_out(call, empty):
    def notes(*flags):
        call("commit", "-q", *flags, empty, "out")
        return call("inspect", "--type", "image", "--format", "{{.ImageAnnotations}}", "out").out

    assert "org.opencontainers.image.created:" in notes("--annotation", "a=b")
    assert notes("--annotation", "a=b", "--created-annotation=false") == "map[a:b]"
    call("config", "--annotation", "gone=1", empty)
    assert notes("--unsetannotation", "gone", "--created-annotation=false") == "map[]"


def test_a_time_is_taken_from_a_file(call, empty, tmp_path):
    os.utime(tmp_path, (77, 77))
    call("commit", "-q", "--reference-time", str(tmp_path), empty, "one")
    call("commit", "-q", "--omit-timestamp", empty, "two")
    assert call("images", "--format", "{{.Created}}", "one").out == "77\n"
    assert call("images", "--format", "{{.Created}}", "two").out == "0\n"


@pytest.mark.parametrize("flag", ["--sbom=syft", "--encrypt-layer=0", "--encryption-key=x", "--sign-by=x", "--cw=x"])
def test_what_is_not_supported_yet_says_so(call, empty, flag):
    got = call("commit", flag, empty, "x")
    assert got.code == 125
    assert "is not supported yet" in got.err


def test_copy_keeps_setuid_follows_links_and_sets_times_as_told(call, empty, tmp_path):
    (tmp_path / "tool").write_text("x")
    (tmp_path / "tool").chmod(0o6755)
    (tmp_path / "link").symlink_to("tool")
    (tmp_path / "a*").write_text("star")
    (tmp_path / "ab").write_text("other")
    call("copy", "--timestamp", "9", empty, f"{tmp_path}/tool", f"{tmp_path}/link", "/x/")
    call("copy", "--no-follow-symlinks", "--timestamp", "9", empty, f"{tmp_path}/link", "/y/")
    call("copy", "--allow-wildcard=false", empty, f"{tmp_path}/a*", "/z/")
    assert call("copy", empty, f"{tmp_path}/none*", "/n/").code == 125
    assert call("copy", "--allow-empty-wildcard", empty, f"{tmp_path}/none*", f"{tmp_path}/ab", "/n/").code == 0
    found = tree(call, empty)
    assert set(found) == {"x/tool", "x/link", "y/link", "z/a*", "n/ab"}
    assert [(found[name].st_mode & 0o7777, found[name].st_mtime) for name in ("x/tool", "x/link")] == [
        (0o6755, 9.0)
    ] * 2
    assert (os.path.stat.S_ISLNK(found["y/link"].st_mode), found["y/link"].st_mtime) == (True, 9.0)


def test_copy_pulls_the_image_that_it_copies_from(call, empty, ctr, tmp_path):
    call("commit", "-q", ctr, f"oci:{tmp_path}/layout:x")
    assert call("copy", "-q", "--from", f"oci:{tmp_path}/layout:x", empty, "/bin/busybox", "/b").code == 0
    assert set(tree(call, empty)) == {"b"}
    assert call("copy", "-q", "--from", "oci:/nowhere:x", empty, "/b", "/c").code == 125


def test_from_keeps_how_commands_are_run(call, ctr, tmp_path, monkeypatch):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "f").write_text("shared\n")
    flags = ["--add-host", "db:10.0.0.5", "--ulimit", "nofile=77", "--shm-size", "1m", "--dns", "9.9.9.9"]
    flags += ["--dns-search", "example.org", "-v", f"{tmp_path}/v:/v:ro", "--network", "none", "--http-proxy=false"]
    call("commit", "-q", ctr, "base")
    assert call("from", "--name", "two", *flags, "base").code == 0
    monkeypatch.setenv("HTTP_PROXY", "http://proxy")
    script = (
        "cat /etc/hosts /etc/resolv.conf /v/f; ulimit -n; df -k /dev/shm | tail -1; echo $HTTP_PROXY; cat /proc/net/dev"
    )
    out = call("run", "two", "sh", "-c", script).out
    for wanted in ("10.0.0.5\tdb\n", "nameserver 9.9.9.9\nsearch example.org\n", "shared\n77\n", " 1024 "):
        assert wanted in out
    assert "http://proxy" not in out
    assert out.count(":") < 30
    assert "http://proxy" in call("run", ctr, "sh", "-c", "echo $HTTP_PROXY").out
    assert call("run", "--network", "host", "two", "true").code == 0


@pytest.mark.parametrize(
    "flags",
    [["--memory", "x"], ["--ulimit", "odd"], ["--ipc", "odd"], ["--isolation", "odd"], ["--add-host", "x"],
     ["--userns-uid-map", "1"], ["--userns-uid-map", "0:1000:1"],
     ["--userns-uid-map-user", "nobody-here"], ["-v", "x"], ["--network", "odd"]],
)  # fmt: skip
def test_settings_that_can_not_be_meant_are_refused_at_once(call, flags):
    assert call("from", *flags, "scratch").code == 125
    assert call("containers", "-q").out == ""


def test_files_of_settings_are_heeded_where_no_flag_says_otherwise(call, ctr, tmp_path, monkeypatch):
    conf = tmp_path / "containers.conf"
    conf.write_text(
        '[containers]\ndefault_ulimits = ["nofile=55", "nproc=9999"]\ndns_servers = ["9.9.9.9"]\nshm_size = "1m"\n'
        'default_capabilities = ["CHOWN", "KILL"]\nno_hosts = true\nseccomp_profile = "unconfined"\n'
    )
    monkeypatch.setenv("CONTAINERS_CONF", str(conf))
    call("commit", "-q", ctr, "base")
    assert call("from", "--name", "two", "base").code == 0
    assert call("from", "--name", "three", "--ulimit", "nofile=66", "--cap-drop", "kill", "base").code == 0
    script = "ulimit -n; cat /etc/resolv.conf; df -k /dev/shm | tail -1; grep CapBnd /proc/self/status; ls /etc/hosts"
    two, three = (call("run", name, "sh", "-c", script).out for name in ("two", "three"))
    assert two.startswith("55\nnameserver 9.9.9.9\n")
    assert "0000000000000021" in two
    assert "/etc/hosts" not in two.splitlines()
    assert three.startswith("66\n")
    assert "0000000000000001" in three
    conf.write_text("[containers\n")
    assert call("from", "base").code == 0  # nothing in it is a key of ours
    conf.write_text("[containers\nshm_size = 1")
    assert call("from", "base").code == 125


def test_a_name_can_end_otherwise(call, ctr):
    call("commit", "-q", ctr, "base")
    assert call("from", "--suffix", "work", "base").out == "base-work\n"
    assert call("from", "--suffix", "work", "base").out == "base-work-1\n"


def test_some_exit_codes_are_a_success(call, ctr):
    assert call("run", "--valid-exit-codes", "3,4", ctr, "sh", "-c", "exit 4").code == 0
    assert call("run", "--valid-exit-codes", "3", ctr, "sh", "-c", "exit 4").code == 4
    assert call("run", "--valid-exit-codes", "x", ctr, "true").code == 125


def test_a_container_is_named_after_the_name_that_was_asked_for(call, ctr):
    call("commit", "-q", ctr, "base")
    call("tag", "base", "other:2")
    assert call("from", "base").out == "base-working-container\n"
    assert call("from", "other:2").out == "other-working-container\n"
    assert call("inspect", "--format", "{{.FromImage}}", "base-working-container").out == "localhost/base:latest"


def test_a_second_container_is_made_from_another_in_its_state(call, ctr):
    call("config", "--env", "A=1", ctr)
    assert call("run", ctr, "touch", "/made").code == 0
    assert call("from", "--name", "twin", ctr).out == "twin\n"
    assert call("run", "twin", "ls", "/made").out == "/made\n"
    assert call("inspect", "--format", "{{.OCIv1.Config.Env}}", "twin").out == "[A=1]"
    call("run", "twin", "rm", "/made")
    assert call("run", ctr, "ls", "/made").code == 0
    call("commit", "-q", ctr, "c")  # an image of that name goes first
    assert call("from", "c").out == "c-working-container\n"
