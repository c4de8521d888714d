"""What programs do with files: the kernel's overlay shows what has to come out, and what the upper then holds.

Each deed is done in a tree of layers, once in the kernel's overlay and once in ours. Answers, errors, the tree that is
seen afterwards and the upper on the disk have to be the same.
"""

# Descriptors, bytes and modes are what is tested here.
# ruff: noqa: PTH101, PTH108, PTH118

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.snapshot.activate import activate
from buildlib.snapshot.copy import Copy
from buildlib.snapshot.fuse import Fuse
from buildlib.snapshot.overlay import Overlay
from tests.conformance.deeds import DEEDS
from tests.trees import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.root

KEY = "k" * 64


def lower(root: Path, *, links: bool = True) -> list[str]:
    """Two layers: the upper one deletes, hides and changes. With ``links``, a file of the lower one has two names."""
    base, top = root / "base", root / "top"
    for folder in ("dir/sub/deep", "full", "gone", "hidden", "open"):
        (base / folder).mkdir(parents=True)
    for path in ("dir/a", "dir/b", "dir/sub/c", "dir/sub/deep/d", "full/f", "gone/g", "hidden/h", "file", "other"):
        (base / path).write_text(f"contents of {path}\n" * 10)
    (base / "link").symlink_to("dir/a")
    if links:
        os.link(base / "dir/a", base / "dir/same")
    os.mkfifo(base / "fifo")
    os.mknod(base / "device", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.chown(base / "dir/b", 12, 34)
    os.chmod(base / "other", 0o4755)
    os.setxattr(base / "dir", "user.note", b"of a directory")
    os.setxattr(base / "file", "user.note", b"of a file")
    os.setxattr(base / "file", "trusted.note", b"of root")
    os.chmod(base / "open", 0o1777)
    (top / "hidden").mkdir(parents=True)
    os.setxattr(top / "hidden", "trusted.overlay.opaque", b"y")
    (top / "hidden/new").write_text("n")
    os.mknod(top / "gone", stat.S_IFCHR, 0)
    for layer in (top, base):
        for path, _, names in os.walk(layer, topdown=False):
            for name in (*names, ""):
                os.utime(os.path.join(path, name), (10**9, 10**9), follow_symlinks=False)
    return [str(top), str(base)]


def outcome(kind: type[Overlay], place: Path, act: Callable[[Path], Any], *, links: bool = True) -> dict[str, Any]:
    """Do it; all that can be told afterwards."""
    snapshots = kind(str(place))
    place.mkdir()
    below = lower(place / "below", links=links)
    snapshots.prepare(KEY, ())
    target = place / "target"
    target.mkdir()
    active = activate(snapshots.mounts(KEY, (), below), str(target))
    try:
        try:
            answer = act(target)
        except OSError as error:
            answer = errno.errorcode[error.errno or 0]
        seen = describe(target, times=False, inodes=False)
    finally:
        active.end()
    upper = describe(place / f"containers/{KEY}/upper", times=False)
    return {"answer": answer, "seen": seen, "upper": plain(upper)}


def plain(upper: dict[str, Any]) -> dict[str, Any]:
    """Without opaque marks that hide nothing, which the kernel makes or not as it likes; see buildlib.layer.prune.

    And without saying that its whiteouts are all one file.
    """
    lowers = {"dir", "dir/sub", "dir/sub/deep", "full", "open"}
    for path, facts in upper.items():
        if facts["kind"] == stat.S_IFCHR:
            facts.pop("file", None)
        if path not in lowers:
            facts["xattrs"] = {name: value for name, value in facts["xattrs"].items() if ".overlay." not in name}
    return upper


@pytest.mark.parametrize("act", DEEDS, ids=lambda act: act.__name__)
def test_ours_does_as_the_kernel_does(act, tmp_path):
    pytest.importorskip("pyfuse3", reason="pyfuse3 is not installed: pip install 'buildlib[fuse]'")
    expected, ours = outcome(Overlay, tmp_path / "kernel", act), outcome(Fuse, tmp_path / "ours", act)
    assert ours["answer"] == expected["answer"]
    assert ours["seen"] == expected["seen"]
    assert ours["upper"] == expected["upper"]


REAL = {
    "rename_a_directory_of_below": "a directory of a real file system can be renamed",
    "hard_links_of_below_part_when_written": "they stay one file",
    "locks": "a file that was opened to be written, but was not, has not changed",
    "a_whiteout_by_hand": "it is just a device there, which no layer gets",
}
"""Deeds that come out otherwise in a tree that is no overlay at all."""


@pytest.mark.parametrize("act", [act for act in DEEDS if act.__name__ not in REAL], ids=lambda act: act.__name__)
def test_what_was_done_in_a_copy_becomes_the_same_upper(act, tmp_path):
    # Not where a file has two names already: written by one of them, it stays one file in a copy.
    expected = outcome(Overlay, tmp_path / "kernel", act, links=False)
    ours = outcome(Copy, tmp_path / "ours", act, links=False)
    assert ours["answer"] == expected["answer"]
    assert ours["seen"] == expected["seen"]
    assert ours["upper"] == expected["upper"]


def test_a_file_that_only_lost_one_of_its_names_does_not_get_into_the_upper(tmp_path):
    done = outcome(Copy, tmp_path / "ours", lambda root: (root / "dir/a").unlink())
    assert set(done["upper"]) == {".", "dir", "dir/a"}


def test_a_file_that_lost_its_name_can_still_be_changed(tmp_path):
    pytest.importorskip("pyfuse3", reason="pyfuse3 is not installed: pip install 'buildlib[fuse]'")

    def act(root: Path) -> Any:
        fd = os.open(root / "dir/b", os.O_RDONLY)
        os.unlink(root / "dir/b")
        os.fchmod(fd, 0o640)
        answer = (os.pread(fd, 8, 0), os.fstat(fd).st_nlink, stat.S_IMODE(os.fstat(fd).st_mode))
        os.close(fd)
        return answer

    done = outcome(Fuse, tmp_path / "ours", act)
    assert done["answer"] == (b"contents", 0, 0o640)
    assert "dir/b" not in done["seen"]


def test_hard_links_of_one_layer_are_one_file_where_nothing_is_written(tmp_path):
    pytest.importorskip("pyfuse3", reason="pyfuse3 is not installed: pip install 'buildlib[fuse]'")
    snapshots = Fuse(str(tmp_path))
    below, target = lower(tmp_path / "below"), tmp_path / "target"
    target.mkdir()
    active = activate(snapshots.view((), below), str(target))
    try:
        assert (target / "dir/a").samefile(target / "dir/same")
        assert (target / "dir/a").stat().st_nlink == 2
    finally:
        active.end()
