"""kill -9 at many points of all that changes a store: the next process sweeps, nothing is damaged, nothing is lost."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from buildlib.errors import WorkerError
from buildlib.store import Store

pytestmark = pytest.mark.root

VICTIM = Path(__file__).with_name("victim.py")
POINTS = 24
"""How many of all the points are tried in one run of the tests."""


def archive(*names):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 100_000
            tar.addfile(info, io.BytesIO(bytes(100_000)))
    return out.getvalue()


class Scene:
    """A store with an image and a container that must survive, and an image layout to pull from."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder / "store")
        self.layout = f"oci:{folder}/layout:app"
        self.rounds = 0
        """How many victims there were."""
        (folder / "kept.tar").write_bytes(archive("kept"))
        (folder / "other.tar").write_bytes(archive("a", "b"))
        with Store.open(self.root) as store:
            store.pull(f"tarball:{folder}/kept.tar", names=["kept"])
            store.from_image("scratch", "worker")
            other = store.pull(f"tarball:{folder}/other.tar")
            other.push(self.layout)
            other.remove()

    def victim(self, line: int) -> subprocess.Popen[str]:
        self.rounds += 1
        command = [sys.executable, str(VICTIM), self.root, self.layout, str(line)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def examine(self) -> None:
        """As another process finds the store."""
        root = Path(self.root)
        with Store.open(self.root) as store:
            assert store.check(diff_ids=True) == []
            assert not any((root / "tmp").iterdir())
            assert store.db.rows("SELECT * FROM leases") == []
            assert [c.name for c in store.containers()] == ["worker"]
            assert (Path(store.layers.path(store.image("kept").layers[0])) / "kept").stat().st_size == 100_000
            self.examine_container(store)
            store.gc(everything=True)
            assert store.check(diff_ids=True) == []
            used = {layer for image in store.images() for layer in image.layers} | set(store.container("worker").layers)
            assert {path.name for path in (root / "layers").iterdir()} == used

    def examine_container(self, store: Store) -> None:
        """What was written is in the upper, or in the layer that was made of it, and never in both."""
        worker = store.container("worker")
        upper = Path(self.root) / "containers" / worker.id / "upper"
        assert all((Path(store.layers.path(layer)) / "precious").exists() for layer in worker.layers)
        assert not upper.exists() or {path.name for path in upper.iterdir()} <= {"precious"}
        assert len(worker.layers) + (upper / "precious").exists() <= self.rounds


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> int:
    """How many lines the victim executes when nobody kills it."""
    scene = Scene(tmp_path_factory.mktemp("whole"))
    process = scene.victim(0)
    count = int(process.communicate()[0])
    assert process.returncode == 0
    scene.examine()
    return count


@pytest.mark.parametrize("point", range(POINTS))
def test_a_process_that_is_killed_leaves_nothing_that_the_next_one_does_not_undo(tmp_path, lines, point):
    scene = Scene(tmp_path)
    # Another set of points each minute, so that in time all are tried; the line is in the message if it fails.
    line = 1 + (lines * point // POINTS + int(time.time()) // 60 * 7) % lines
    process = scene.victim(line)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, f"line {line}"
    try:
        scene.examine()
    except BaseException as error:
        error.add_note(f"killed at line {line} of {lines}")
        raise


def test_a_store_works_on_after_several_crashes(tmp_path, lines):
    scene = Scene(tmp_path)
    for point in (0.3, 0.6, 0.9):
        scene.victim(int(lines * point)).communicate()
    scene.examine()
    with Store.open(scene.root) as store:
        assert store.pull(scene.layout, names=["again"]).names == ("localhost/again:latest",)


@pytest.mark.parametrize("milliseconds", [1, 5, 20, 60])
def test_when_the_worker_is_killed_the_error_says_so_and_nothing_is_damaged(tmp_path, milliseconds):
    scene = Scene(tmp_path)
    big = tmp_path / "big.tar"
    big.write_bytes(archive(*map(str, range(300))))
    with Store.open(scene.root) as store:
        pid = store.worker.pid
        killer = subprocess.Popen(["sh", "-c", f"sleep {milliseconds / 1000}; kill -9 {pid}"])
        with pytest.raises(WorkerError) as caught:
            for _ in range(1000):
                store.pull(f"tarball:{big}").remove()
        killer.wait()
        assert caught.value.hint
    scene.examine()


def test_ctrl_c_while_an_image_comes_in_leaves_nothing(tmp_path):
    scene = Scene(tmp_path)
    big = tmp_path / "big.tar"
    big.write_bytes(archive(*map(str, range(300))))
    code = (
        "import sys; from buildlib import Store\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    store.worker; print('ready', flush=True)\n"
        "    while True: store.pull(sys.argv[2]).remove()\n"
    )
    for delay in (0.0, 0.03, 0.1):
        command = [sys.executable, "-c", code, scene.root, f"tarball:{big}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(delay)
            os.kill(process.pid, signal.SIGINT)
            assert "KeyboardInterrupt" in process.communicate()[1]
        scene.examine()
