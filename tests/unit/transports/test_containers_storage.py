"""Names, settings, locks and lists of containers-storage: what surrounds the images of a store."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

from buildlib import transports
from buildlib.errors import FormatError, InvalidReference, NotFound, TransportError, UsageError
from buildlib.oci import Digest
from buildlib.transports.containers_storage import records
from buildlib.transports.containers_storage.locks import locked
from buildlib.transports.containers_storage.names import parse
from buildlib.transports.containers_storage.settings import RUNROOT, Settings

ID = "ab" * 32


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "root", "runroot", "driver", "options"),
    [
        ("[/a]x", "/a", RUNROOT, None, ()),
        ("[overlay@/a]x", "/a", RUNROOT, "overlay", ()),
        ("[overlay2@/a/]x", "/a", RUNROOT, "overlay", ()),
        ("[vfs@/a+/b]x", "/a", "/b", "vfs", ()),
        ("[/a+/b:mount_program=/x,o=y]x", "/a", "/b", None, ("mount_program=/x", "o=y")),
        ("[overlay@/a:o=1]x", "/a", RUNROOT, "overlay", ("o=1",)),
    ],
)
def test_a_name_may_say_where_the_store_is(text, root, runroot, driver, options):
    wanted = parse(text)
    assert wanted.settings == Settings(root, runroot, driver, options)
    assert str(wanted.reference) == "docker.io/library/x:latest"


@pytest.mark.parametrize("text", ["[/a", "[]x", "[a]x", "[overlay@a]x", "[@/a]x", "[/a+b]x", "[/a]", ""])
def test_a_store_that_is_not_named_properly_is_refused(text):
    with pytest.raises(UsageError, match="containers-storage"):
        parse(text, Settings("/s"))


def test_a_driver_that_is_not_understood_is_refused():
    with pytest.raises(TransportError, match="btrfs") as caught:
        parse("[btrfs@/a]x")
    assert "overlay" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "reference", "wanted_id"),
    [
        ("app", "docker.io/library/app:latest", None),
        ("localhost/app:1", "localhost/app:1", None),
        (f"@{ID}", None, ID),
        (ID, None, ID),
        ("@abc123", None, "abc123"),
        (f"quay.io/a/b:2@{ID}", "quay.io/a/b:2", ID),
        (f"app@sha256:{ID}", f"docker.io/library/app@sha256:{ID}", None),
    ],
)
def test_an_image_is_wanted_by_name_or_id(text, reference, wanted_id):
    wanted = parse(text, Settings("/s"))
    assert (str(wanted.reference) if wanted.reference else None, wanted.id) == (reference, wanted_id)


def test_a_name_that_may_be_an_id_is_both_at_first():
    assert parse("beef", Settings("/s")).maybe_id == "beef"
    assert parse("beer", Settings("/s")).maybe_id is None


def test_a_name_that_is_none_is_refused():
    with pytest.raises(InvalidReference):
        parse("UPPER", Settings("/s"))


@pytest.mark.parametrize("name", ["ostree:img@/repo", "atomic:a/b:1", "sif:/tmp/x.sif"])
def test_transports_that_are_no_more_say_so(name):
    for use in (transports.parse, transports.source, transports.destination):
        with pytest.raises(UsageError, match=r"is no more|not supported") as caught:
            use(name)
        assert caught.value.hint


def test_an_image_may_be_called_like_a_transport_that_is_no_more():
    assert transports.parse("ostree:28") is None
    with pytest.raises(UsageError, match="is no more"):
        transports.source("ostree:28")


# --- settings ---------------------------------------------------------------------------------------------------------


def conf(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_root_has_its_store_where_the_file_says(tmp_path):
    path = conf(
        tmp_path / "storage.conf",
        '[storage]\ndriver = "overlay2"\ngraphroot = "$BASE/g"\nrunroot = "${BASE}/r-$UID"\n'
        "[storage.options]\nadditionalimagestores = ['/more']\n[storage.options.overlay]\nmountopt = 'nodev'\n",
    )
    found = Settings.of_user({"CONTAINERS_STORAGE_CONF": path, "BASE": "/b"}, 0)
    assert found == Settings("/b/g", "/b/r-0", "overlay", ("imagestore=/more", "mountopt=nodev"))
    assert found.more_roots == ("/more",)
    assert found.option("mountopt") == "nodev"


def test_a_user_has_a_store_in_the_home_folder(tmp_path):
    path = conf(tmp_path / "empty.conf", "")
    environ = {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/user/7", "CONTAINERS_STORAGE_CONF": path}
    found = Settings.of_user(environ, 1000)
    assert (found.root, found.runroot) == ("/home/me/.local/share/containers/storage", "/run/user/7/containers")
    assert Settings.of_user({**environ, "XDG_DATA_HOME": "/data"}, 1000).root == "/data/containers/storage"
    # Within `podman unshare` the user is root, but not of that store.
    assert Settings.of_user({**environ, "_CONTAINERS_ROOTLESS_UID": "1000"}, 0).root == found.root


def test_a_user_s_own_file_counts_more_than_the_system_s(tmp_path):
    conf(tmp_path / ".config/containers/storage.conf", '[storage]\ndriver = "vfs"\ngraphroot = "$HOME/g"\n')
    found = Settings.of_user({"HOME": str(tmp_path)}, 1000)
    assert (found.driver, found.root) == ("vfs", f"{tmp_path}/g")
    assert found.runroot == "/run/user/1000/containers"


def test_the_environment_overrides_the_file(tmp_path):
    path = conf(tmp_path / "storage.conf", '[storage]\ndriver = "overlay"\n[storage.options]\nforce_mask = "700"\n')
    environ = {"CONTAINERS_STORAGE_CONF": path, "STORAGE_DRIVER": "vfs", "STORAGE_OPTS": "a=1,b=2"}
    found = Settings.of_user(environ, 0)
    assert (found.driver, found.options) == ("vfs", ("a=1", "b=2"))
    assert Settings.of_user({"CONTAINERS_STORAGE_CONF": path}, 0).option("force_mask") == "700"


@pytest.mark.parametrize("text", ["[storage", "storage = 3", '[storage]\ndriver = "zfs"\n'])
def test_a_file_that_can_t_be_meant_is_an_error(tmp_path, text):
    with pytest.raises((FormatError, TransportError)):
        Settings.of_user({"CONTAINERS_STORAGE_CONF": conf(tmp_path / "storage.conf", text)}, 0)


def test_the_driver_shows_in_the_store(tmp_path):
    assert Settings(str(tmp_path)).driver_name == "overlay"
    (tmp_path / "vfs-layers").mkdir()
    assert Settings(str(tmp_path)).driver_name == "vfs"
    (tmp_path / "vfs-layers").rename(tmp_path / "btrfs-layers")
    with pytest.raises(TransportError, match="btrfs"):
        _ = Settings(str(tmp_path)).driver_name


# --- locks ------------------------------------------------------------------------------------------------------------

TRY = """
import fcntl, sys
file = open(sys.argv[1], "r+")
try:
    fcntl.lockf(file, (fcntl.LOCK_SH if sys.argv[2] == "read" else fcntl.LOCK_EX) | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(3)
"""
"""What other programs do: record locks that belong to a process."""

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
time.sleep(60)
"""


def another_may(path, how):
    return subprocess.run([sys.executable, "-c", TRY, path, how]).returncode == 0


def test_other_processes_are_kept_out(tmp_path):
    file = tmp_path / "new" / "x.lock"
    path = str(file)
    with locked(path):
        assert not another_may(path, "read")
    assert another_may(path, "write")
    with locked(path, shared=True):
        assert another_may(path, "read")
        assert not another_may(path, "write")
    assert file.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask():
    old = os.umask(0)
    os.umask(old)
    return old


def test_we_wait_for_other_processes(tmp_path):
    path = str(tmp_path / "x.lock")
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        entered = threading.Event()

        def enter():
            with locked(path):
                entered.set()

        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.2)
        other.kill()
        thread.join()
        assert entered.is_set()


