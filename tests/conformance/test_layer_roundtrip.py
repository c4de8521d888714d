"""A layer is the same layer after its way through an archive: for random trees, and as the kernel's overlay sees it."""

# Names that are bytes, descriptors and folders given as str are what is tested here.
# ruff: noqa: PTH101, PTH102, PTH118, PTH123, PTH211

from __future__ import annotations

import hashlib
import io
import itertools
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildlib.layer.apply import apply
from buildlib.layer.complete import complete
from buildlib.layer.measure import measure
from buildlib.layer.prune import prune_opaque
from buildlib.layer.writer import write_layer
from buildlib.linux import mount
from tests.trees import describe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

# --- random trees -----------------------------------------------------------------------------------------------------

name = st.one_of(
    st.sampled_from(
        [b"a", b"b", b"a.b", b"A", b"-", b" ", b"\n", b"\xff", "ä".encode(), b"x" * 100, b"y" * 101, b"z" * 255]
    ),
    st.binary(min_size=1, max_size=6).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0")),
).filter(lambda raw: raw not in (b".", b"..") and not raw.startswith(b".wh."))
meta = st.fixed_dictionaries({
    "mode": st.integers(0, 0o7777),
    "owner": st.tuples(*[st.sampled_from([0, 1, 1000, 2_097_151, 2_097_152, 4_294_967_294])] * 2),
    "mtime": st.sampled_from([0, 1, 1_700_000_000, -1, -(10**9), 2**33, 2**33 - 1]),
    "xattrs": st.dictionaries(st.sampled_from(["user.a", "user.ä", "user.%3D"]), st.binary(max_size=20), max_size=2),
})  # fmt: skip
content = st.one_of(
    st.binary(max_size=40),
    st.integers(500, 530).map(bytes),
    st.integers(262_000, 263_000).map(lambda size: b"x" * size),
)
leaf = st.one_of(
    st.tuples(st.just("file"), meta, content),
    st.tuples(st.just("hole"), meta, st.integers(1, 3_000_000)),
    st.tuples(st.just("link"), meta, st.one_of(name, st.just(b"/etc/" + b"t" * 150))),
    st.tuples(st.just("fifo"), meta, st.none()),
    st.tuples(st.just("device"), meta, st.sampled_from([(1, 3), (4095, 1048575)])),
    st.tuples(st.just("same"), meta, st.integers(0, 5)),
)
trees = st.recursive(
    st.dictionaries(name, leaf, max_size=4),
    lambda inner: st.dictionaries(name, st.one_of(leaf, st.tuples(st.just("directory"), meta, inner)), max_size=4),
    max_leaves=25,
)


