"""What every snapshotter does, seen through real mounts. An implementation inherits the suite."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import NotFound
from buildlib.snapshot.activate import activate
from buildlib.snapshot.copy import Copy
from buildlib.snapshot.fuse import Fuse
from buildlib.snapshot.overlay import Overlay
from buildlib.store import FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildlib.oci import Mount
    from buildlib.snapshot import Snapshotter

pytestmark = pytest.mark.root

KEY = "k" * 64


@contextmanager
def mounted(mounts: Sequence[Mount], target: Path) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    active = activate(mounts, str(target))
    try:
        yield target
    finally:
        active.end()


def tree(root: Path) -> dict[str, str]:
    """Path → contents, "/" for a directory."""
    found = {}
    for path in root.rglob("*"):
        found[str(path.relative_to(root))] = "/" if path.is_dir() else path.read_text()
    return found


class SnapshotterSuite:
    """Inherit it and give ``snapshotter``."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> Path:
        return tmp_path / "target"

    @pytest.fixture
    def base(self, snapshotter: Snapshotter, target: Path) -> str:
        """A layer with some files."""
        snapshotter.prepare(KEY, ())
        with mounted(snapshotter.mounts(KEY, ()), target):
            (target / "etc").mkdir()
            (target / "etc/passwd").write_text("root")
            (target / "etc/hosts").write_text("localhost")
            (target / "data/deep").mkdir(parents=True)
            (target / "data/deep/file").write_text("old")
        snapshotter.commit("base", KEY, ())
        snapshotter.remove(KEY)
        return "base"

    def view(self, snapshotter: Snapshotter, parents: Sequence[str], target: Path) -> dict[str, str]:
        with mounted(snapshotter.view(parents), target):
            return tree(target)

    def test_what_is_written_is_in_the_layer_and_nowhere_else(self, snapshotter, base, target):
        before = self.view(snapshotter, [base], target)
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            (target / "new").write_text("n")
            (target / "etc/hosts").write_text("changed")
        snapshotter.commit("top", KEY, [base])
        assert self.view(snapshotter, [base], target) == before
        assert self.view(snapshotter, [base, "top"], target) == before | {"new": "n", "etc/hosts": "changed"}

    def test_a_deleted_file_stays_deleted_above_its_layer(self, snapshotter, base, target):
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            (target / "etc/hosts").unlink()
        snapshotter.commit("top", KEY, [base])
        assert "etc/hosts" not in self.view(snapshotter, [base, "top"], target)
        assert "etc/passwd" in self.view(snapshotter, [base, "top"], target)

    def test_a_directory_that_was_made_anew_does_not_show_what_it_had(self, snapshotter, base, target):
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            (target / "data/deep/file").unlink()
            (target / "data/deep").rmdir()
            (target / "data/deep").mkdir()
            (target / "data/deep/other").write_text("o")
        snapshotter.commit("top", KEY, [base])
        shown = self.view(snapshotter, [base, "top"], target)
        assert {path for path in shown if path.startswith("data/deep/")} == {"data/deep/other"}

    def test_a_view_cannot_be_written(self, snapshotter, base, target):
        with mounted(snapshotter.view([base]), target), pytest.raises(OSError, match="Read-only"):
            (target / "x").write_text("x")

    def test_a_view_of_nothing_is_empty(self, snapshotter, target):
        assert self.view(snapshotter, (), target) == {}

    def test_describing_mounts_is_pure(self, snapshotter, tmp_path):
        before = sorted(tmp_path.rglob("*"))
        first = snapshotter.mounts("0" * 64, ["nowhere"], ["/below"]), snapshotter.view(["nowhere"])
        assert first == (snapshotter.mounts("0" * 64, ["nowhere"], ["/below"]), snapshotter.view(["nowhere"]))
        assert sorted(tmp_path.rglob("*")) == before

    def test_what_lies_below_shows_only_where_layers_hold_nothing_and_reaches_no_layer(
        self, snapshotter, base, target, tmp_path
    ):
        below = tmp_path / "below"
        (below / "etc").mkdir(parents=True)
        (below / "etc/hosts").write_text("from below")
        (below / "etc/resolv.conf").write_text("from below")
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base], [str(below)]), target):
            assert tree(target)["etc/hosts"] == "localhost"
            assert tree(target)["etc/resolv.conf"] == "from below"
            (target / "mine").write_text("m")
        snapshotter.commit("top", KEY, [base])
        shown = self.view(snapshotter, [base, "top"], target)
        assert "etc/resolv.conf" not in shown
        assert shown["mine"] == "m"

    def test_after_a_commit_the_snapshot_goes_on_above_the_new_layer(self, snapshotter, base, target):
        snapshotter.prepare(KEY, [base])
        parents = [base]
        for step in ("one", "two", "three"):
            with mounted(snapshotter.mounts(KEY, parents), target):
                (target / step).write_text(step)
            snapshotter.commit(step, KEY, parents)
            parents.append(step)
        shown = self.view(snapshotter, parents, target)
        assert {"one", "two", "three", "etc/passwd"} <= shown.keys()
        assert set(self.view(snapshotter, [base, "two"], target)) & {"one", "two", "three"} == {"two"}

    def test_a_commit_copies_nothing(self, snapshotter, base, target):
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            (target / "big").write_bytes(b"x" * (1 << 20))
            before = (target / "big").stat().st_ino
        snapshotter.commit("top", KEY, [base])
        with mounted(snapshotter.view([base, "top"]), target):
            assert (target / "big").stat().st_ino == before

    def test_the_root_directory_keeps_its_mode_owner_and_attributes(self, snapshotter, target):
        snapshotter.prepare(KEY, ())
        with mounted(snapshotter.mounts(KEY, ()), target):
            target.chmod(0o1750)
            os.chown(target, 12, 34)
            os.setxattr(target, "user.note", b"kept")
        snapshotter.commit("base", KEY, ())
        for parents in (["base"], ["base", "top"]):
            with mounted(snapshotter.mounts(KEY, parents), target):
                found = target.stat()
                assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o1750, 12, 34)
                assert os.getxattr(target, "user.note") == b"kept"
            if parents == ["base"]:
                snapshotter.commit("top", KEY, parents)

    def test_a_fresh_root_directory_can_be_entered_by_everyone(self, snapshotter, target):
        old = os.umask(0o077)
        try:
            snapshotter.prepare(KEY, ())
        finally:
            os.umask(old)
        with mounted(snapshotter.mounts(KEY, ()), target):
            assert stat.S_IMODE(target.stat().st_mode) == 0o755

    def test_preparing_twice_keeps_what_was_written(self, snapshotter, base, target):
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            (target / "mine").write_text("m")
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            assert (target / "mine").read_text() == "m"

    def test_one_snapshot_can_be_mounted_again_and_again(self, snapshotter, base, target):
        snapshotter.prepare(KEY, [base])
        for number in range(3):
            with mounted(snapshotter.mounts(KEY, [base]), target):
                (target / f"n{number}").write_text("")
        with mounted(snapshotter.mounts(KEY, [base]), target):
            assert {"n0", "n1", "n2"} <= tree(target).keys()

    def test_a_stack_of_many_layers(self, snapshotter, target):
        """More lower directories than one page of mount options holds."""
        snapshotter.prepare(KEY, ())
        parents: list[str] = []
        for number in range(200):
            # Written past the mount: 200 mounts would only make this slow.
            (Path(snapshotter.root) / f"containers/{KEY}/upper/f{number}").write_text(str(number))
            snapshotter.commit(f"layer{number:011}", KEY, parents)
            parents.append(f"layer{number:011}")
        assert self.view(snapshotter, parents, target) == {f"f{n}": str(n) for n in range(200)}
        with mounted(snapshotter.mounts(KEY, parents), target):
            (target / "f7").write_text("seven")
        snapshotter.commit("top", KEY, parents)
        assert self.view(snapshotter, [*parents, "top"], target)["f7"] == "seven"

    def test_an_image_may_have_one_layer_twice(self, snapshotter, base, target):
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            (target / "etc/hosts").write_text("changed")
        snapshotter.commit("top", KEY, [base])
        assert self.view(snapshotter, [base, "top", base], target)["etc/hosts"] == "localhost"

    def test_a_missing_parent_is_named(self, snapshotter):
        with pytest.raises(NotFound, match="0123456789abcdef") as caught:
            snapshotter.prepare(KEY, ["0123456789abcdef"])
        assert (caught.value.kind, caught.value.name) == ("layer", "0123456789abcdef")

    def test_removing_what_is_not_there_is_fine(self, snapshotter, base):
        for _ in range(2):
            snapshotter.remove(KEY)
            snapshotter.remove_layer(base)
        with pytest.raises(NotFound):
            snapshotter.prepare(KEY, [base])

    def test_removing_takes_everything(self, snapshotter, base, target):
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            (target / "a/b/c").mkdir(parents=True)
            (target / "a/link").symlink_to("/etc")
            os.mkfifo(target / "a/fifo")
            (target / "etc/hosts").unlink()
        snapshotter.remove(KEY)
        assert not (Path(snapshotter.root) / "containers" / KEY).exists()