def test_threads_keep_each_other_out(tmp_path):
    path = str(tmp_path / "x.lock")
    inside = []

    def work():
        for _ in range(20):
            with locked(path):
                inside.append(1)
                assert len(inside) == 1
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside


def test_closing_another_descriptor_does_not_unlock(tmp_path):
    path = str(tmp_path / "x.lock")
    with locked(path):
        os.close(os.open(path, os.O_RDONLY))  # with a lock of the process, this would be the end of it
        assert not another_may(path, "write")


def test_a_child_that_was_forked_does_not_hold_the_lock(tmp_path):
    path = str(tmp_path / "x.lock")
    with locked(path):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        assert another_may(path, "write")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_writer_leaves_64_bytes_that_nobody_left_before(tmp_path):
    path = tmp_path / "x.lock"
    seen = set()
    before = time.time_ns()
    for _ in range(3):
        with locked(str(path)) as lock:
            lock.written()
        mark = path.read_bytes()
        assert len(mark) == 64
        nanoseconds, _, pid = struct.unpack_from("<QQI", mark)
        assert before <= nanoseconds <= time.time_ns()
        assert pid == os.getpid()
        seen.add(mark)
    assert len(seen) == 3


def test_reading_takes_no_right_to_write(tmp_path):
    with locked(str(tmp_path / "nothing" / "x.lock"), shared=True):
        assert not (tmp_path / "nothing").exists()
    (tmp_path / "x.lock").write_bytes(b"")
    (tmp_path / "x.lock").chmod(0o444)
    with locked(str(tmp_path / "x.lock"), shared=True):
        assert not another_may(str(tmp_path / "x.lock"), "write")


