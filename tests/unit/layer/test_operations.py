"""What the worker does with layers, on the folders of a store."""

# ruff: noqa: PTH208

import hashlib
import io
import os
import tarfile
import traceback

import pytest

from buildlib.errors import LayerError
from buildlib.linux import mount, namespaces
from buildlib.snapshot.overlay import Overlay
from buildlib.store import FOLDERS
from buildlib.worker.operations import find
from tests.trees import ZEROS, directory, entry, header

from .conftest import names, whiteout

pytestmark = pytest.mark.root

IDS = [f"{number:016x}" for number in range(1, 9)]


@pytest.fixture
def root(tmp_path):
    """The folders of a store."""
    path = tmp_path / "store"
    for name in FOLDERS:
        (path / name).mkdir(parents=True)
    return path


@pytest.fixture
def perform(root, stream):
    """Do an operation as the worker's child does it: in a mount namespace of its own where it may mount."""

    def run(name, args, data=None):
        fds = [] if data is None else [stream(data)]
        return find(name)(str(root), args, fds)

    return run


def test_a_layer_appears_when_it_is_whole(root, perform):
    archive = directory(b"d/") + entry(b"d/f", b"data") + ZEROS
    reply = perform("apply", {"layer": IDS[0]}, archive)
    assert (root / f"layers/{IDS[0]}/fs/d/f").read_bytes() == b"data"
    assert reply["diff_id"] == reply["blob_digest"] == "sha256:" + hashlib.sha256(archive).hexdigest()
    assert (reply["missing_parents"], reply["pending_links"], reply["unsupported"]) == ([], [], [])


def test_of_a_layer_that_fails_nothing_stays(root, perform):
    for bad in (entry(b"../f") + ZEROS, entry(b"f", b"x" * 5000)[:900]):
        with pytest.raises(LayerError):
            perform("apply", {"layer": IDS[0]}, entry(b"good", b"x") + bad)
    assert list((root / "layers").iterdir()) == list((root / "tmp").iterdir()) == []


def test_what_is_half_made_names_the_process_that_makes_it(root, perform, monkeypatch):
    from buildlib.content import abandoned
    from buildlib.layer import apply

    seen = []

    def look(fd, folder, **options):
        seen.extend(os.listdir(root / "tmp"))
        raise KeyboardInterrupt

    monkeypatch.setattr(apply, "apply", look)
    with pytest.raises(KeyboardInterrupt):
        perform("apply", {"layer": IDS[0]}, ZEROS)
    assert [abandoned(name) for name in seen] == [False]
    assert list((root / "tmp").iterdir()) == []


def test_a_layer_is_completed_from_its_parents(root, perform):
    perform("apply", {"layer": IDS[0]}, directory(b"d/", mode=0o711) + entry(b"t", b"tool") + ZEROS)
    reply = perform("apply", {"layer": IDS[1]}, entry(b"d/f", b"") + header(b"u", b"1", link=b"t") + ZEROS)
    needs = {name: reply[name] for name in ("missing_parents", "pending_links")}
    assert needs == {"missing_parents": ["d"], "pending_links": [["u", "t"]]}
    perform("complete", {"layer": IDS[1], "parents": IDS[:1], **needs})
    folder = root / f"layers/{IDS[1]}/fs"
    assert (folder / "d").stat().st_mode & 0o7777 == 0o711
    assert (folder / "u").read_bytes() == b"tool"


def test_a_layer_is_measured_and_exported_to_the_same_digest(root, perform, tmp_path):
    perform("apply", {"layer": IDS[0]}, entry(b"f", b"data") + ZEROS)
    measured = perform("measure", {"layer": IDS[0], "timestamp": 7})
    out = os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY)
    exported = find("export")(str(root), {"layer": IDS[0], "compression": "gzip", "timestamp": 7}, [out])
    os.close(out)
    assert (exported["diff_id"], exported["tar_size"]) == (measured["diff_id"], measured["size"])
    assert exported["size"] == (tmp_path / "out").stat().st_size
    assert perform("measure", {"layer": IDS[0], "content": False})["content_digest"] is None


def test_a_root_file_system_becomes_a_layer(root, perform):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as tar:
        for name, mode in ((".", 0o711), ("./bin", 0o755)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
    reply = perform("extract", {"layer": IDS[0]}, out.getvalue())
    assert (root / f"layers/{IDS[0]}/fs").stat().st_mode & 0o7777 == 0o711
    assert reply["diff_id"] == perform("measure", {"layer": IDS[0]})["diff_id"]
    assert reply["entries"] == 2


def test_changes_of_a_container_and_of_a_layer_are_told_as_rows(root, perform):
    perform("apply", {"layer": IDS[0]}, entry(b"old", b"") + entry(b"f", b"") + ZEROS)
    Overlay(str(root)).prepare("key", IDS[:1])
    upper = root / "containers/key/upper"
    (upper / "f").write_text("12345")
    whiteout(upper / "old")
    (upper / os.fsdecode(b"\xff")).write_text("")
    rows = perform("changes", {"key": "key", "parents": IDS[:1]})["changes"]
    assert sorted(rows) == [
        ["added", "/\udcff", 0, 0o100644],
        ["changed", "/f", 5, 0o100644],
        ["deleted", "/old", 0, 0],
    ]
    assert perform("changes", {"layer": IDS[0], "parents": []})["changes"][0] == ["added", "/f", 0, 0o100644]


def test_a_commit_leaves_no_opaque_mark_that_hides_nothing(root, perform):
    perform("apply", {"layer": IDS[0]}, directory(b"d/") + entry(b"d/f", b"") + ZEROS)
    perform("prepare", {"key": "key", "parents": IDS[:1]})
    upper = root / "containers/key/upper"
    for name in ("d", "new"):
        (upper / name).mkdir()
        os.setxattr(upper / name, "trusted.overlay.opaque", b"y")
    perform("commit", {"key": "key", "parents": IDS[:1], "layer": IDS[1]})
    (root / "out").touch()
    out = os.open(root / "out", os.O_RDWR)
    find("export")(str(root), {"layer": IDS[1], "compression": "none"}, [out])
    os.close(out)
    assert names((root / "out").read_bytes()) == ["d/", "d/.wh..wh..opq", "new/"]


@pytest.mark.parametrize("container", [False, True])
def test_a_stack_becomes_one_layer(root, perform, container):
    perform("apply", {"layer": IDS[0]}, directory(b"d/") + entry(b"d/gone", b"") + entry(b"d/f", b"old") + ZEROS)
    perform(
        "apply", {"layer": IDS[1]}, directory(b"d/") + entry(b"d/.wh.gone") + entry(b"d/f", b"new", mtime=9) + ZEROS
    )
    args = {"layers": IDS[:2], "into": IDS[2], "timestamp": 5}
    if container:
        perform("prepare", {"key": "key", "parents": IDS[:2]})
        (root / "containers/key/upper/top").write_text("top")
        args["key"] = "key"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            namespaces.unshare(namespaces.NEWNS)
            mount.make_private()
            perform("squash", args)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    folder = root / f"layers/{IDS[2]}/fs"
    assert sorted(os.listdir(folder)) == (["d", "top"] if container else ["d"])
    assert os.listdir(folder / "d") == ["f"]
    assert ((folder / "d/f").read_bytes(), (folder / "d/f").stat().st_mtime) == (b"new", 5)