def folders(place: Path) -> str:
    for folder in FOLDERS:
        (place / "store" / folder).mkdir(parents=True)
    return str(place / "store")


class TestOverlay(SnapshotterSuite):
    @pytest.fixture
    def snapshotter(self, tmp_path: Path) -> Overlay:
        return Overlay(folders(tmp_path))


class TestFuse(SnapshotterSuite):
    @pytest.fixture
    def snapshotter(self, tmp_path: Path) -> Fuse:
        pytest.importorskip("pyfuse3", reason="pyfuse3 is not installed: pip install 'buildlib[fuse]'")
        return Fuse(folders(tmp_path))


class TestCopy(SnapshotterSuite):
    @pytest.fixture
    def snapshotter(self, tmp_path: Path) -> Copy:
        return Copy(folders(tmp_path))

    def test_a_commit_copies_nothing(self, snapshotter, base, target):
        """From the upper to the layer, that is; to the upper it was copied."""
        snapshotter.prepare(KEY, [base])
        with mounted(snapshotter.mounts(KEY, [base]), target):
            (target / "big").write_bytes(b"x" * (1 << 20))
        before = (Path(snapshotter.upper(KEY)) / "big").stat().st_ino
        snapshotter.commit("top", KEY, [base])
        assert (Path(snapshotter.layer("top")) / "big").stat().st_ino == before
