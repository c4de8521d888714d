"""Runs through the worker: what reaches the container's upper, and what never does."""

from __future__ import annotations

import base64
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import FormatError, NotFound, SandboxError, UsageError
from buildlib.linux import mount
from buildlib.oci import Mount

from .conftest import BASE, KEY, listing, until

if TYPE_CHECKING:
    from .conftest import Place

pytestmark = pytest.mark.root

FILES = {"/etc/resolv.conf": "nameserver 1.1.1.1\n", "/etc/hosts": "127.0.0.1 me\n", "/etc/hostname": "me\n"}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def bare(place: Place) -> str:
    """A layer with nothing but one static program: no /proc, no /etc, no /bin."""
    layer = place.layer("0" * 16)
    (layer / "busybox").write_bytes((place.layer(BASE) / "bin/busybox").read_bytes())
    (layer / "busybox").chmod(0o755)
    place.parents = ["0" * 16]
    return "/busybox"


# --- the upper --------------------------------------------------------------------------------------------------------


def test_a_run_on_a_scratch_like_base_leaves_exactly_what_it_wrote(place: Place, bare: str) -> None:
    upper = place.prepare()
    binds = [{"type": "tmpfs", "target": "/deep/er/tmp"}, {"type": "file", "target": "/s", "content": b64("s")}]
    ran = place.run(bare, "touch", "/x", files=FILES, binds=binds)
    assert ran == (0, "", "")
    assert listing(upper) == ["x"]


def test_synthetic_files_are_seen_and_writing_them_changes_nothing(place: Place) -> None:
    upper = place.prepare()
    (place.layer(BASE) / "etc/hosts").write_text("of the image\n")
    ran = place.sh("cat /etc/resolv.conf /etc/hosts /etc/hostname; echo lost >/etc/hosts", files=FILES)
    assert ran.out == "".join(FILES.values())
    assert listing(upper) == []
    assert (place.layer(BASE) / "etc/hosts").read_text() == "of the image\n"
    assert place.run("cat", "/etc/hosts").out == "of the image\n"


def test_what_the_command_writes_is_kept_with_its_owner(place: Place) -> None:
    upper = place.prepare()
    place.sh("mkdir /srv; echo x >/srv/f; chown 5:6 /srv/f; rm /etc/passwd", files=FILES)
    assert listing(upper) == ["etc", "etc/passwd", "srv", "srv/f"]
    info = (upper / "srv/f").stat()
    assert (info.st_uid, info.st_gid) == (5, 6)
    assert stat.S_ISCHR((upper / "etc/passwd").lstat().st_mode)


def test_a_folder_that_holds_a_synthetic_file_becomes_real_when_it_is_written_to(place: Place, bare: str) -> None:
    upper = place.prepare()
    place.run(bare, "touch", "/etc/mine", files=FILES)
    assert listing(upper) == ["etc", "etc/mine"]


def test_a_missing_working_directory_is_made_and_kept(place: Place) -> None:
    upper = place.prepare()
    assert place.sh("pwd", workdir="/srv/app", user="app").out == "/srv/app\n"
    assert listing(upper) == ["srv", "srv/app"]
    assert (upper / "srv/app").stat().st_uid == 1000


# --- places to mount on -----------------------------------------------------------------------------------------------


def tmpfs(target: str) -> list[dict[str, str]]:
    return [{"type": "tmpfs", "target": target}]


def test_a_target_behind_a_link_of_the_image(place: Place) -> None:
    upper = place.prepare()
    (place.layer(BASE) / "var/run").symlink_to("/run")
    (place.layer(BASE) / "run").mkdir(mode=0o750)
    os.chown(place.layer(BASE) / "run", 7, 8)
    before = (place.layer(BASE) / "run").stat()
    ran = place.sh("stat -c '%a %u:%g %Y' /run; stat -f -c %T /var/run/secrets", binds=tmpfs("/var/run/secrets"))
    assert ran.out == f"750 7:8 {int(before.st_mtime)}\ntmpfs\n"
    assert listing(upper) == []