# --- lists ------------------------------------------------------------------------------------------------------------


def test_layers_have_ids_that_depend_on_those_below():
    # As `skopeo copy` names the layers of an image of three.
    diff_ids = [
        "sha256:e43a5468f5fd24b75f228e33d87c8a7db789f4f4d4308c0b875aafaf28ef3fde",
        "sha256:a2757b511f3e36554d6dd94161597889eb7b54a69e2981bb8396c9adf2864995",
        "sha256:a30942daf8c942fc40c0d1eae32dc9e7da4d51356f2e609344856770d8241007",
    ]
    assert records.layer_ids(map(Digest, diff_ids)) == [
        "e43a5468f5fd24b75f228e33d87c8a7db789f4f4d4308c0b875aafaf28ef3fde",
        "15965f328b1719ceab6ae4bb0decbf9894e504eb519db01a7849fdbdc36c3329",
        "b7cf0c21a7e91a16c9916c4944eedce8450d54b08c232da23a1f0570cb1abe5f",
    ]


def test_big_data_have_harmless_file_names():
    assert records.big_data_name("manifest") == "manifest"
    assert records.big_data_name("sha256:00") == "=c2hhMjU2OjAw"
    assert "/" not in records.big_data_name("../../etc/passwd")


@pytest.mark.parametrize("raw", [b"{", b"{}", b"[1]", b'[{"id": 1}]', b'[{"id": "../../x"}]', b'[{"name": "x"}]'])
def test_a_damaged_list_is_an_error(tmp_path, raw):
    (tmp_path / "layers.json").write_bytes(raw)
    with pytest.raises(FormatError, match=r"layers\.json"):
        records.load(str(tmp_path / "layers.json"))


def test_a_list_that_is_empty_or_missing_is_no_error(tmp_path):
    assert records.load(str(tmp_path / "none.json")) == []
    (tmp_path / "empty.json").write_bytes(b"")
    assert records.load(str(tmp_path / "empty.json")) == []


def test_a_list_is_written_whole_and_for_its_owner_only(tmp_path):
    path = tmp_path / "layers.json"
    records.save(str(path), [{"id": "a", "unknown": [1]}], str(tmp_path / "half"))
    assert json.loads(path.read_bytes()) == [{"id": "a", "unknown": [1]}]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_that_is_not_there_has_no_images(tmp_path):
    with pytest.raises(NotFound):
        transports.source(f"containers-storage:[{tmp_path}/none]app")
    assert not (tmp_path / "none").exists()
