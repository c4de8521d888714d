"""What a dead process leaves is undone by the next one that writes; what a living one is at work on is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildlib.leases import owner
from buildlib.store import Store

LAYER = "0123456789abcdef"


def dead() -> tuple[int, int]:
    """Pid and start time of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid, owner()[1]


def leased(store: Store, resource: str, note: str | None = None, who: tuple[int, int] | None = None) -> None:
    with store.db.transaction() as conn:
        sql = "INSERT INTO leases (resource, pid, start_time, note) VALUES (?, ?, ?, ?)"
        conn.execute(sql, (resource, *(who or dead()), note))


def reopened(store: Store) -> Store:
    """As another process finds it."""
    store.close()
    return Store.open(store.root)


def everything(store: Store) -> set[str]:
    root = Path(store.root)
    return {str(path.relative_to(root)) for kind in ("layers", "containers", "tmp") for path in (root / kind).iterdir()}


def test_opening_alone_sweeps_nothing_and_the_first_change_does(store):
    (Path(store.root) / "layers" / LAYER).mkdir()
    with reopened(store) as again:
        assert again.images() == []
        assert everything(again) == {f"layers/{LAYER}"}
        with again.lease("anything"):
            assert everything(again) == set()


def test_a_seal_that_had_not_begun_leaves_the_upper_alone(store, by_hand):
    key = by_hand.container()
    leased(store, f"layer:{LAYER}", f'{{"container": "{key}"}}')
    with reopened(store) as again:
        assert again.check() == []
        assert again.leases.held("layer") == set()
        assert (Path(again.root) / "containers" / key / "upper/written").read_text() == "precious"


@pytest.mark.parametrize("fresh_upper", [False, True])
def test_a_seal_that_had_renamed_is_undone(store, by_hand, fresh_upper):
    key = by_hand.container()
    upper, files = Path(store.root) / "containers" / key / "upper", Path(store.layers.path(LAYER))
    files.parent.mkdir()
    upper.rename(files)
    if fresh_upper:
        upper.mkdir()
    leased(store, f"layer:{LAYER}", f'{{"container": "{key}"}}')
    with reopened(store) as again:
        assert again.check() == []
        assert (upper / "written").read_text() == "precious"
        assert everything(again) == {f"containers/{key}"}


def test_a_seal_whose_container_is_gone_is_deleted(store, by_hand):
    key = by_hand.container()
    files = Path(store.layers.path(LAYER))
    files.mkdir(parents=True)
    leased(store, f"layer:{LAYER}", f'{{"container": "{key}"}}')
    with store.db.transaction() as conn:
        conn.execute("DELETE FROM containers")
    with reopened(store) as again:
        assert again.check() == []
        assert everything(again) == set()


def test_a_seal_that_was_complete_stays(store, by_hand):
    key, layer = by_hand.container(), by_hand.layer("a")
    leased(store, f"layer:{layer}", f'{{"container": "{key}"}}')
    with reopened(store) as again:
        assert again.check() == []
        assert Path(again.layers.path(layer), "file").read_text() == "a"


def test_an_unpacked_layer_that_belongs_to_nothing_is_deleted(store):
    Path(store.layers.path(LAYER)).mkdir(parents=True)
    leased(store, f"layer:{LAYER}")
    with reopened(store) as again:
        assert again.check() == []
        assert everything(again) == set()


def test_the_container_of_a_build_that_died_is_deleted_and_others_stay(store, by_hand):
    build, kept = by_hand.container(name="build"), by_hand.container(name="kept")
    leased(store, f"container:{build}", '{"temporary": true}')
    leased(store, f"container:{kept}")
    with reopened(store) as again:
        assert again.check() == []
        assert everything(again) == {f"containers/{kept}"}
        assert again.db.rows("SELECT id FROM containers") == [(kept,)]


def test_half_made_things_go_with_their_maker(store):
    pid, started = dead()
    ours = f"{os.getpid()}.{owner()[1]}.1"
    for name in (f"{pid}.{started}.1", f"{os.getpid()}.{owner()[1] - 1}.1", ours, "something-else"):
        (Path(store.root) / "tmp" / name).write_text("half")
    (Path(store.root) / "tmp" / f"{pid}.{started}.2" / "deep").mkdir(parents=True)
    (Path(store.root) / "extra").write_text("x")
    leased(store, "path:extra")
    with reopened(store) as again, again.lease("anything"):
        assert everything(again) == {f"tmp/{ours}", "tmp/something-else"}
        assert not (Path(again.root) / "extra").exists()


def test_the_work_of_a_living_process_is_not_touched(store, by_hand):
    key = by_hand.container()
    upper, files = Path(store.root) / "containers" / key / "upper", Path(store.layers.path(LAYER))
    files.parent.mkdir()
    upper.rename(files)
    other = subprocess.Popen(["sleep", "60"])
    try:
        from buildlib.linux.process import start_time

        leased(store, f"layer:{LAYER}", f'{{"container": "{key}"}}', (other.pid, start_time(other.pid)))
        leased(store, "path:tmp/x", None, (other.pid, start_time(other.pid)))
        (Path(store.root) / "tmp/x").write_text("x")
        with reopened(store) as again:
            again.gc(everything=True)
            assert everything(again) == {f"layers/{LAYER}", f"containers/{key}", "tmp/x"}
            assert again.check() == []
    finally:
        other.kill()
        other.wait()
    with reopened(store) as again:
        assert again.check() == []
        assert (upper / "written").read_text() == "precious"


def test_two_processes_may_sweep_at_once(store, by_hand):
    for number in range(30):
        by_hand.container(name=f"c{number}")
        leased(store, f"container:{store.db.row('SELECT max(id) FROM containers')[0]}", '{"temporary": true}')
        Path(store.layers.path(f"{number:016}")).mkdir(parents=True)
    code = "import sys; from buildlib.store import Store; s = Store.open(sys.argv[1]); s.gc(); print(s.check())"
    started = [
        subprocess.Popen([sys.executable, "-c", code, store.root], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in started] == ["[]"] * 3