def test_a_dangling_link_in_place_of_resolv_conf(place: Place) -> None:
    upper = place.prepare()
    (place.layer(BASE) / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    ran = place.sh("cat /etc/resolv.conf; readlink /etc/resolv.conf", files=FILES)
    assert ran.out == "nameserver 1.1.1.1\n../run/systemd/resolve/stub-resolv.conf\n"
    assert listing(upper) == []


def test_a_target_that_a_layer_has_deleted(place: Place) -> None:
    (place.layer(BASE) / "var/cache/apt").mkdir(parents=True)
    above = place.layer("1" * 16)
    (above / "var/cache").mkdir(parents=True)
    os.mknod(above / "var/cache/apt", stat.S_IFCHR, os.makedev(0, 0))
    place.parents = [BASE, "1" * 16]
    upper = place.prepare()
    assert place.sh("stat -f -c %T /var/cache/apt", binds=tmpfs("/var/cache/apt")).out == "tmpfs\n"
    assert listing(upper) == []
    assert place.sh("ls /var/cache").out == ""


def test_a_target_that_an_opaque_directory_hides(place: Place) -> None:
    above = place.layer("1" * 16)
    (above / "srv").mkdir(mode=0o711)
    os.setxattr(above / "srv", "trusted.overlay.opaque", b"y")
    os.setxattr(above / "srv", "user.color", b"blue")
    place.parents = [BASE, "1" * 16]
    upper = place.prepare()
    assert place.sh("stat -c %a /srv; stat -f -c %T /srv/a/b", binds=tmpfs("/srv/a/b")).out == "711\ntmpfs\n"
    assert listing(upper) == []


def test_a_target_that_the_container_itself_has_deleted(place: Place) -> None:
    (place.layer(BASE) / "var/cache/apt").mkdir(parents=True)
    upper = place.prepare()
    place.sh("rm -rf /var/cache/apt; mkdir /opaque; echo x >/opaque/x")
    before, times = listing(upper), (upper / "var/cache").stat().st_mtime_ns
    binds = [*tmpfs("/var/cache/apt"), *tmpfs("/opaque/sub")]
    ran = place.sh("stat -f -c %T /var/cache/apt /opaque/sub", binds=binds)
    assert ran.out == "tmpfs\ntmpfs\n"
    assert listing(upper) == before
    assert (upper / "var/cache").stat().st_mtime_ns == times
    assert stat.S_ISCHR((upper / "var/cache/apt").lstat().st_mode)
    assert place.sh("ls /var/cache").out == ""


def test_what_the_command_puts_beside_such_a_target_stays(place: Place) -> None:
    (place.layer(BASE) / "var/cache/apt").mkdir(parents=True)
    upper = place.prepare()
    place.sh("rm -rf /var/cache/apt")
    place.sh("touch /var/cache/mine", binds=tmpfs("/var/cache/apt/archives"))
    assert listing(upper) == ["var", "var/cache", "var/cache/apt", "var/cache/mine"]
    assert stat.S_ISCHR((upper / "var/cache/apt").lstat().st_mode)


def test_a_target_below_a_file_is_an_error(place: Place) -> None:
    upper = place.prepare()
    with pytest.raises(SandboxError, match="/etc/passwd/x"):
        place.sh("true", binds=tmpfs("/etc/passwd/x"))
    assert listing(upper) == []


def test_a_directory_on_a_file_is_an_error(place: Place) -> None:
    place.prepare()
    with pytest.raises(SandboxError, match=r"attach mount .* at /etc/passwd: .*no directory"):
        place.sh("true", binds=tmpfs("/etc/passwd"))


def test_a_link_in_place_of_proc_is_an_error(place: Place, tmp_path: Path) -> None:
    (place.layer(BASE) / "proc").symlink_to(tmp_path)
    place.prepare()
    with pytest.raises(SandboxError, match=r"mount proc at /proc .*symbolic link"):
        place.sh("true")


# --- binds ------------------------------------------------------------------------------------------------------------


def test_a_bind_of_the_host_is_read_only(place: Place, tmp_path: Path) -> None:
    place.prepare()
    (tmp_path / "src").mkdir()
    (tmp_path / "src/f").write_text("f")
    ran = place.sh("cat /mnt/f; touch /mnt/x || echo ro", binds=[bind(tmp_path / "src")])
    assert ran.out == "fro\n"


def bind(source: Path | str, target: str = "/mnt", **more: object) -> dict[str, object]:
    return {"type": "bind", "source": str(source), "target": target, **more}


def test_what_is_written_to_a_bind_is_thrown_away_unless_it_is_kept(place: Place, tmp_path: Path) -> None:
    place.prepare()
    (tmp_path / "src").mkdir(mode=0o777)
    (tmp_path / "file").write_text("old")
    (tmp_path / "src/f").write_text("old")
    binds = [bind(tmp_path / "src", rw=True), bind(tmp_path / "file", "/file", rw=True)]
    script = "echo new >/mnt/f; touch /mnt/x; echo new >/file; cat /mnt/f /file; ls /mnt"
    assert place.sh(script, binds=binds).out == "new\nnew\nf\nx\n"
    assert listing(tmp_path / "src") == ["f"]
    assert (tmp_path / "src/f").read_text() == (tmp_path / "file").read_text() == "old"
    assert listing(place.root / "tmp") == []
    place.sh(script, binds=[bind(tmp_path / "src", rw=True, keep=True), bind(tmp_path / "file", "/file", keep=True)])
    assert listing(tmp_path / "src") == ["f", "x"]
    assert (tmp_path / "file").read_text() == "new\n"


def test_a_device_can_be_bound_and_written_to(place: Place) -> None:
    place.prepare()
    binds = [bind("/dev/zero", "/dev/zeros", rw=True), bind("/dev/null", "/nothing", rw=True)]
    assert place.sh("head -c 2 /dev/zeros | wc -c; echo x >/nothing && echo fine", binds=binds).out == "2\nfine\n"


def test_a_mount_of_the_spec_can_t_make_its_place_outside(place: Place) -> None:
    upper = place.prepare()
    evil = Mount("tmpfs", "tmpfs", "/../../../../srv/evil")
    assert place.sh("stat -f -c %T /srv/evil", mounts=[evil]).out == "tmpfs\n"
    assert listing(upper) == []
    assert not Path("/srv/evil").exists()


def test_a_source_in_a_context_can_t_lead_out_of_it(place: Place, tmp_path: Path) -> None:
    place.prepare()
    context = tmp_path / "context"
    context.mkdir()
    (tmp_path / "secret").write_text("secret")
    (context / "up").symlink_to("../secret")
    (context / "absolute").symlink_to(tmp_path / "secret")
    (context / "fine").write_text("fine")
    for source in ("up", "absolute", "../secret", "/../secret"):
        with pytest.raises(NotFound):
            place.run("cat", "/x", binds=[{"type": "bind", "root": str(context), "source": source, "target": "/x"}])
    ran = place.run("cat", "/x", binds=[{"type": "bind", "root": str(context), "source": "fine", "target": "/x"}])
    assert ran.out == "fine"


def test_a_relative_target_starts_at_the_working_directory(place: Place, tmp_path: Path) -> None:
    place.prepare()
    (tmp_path / "f").write_text("f")
    assert place.sh("cat /srv/a/b", workdir="/srv", binds=[bind(tmp_path / "f", "a/b")]).out == "f"


def test_files_of_another_image_can_be_bound_and_written_in_vain(place: Place) -> None:
    place.prepare()
    other = place.layer("2" * 16)
    (other / "data").mkdir()
    (other / "data/f").write_text("f")
    (other / "data/link").symlink_to("/../../../../etc/passwd")
    snapshot = {"type": "snapshot", "parents": ["2" * 16], "source": "/data", "target": "/mnt"}
    assert place.sh("cat /mnt/f; touch /mnt/x || echo ro", binds=[snapshot]).out == "fro\n"
    ran = place.sh("echo new >/mnt/f; cat /mnt/f", binds=[{**snapshot, "rw": True}])
    assert ran.out == "new\n"
    assert (other / "data/f").read_text() == "f"
    with pytest.raises(NotFound):
        place.sh("true", binds=[{**snapshot, "source": "/data/link"}])
    assert listing(place.root / "tmp") == []


def test_files_of_another_container_can_be_bound(place: Place) -> None:
    place.prepare("d1" * 32)
    place.sh("echo mine >/f", key="d1" * 32)
    place.prepare()
    snapshot = {"type": "snapshot", "parents": [BASE], "key": "d1" * 32, "source": "/f", "target": "/mnt"}
    assert place.run("cat", "/mnt", binds=[snapshot]).out == "mine\n"


def test_a_tmpfs_has_its_size_and_is_empty(place: Place) -> None:
    place.prepare()
    ran = place.sh(
        "head -c 200000 /dev/zero >/t/x || wc -c </t/x", binds=[{"type": "tmpfs", "target": "/t", "size": 65536}]
    )
    assert ran.out == "65536\n"


def test_a_secret_is_for_its_user_and_leaves_no_trace(place: Place) -> None:
    upper = place.prepare()
    secret = {"type": "secret", "target": "/run/secrets/key", "content": b64("psst"), "uid": 1000, "gid": 1000}
    script = "cat /run/secrets/key; stat -c ' %a %u:%g' /run/secrets/key; echo x >/run/secrets/key || echo ro"
    assert place.sh(script, binds=[secret], user="app").out == "psst 400 1000:1000\nro\n"
    assert place.sh("cat /run/secrets/key", binds=[{**secret, "uid": 0}], user="app").code == 1
    assert listing(upper) == []
    assert not [path for path in place.root.rglob("*") if path.is_file() and b"psst" in path.read_bytes()]


def test_a_script_can_be_given_and_executed(place: Place) -> None:
    place.prepare()
    script = {
        "type": "file",
        "target": "/dev/pipes/EOF",
        "content": b64("#!/bin/sh\necho ran"),
        "mode": 0o755,
        "ro": True,
    }
    assert place.run("/dev/pipes/EOF", binds=[script]).out == "ran\n"


# --- caches -----------------------------------------------------------------------------------------------------------


def cache(target: str = "/c", **more: object) -> list[dict[str, object]]:
    return [{"type": "cache", "target": target, **more}]


def test_a_cache_outlives_the_run_and_never_the_layer(place: Place) -> None:
    upper = place.prepare()
    place.sh("echo 1 >/c/f; stat -c '%a %u:%g' /c", binds=cache(id="x", mode=0o700, uid=5, gid=6))
    assert place.sh("cat /d/f; stat -c '%a %u:%g' /d", binds=cache("/d", id="x")).out == "1\n700 5:6\n"
    assert place.sh("ls /c", binds=cache(id="y")).out == ""
    assert place.sh("touch /c/x || echo ro", binds=cache(id="x", ro=True)).out == "ro\n"
    assert listing(upper) == []


@pytest.mark.parametrize("identity", ["../../../etc", "/etc", "..", ".", "a/../../b", "x" * 5000, "nul\0", "\udc80"])
def test_no_cache_id_leads_out_of_the_store(place: Place, identity: str) -> None:
    place.prepare()
    before = listing(place.root.parent)
    assert place.sh("ls /c; touch /c/escaped", binds=cache(id=identity)).out == ""
    new = [path for path in listing(place.root.parent) if path not in before]
    assert all(path.startswith(("store/caches/", "store/mnt", "store/containers/")) for path in new), new


def test_a_new_cache_can_start_as_a_copy_of_files_of_an_image(place: Place) -> None:
    place.prepare()
    seed = place.layer("2" * 16) / "seed"
    (seed / "sub").mkdir(parents=True)
    (seed / "sub/f").write_text("f")
    os.chown(seed / "sub/f", 9, 9)
    binds = cache(id="seeded", parents=["2" * 16], source="/seed")
    assert place.sh("stat -c %u /c/sub/f; echo more >/c/g", binds=binds).out == "9\n"
    assert place.sh("ls /c", binds=binds).out == "g\nsub\n"
    assert listing(seed) == ["sub", "sub/f"]


def test_private_caches_are_apart_at_the_same_time(place: Place) -> None:
    place.prepare()
    place.prepare("d1" * 32)
    reader, writer = os.pipe()
    slow = place.submit(
        "/bin/sh", "-c", "touch /c/a; read x", fds=(reader, 1, 2), binds=cache(id="p", sharing="private")
    )
    os.close(reader)
    try:
        until(lambda: list(place.root.glob("caches/*/a")), "the first run has its cache")
        assert place.sh("ls /c", key="d1" * 32, binds=cache(id="p", sharing="private")).out == ""
    finally:
        os.close(writer)
    slow.result()
    assert place.sh("ls /c", binds=cache(id="p", sharing="private")).out == "a\n"


def test_a_locked_cache_waits_for_the_one_before(place: Place) -> None:
    place.prepare()
    place.prepare("d1" * 32)
    reader, writer = os.pipe()
    first = place.submit(
        "/bin/sh", "-c", "read x; touch /c/first", fds=(reader, 1, 2), binds=cache(id="l", sharing="locked")
    )
    os.close(reader)
    until(lambda: list(place.root.glob("caches/*")), "the first run has its cache")
    time.sleep(0.2)
    second = place.submit("test", "-e", "/c/first", key="d1" * 32, binds=cache(id="l", sharing="locked"))
    os.close(writer)
    first.result()
    assert second.result()["exit_code"] == 0


# --- who and how ------------------------------------------------------------------------------------------------------


def test_the_user_is_looked_up_in_the_container_and_has_a_home(place: Place) -> None:
    place.prepare()
    assert (
        place.sh("id; echo $HOME", user="app").out
        == "uid=1000(app) gid=1000(app) groups=44(video),1000(app)\n/home/app\n"
    )
    assert place.sh("echo $HOME").out == "/root\n"
    assert place.sh("echo $HOME", env=["PATH=/bin", "HOME=/x"]).out == "/x\n"
    assert place.sh("id -u; id -g", user="7:8").out == "7\n8\n"
    with pytest.raises(NotFound, match="nosuch"):
        place.sh("true", user="nosuch")


def test_a_passwd_that_is_a_fifo_blocks_nothing(place: Place) -> None:
    place.prepare()
    (place.layer(BASE) / "etc/passwd").unlink()
    os.mkfifo(place.layer(BASE) / "etc/passwd")
    with pytest.raises(FormatError):
        place.sh("true", user="app")


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "nosuch", "target": "/x"},
        {"type": "bind", "target": "/x"},
        {"type": "bind", "target": "/x", "source": "relative"},
        {"type": "bind", "target": "/", "source": "/tmp"},
        {"type": "bind", "target": "/x/..", "source": "/tmp"},
        {"type": "tmpfs", "target": "/x", "propagation": "shared"},
        {"type": "cache", "target": "/x", "sharing": "sometimes"},
        {"type": "file", "target": "/x", "content": "no base64!"},
    ],
)
def test_a_bind_that_can_t_be_meant_is_a_usage_error(place: Place, bad: dict[str, str]) -> None:
    place.prepare()
    with pytest.raises(UsageError):
        place.sh("true", binds=[bad])