def build(folder: bytes, tree: dict, files: list[bytes]) -> None:
    """Make the tree; ``files`` are those to which hard links can go."""
    for child, (kind, facts, inside) in tree.items():
        path = os.path.join(folder, child)
        if kind == "same" and not files:
            continue
        if kind == "same":
            os.link(files[inside % len(files)], path, follow_symlinks=False)
            continue
        if kind == "directory":
            os.mkdir(path)
            build(path, inside, files)
        elif kind == "link":
            os.symlink(inside, path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "device":
            os.mknod(path, stat.S_IFCHR, os.makedev(*inside))
        else:
            with open(path, "wb") as file:
                file.truncate(inside) if kind == "hole" else file.write(inside)
        if kind != "directory":
            files.append(path)
        _set(path, kind, facts)


def _set(path: bytes, kind: str, facts: dict) -> None:
    os.chown(path, *facts["owner"], follow_symlinks=False)
    if kind != "link":
        os.chmod(path, facts["mode"])
    if kind in ("file", "hole", "directory"):
        for key, value in facts["xattrs"].items():
            os.setxattr(path, key, value)
    os.utime(path, (0, facts["mtime"]), follow_symlinks=False)


def archive_of(folder: Path | str) -> bytes:
    out = io.BytesIO()
    write_layer(str(folder), out)
    return out.getvalue()


def unpack(archive: bytes, folder: str, parents: list[str] | None = None) -> None:
    stream = os.memfd_create("archive")
    try:
        os.write(stream, archive)
        os.lseek(stream, 0, os.SEEK_SET)
        applied = apply(stream, folder)
    finally:
        os.close(stream)
    assert applied.diff_id == "sha256:" + hashlib.sha256(archive).hexdigest()
    if parents is not None:
        complete(folder, applied.missing_parents, applied.pending_links, parents)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tmpfs of the test's own: fast, and its times have no limits."""
    path = tmp_path_factory.mktemp("memory")
    mount.mount("tmpfs", str(path), "tmpfs", 0, "size=1g")
    yield path
    mount.umount(str(path))


numbers = itertools.count()


@settings(deadline=None, max_examples=150)
@given(tree=trees, top=meta)
def test_any_tree_comes_back_from_its_archive_and_gives_the_same_bytes_again(memory, tree, top):
    base = memory / str(next(numbers))
    (base / "before").mkdir(parents=True)
    build(os.fsencode(base / "before"), tree, [])
    top = {**top, "mtime": 0} if top["mode"] == 0o755 and top["owner"] == (0, 0) and not top["xattrs"] else top
    _set(os.fsencode(base / "before"), "directory", top)
    archive = archive_of(base / "before")
    unpack(archive, str(base / "after"))
    before, after = describe(base / "before"), describe(base / "after")
    if top["mtime"] == 0:  # a plain root is not in the archive
        del before["."]["mtime"], after["."]["mtime"]
    assert after == before
    assert archive_of(base / "after") == archive
    assert measure(str(base / "after")).diff_id == "sha256:" + hashlib.sha256(archive).hexdigest()
    shutil.rmtree(base)


# --- what the kernel's overlay makes of it ----------------------------------------------------------------------------

PLACES = ["f", "g", "d", "d/f", "d/e", "d/e/f", "d/e/g", "new", "d/new", "new/f"]
step = st.tuples(
    st.sampled_from(["write", "append", "remove", "mkdir", "chmod", "link", "symlink", "rename", "xattr"]),
    st.sampled_from(PLACES), st.sampled_from(PLACES),
)  # fmt: skip


def perform(root: Path, steps: list[tuple[str, str, str]]) -> None:
    """Change a tree; what can't be done is left out."""
    for action, one, other in steps:
        path, second = root / one, root / other
        try:
            if action == "write":
                path.write_text(f"{one} {len(steps)}")
            elif action == "append":
                with path.open("a") as file:
                    file.write("more")
            elif action == "remove":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            elif action == "mkdir":
                path.mkdir()
            elif action == "chmod":
                path.chmod(0o700 | len(other))
            elif action == "link":
                os.link(path, second)
            elif action == "symlink":
                path.symlink_to(other)
            elif action == "rename":
                path.rename(second)
            else:
                os.setxattr(path, "user.x", other.encode())
        except OSError:
            pass


class Stack:
    """Layers under a writable one, mounted by the kernel."""

    def __init__(self, base: Path, lowers: list[str], upper: bool = True) -> None:
        self.merged, self.upper, work = base / "merged", base / "upper", base / "work"
        for folder in (self.merged, self.upper, work, base / "empty"):
            folder.mkdir(parents=True)
        options = [f"lowerdir={':'.join([*reversed(lowers), str(base / 'empty')])}"]
        options += ["index=off", "metacopy=off", "redirect_dir=off"]
        if upper:
            options += [f"upperdir={self.upper}", f"workdir={work}"]
        mount.mount("overlay", str(self.merged), "overlay", 0, ",".join(options))

    def close(self) -> None:
        mount.umount(str(self.merged))


@settings(deadline=None, max_examples=120)
@given(rounds=st.lists(st.lists(step, max_size=8), min_size=1, max_size=3))
def test_layers_from_archives_look_to_the_kernel_like_those_that_it_wrote(memory, rounds):
    base = memory / str(next(numbers))
    lowers: list[str] = []
    copies: list[str] = []
    first = [("mkdir", "d", ""), ("mkdir", "d/e", ""), ("write", "d/e/f", ""), ("write", "f", ""), ("write", "d/f", "")]
    for number, steps in enumerate([first, *rounds]):
        stack = Stack(base / str(number), lowers)
        try:
            perform(stack.merged, steps)
            expected = describe(stack.merged, inodes=False)
        finally:
            stack.close()
        prune_opaque(str(stack.upper), lowers)
        archive = archive_of(stack.upper)
        copy = str(base / f"copy{number}")
        unpack(archive, copy, copies)
        assert archive_of(copy) == archive
        lowers.append(str(stack.upper))
        copies.append(copy)
        for layers in (lowers, copies):
            view = Stack(base / f"view{number}{layers is copies}", layers, upper=False)
            try:
                seen = describe(view.merged, inodes=False)
            finally:
                view.close()
            del seen["."]["mtime"]
            expected["."].pop("mtime", None)
            assert seen == expected
    shutil.rmtree(base)