def test_exit_codes_and_timeouts_are_in_the_reply(place: Place) -> None:
    place.prepare()
    assert place.submit("/bin/sh", "-c", "exit 3").result() == {"exit_code": 3, "timed_out": False}
    assert place.submit("/bin/sh", "-c", "kill -9 $$").result() == {"exit_code": 137, "timed_out": False}
    assert place.submit("nosuch").result() == {"exit_code": 127, "timed_out": False}
    assert place.submit("sleep", "100", timeout=0.2).result() == {"exit_code": 137, "timed_out": True}


def test_a_container_can_be_committed_as_soon_as_the_answer_is_there(place: Place) -> None:
    parents = [BASE]
    upper = place.prepare()
    for number in range(5):
        place.sh(f"echo {number} >/f{number}; cat /f{number - 1}" if number else "echo 0 >/f0", parents=parents)
        layer = f"{number:016x}"
        place.worker.call("commit", {"key": KEY, "parents": parents, "layer": layer})
        assert listing(place.layer(layer)) == [f"f{number}"]
        parents = [*parents, layer]
    assert listing(upper) == []
    assert place.sh("ls / | grep ^f", parents=parents).out == "f0\nf1\nf2\nf3\nf4\n"


def test_a_container_that_is_mounted_for_all_to_see_is_joined(place: Place) -> None:
    upper = place.prepare()
    target = place.root / "containers" / KEY / "merged"
    args = {"key": KEY, "parents": [BASE], "target": str(target)}
    place.worker.call("mount", args)
    place.worker.call("mount", args)
    try:
        (target / "seen").write_text("by all\n")
        ran = place.sh("cat /seen /etc/resolv.conf; echo new >/new", files=FILES, binds=tmpfs("/made/up"))
        assert ran == (0, "by all\nnameserver 1.1.1.1\n", "")
        assert (target / "new").read_text() == "new\n"
        assert not (target / "made").exists()
        assert not (target / "proc").exists()
        assert not mount.is_mount_point(str(place.root / "mnt"))
    finally:
        place.worker.call("umount", {"target": str(target)})
    assert not target.exists()
    place.worker.call("umount", {"target": str(target)})
    assert [path for path in listing(upper) if path not in ("etc",)] == ["new", "seen"]


def test_paths_outside_of_the_store_are_not_removed(place: Place, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    place.prepare()
    for path in ("../precious", str(tmp_path / "precious"), "", ".", "layers/../../precious"):
        with pytest.raises(UsageError):
            place.worker.call("remove", {"paths": [path]})
    for key in ("..", "", "a/b", "."):
        with pytest.raises(UsageError):
            place.worker.call("remove", {"keys": [key]})
    (place.root / "tmp/x").mkdir()
    place.worker.call("remove", {"keys": [KEY, "gone"], "layers": [BASE], "paths": ["tmp/x", f"{place.root}/tmp/y"]})
    assert listing(place.root / "containers") == listing(place.root / "layers") == listing(place.root / "tmp") == []
    assert (tmp_path / "precious").exists()
