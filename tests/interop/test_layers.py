"""GNU tar, umoci and buildah make of our layer archives what we meant, and we make of theirs what they meant."""

# Names that are bytes, descriptors and folders given as str are what is tested here.
# ruff: noqa: PTH101, PTH102, PTH123

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.layer.apply import apply
from buildlib.layer.complete import complete
from buildlib.layer.measure import export
from buildlib.layer.writer import write_layer
from buildlib.linux import mount
from tests.interop.conftest import program
from tests.trees import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.conftest import Program

pytestmark = pytest.mark.root

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def populate(root: Path) -> None:
    """One of everything that a layer can hold."""
    (root / "etc").mkdir()
    (root / "etc/config").write_text("text\n")
    (root / "etc/empty").write_text("")
    os.link(root / "etc/config", root / "zz-hard-link")
    (root / "symlink").symlink_to("/etc/config")
    (root / ("symlink-" + "n" * 120)).symlink_to("t" * 300)
    (root / "setuid").write_bytes(b"#!")
    os.chown(root / "setuid", 12, 34)
    (root / "setuid").chmod(0o6755)
    (root / "owner").write_text("")
    os.chown(root / "owner", 3_000_000, 4_000_000_000)
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 0))
    (root / "capable").write_text("program")
    os.setxattr(root / "capable", "security.capability", CAPABILITY)
    (root / "attributes").write_text("")
    os.setxattr(root / "attributes", "user.note", b"any\0bytes=\n\xff")
    (root / "grün").write_text("utf-8")
    (root / os.fsdecode(b"latin\xfc")).write_text("not utf-8")
    (root / os.fsdecode(b"long\xfc" + b"x" * 150)).write_text("long and not utf-8")
    (root / ("d" * 90) / ("e" * 90)).mkdir(parents=True)
    (root / ("d" * 90) / ("e" * 90) / "split").write_text("")
    (root / ("d" * 90) / ("e" * 90) / ("f" * 200)).write_text("needs pax")
    (root / "big").write_bytes(os.urandom(1_000_001))
    with (root / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o3777)
    # Not rglob: before Python 3.12 it fails on the link to a name that is too long.
    paths = [Path(folder) / name for folder, names, files in os.walk(root) for name in (*names, *files)]
    for index, path in enumerate(sorted(paths, reverse=True)):
        os.utime(path, (index, 1_600_000_000 + index), follow_symlinks=False)


def archive_of(folder: Path) -> bytes:
    out = io.BytesIO()
    write_layer(str(folder), out)
    return out.getvalue()


def unpack(blob: bytes, folder: Path, parents: list[str] | None = None) -> None:
    stream = os.memfd_create("blob")
    os.write(stream, blob)
    os.lseek(stream, 0, os.SEEK_SET)
    applied = apply(stream, str(folder))
    os.close(stream)
    complete(str(folder), applied.missing_parents, applied.pending_links, parents or [])


def seen(folder: Path, **options: bool) -> dict[str, dict[str, object]]:
    """The tree, without the root's time, which no layer carries."""
    found = describe(folder, **options)
    del found["."]["mtime"]
    return found


@pytest.fixture
def full(tmp_path: Path) -> Path:
    root = tmp_path / "full"
    root.mkdir(mode=0o755)
    populate(root)
    return root


# --- GNU tar ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def gnu_tar() -> Program:
    from tests.interop.conftest import Program as Tool

    path = program("tar")
    if "GNU tar" not in subprocess.run([path, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("tar is not GNU tar: apt-get install tar")
    return Tool(path, (), {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_gnu_tar_unpacks_our_archives_to_the_same_tree(
    full: Path, tmp_path: Path, gnu_tar: Program, locale: str
) -> None:
    (tmp_path / "archive").write_bytes(archive_of(full))
    (tmp_path / "out").mkdir(mode=0o755)
    done = subprocess.run(
        ["tar", "-xpf", tmp_path / "archive", "-C", tmp_path / "out", "--xattrs", "--xattrs-include=*",
         "--numeric-owner"],
        env={"PATH": os.environ["PATH"], "LC_ALL": locale}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert seen(tmp_path / "out") == seen(full)


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "posix", "ustar", "v7"])
@pytest.mark.parametrize("sparse", ["", "0.0", "0.1", "1.0"])
def test_we_unpack_what_gnu_tar_writes_in_each_of_its_formats(
    full: Path, tmp_path: Path, gnu_tar: Program, form: str, sparse: str
) -> None:
    if sparse and form in ("ustar", "v7", "oldgnu"):
        sparse = "1.0"  # no map in these formats, or the old one
    for path in [full / "owner"] if form in ("ustar", "v7") else []:
        os.chown(path, 1, 2)
    if form in ("ustar", "v7"):
        for path in [*full.glob("symlink-*"), *full.glob("long*"), full / ("d" * 90)]:
            subprocess.run(["rm", "-r", path], check=True)
    if form == "v7":
        for name in ("fifo", "null", "loop"):
            (full / name).unlink()
    options = ["--sparse", f"--sparse-version={sparse}"] if sparse and form not in ("ustar", "v7") else []
    attributes = ["--xattrs", "--xattrs-include=*"] if form == "posix" else []
    gnu_tar("-cf", f"{tmp_path}/archive", "-C", str(full), f"--format={form}", *options, *attributes, ".")
    unpack((tmp_path / "archive").read_bytes(), tmp_path / "out")
    expected, found = seen(full), seen(tmp_path / "out")
    if form != "posix":
        for tree in (expected, found):
            for facts in tree.values():
                facts["xattrs"] = {}
    found["."].pop("mtime", None)
    first = {facts["file"] for facts in expected.values() if "file" in facts}
    assert first == {facts["file"] for facts in found.values() if "file" in facts}
    assert found == expected
    if options:
        assert (tmp_path / "out/sparse").stat().st_blocks < 200


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz", "zstd"])
def test_we_unpack_what_the_usual_programs_compress(full: Path, tmp_path: Path, packer: str) -> None:
    program(packer)
    archive = archive_of(full)
    for pieces in ([archive], [archive[:100_000], archive[100_000:]]):
        blob = b"".join(
            subprocess.run([packer, "-c"], input=piece, stdout=subprocess.PIPE, check=True).stdout for piece in pieces
        )
        unpack(blob, tmp_path / f"out{len(pieces)}")
        assert seen(tmp_path / f"out{len(pieces)}") == seen(full)


@pytest.mark.parametrize(("packer", "compression"), [("gzip", "gzip"), ("zstd", "zstd")])
def test_the_usual_programs_read_what_we_compress(full: Path, tmp_path: Path, packer: str, compression: str) -> None:
    program(packer)
    with (tmp_path / "blob").open("wb") as file:
        exported = export(str(full), file.fileno(), compression=compression)
    for options in (["-t"], ["-dc"]):
        done = subprocess.run(
            [packer, *options], stdin=(tmp_path / "blob").open("rb"), stdout=subprocess.PIPE, check=True
        )
    assert hashlib.sha256(done.stdout).hexdigest() == exported.diff_id.hex


# --- images -----------------------------------------------------------------------------------------------------------


def layout(folder: Path, layers: list[tuple[bytes, str]]) -> str:
    """An OCI image layout with these layers (compressed bytes, DiffID); its path."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        "history": [{"created_by": "test"} for _ in layers],
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": [blob(data, "layer.v1.tar+gzip") for data, _ in layers],
    }  # fmt: skip
    described = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(folder)


def layers_of(folder: Path) -> list[bytes]:
    """The layer blobs of the one image in an OCI layout, base first."""
    index = json.loads((folder / "index.json").read_bytes())
    read = {path.name: path for path in (folder / "blobs/sha256").iterdir()}
    manifest = json.loads(read[index["manifests"][-1]["digest"].removeprefix("sha256:")].read_bytes())
    return [read[layer["digest"].removeprefix("sha256:")].read_bytes() for layer in manifest["layers"]]


class Stack:
    """Two layers of ours, the second one written through the kernel's overlay, and the tree that they make."""

    def __init__(self, base: Path, full: Path) -> None:
        self.merged, self.upper, work = base / "merged", base / "upper", base / "work"
        for folder in (self.merged, self.upper, work):
            folder.mkdir(mode=0o755)
        options = f"lowerdir={full},upperdir={self.upper},workdir={work},index=off,metacopy=off,redirect_dir=off"
        mount.mount("overlay", str(self.merged), "overlay", 0, options)
        self.full = full

    def change(self) -> None:
        (self.merged / "setuid").unlink()
        subprocess.run(["rm", "-r", self.merged / "etc"], check=True)
        (self.merged / "etc").mkdir()
        (self.merged / "etc/new").write_text("new")
        (self.merged / "sticky/inside").write_text("inside")
        (self.merged / "big").unlink()
        (self.merged / "big").mkdir()
        (self.merged / "capable").chmod(0o711)
        os.setxattr(self.merged / "capable", "security.capability", CAPABILITY)

    def blobs(self, base: Path) -> list[tuple[bytes, str]]:
        found = []
        for number, folder in enumerate((self.full, self.upper)):
            with (base / f"blob{number}").open("wb") as file:
                exported = export(str(folder), file.fileno(), compression="gzip")
            found.append(((base / f"blob{number}").read_bytes(), str(exported.diff_id)))
        return found


@pytest.fixture
def stack(tmp_path: Path, full: Path) -> Iterator[Stack]:
    made = Stack(tmp_path, full)
    try:
        made.change()
        yield made
    finally:
        mount.umount(str(made.merged))


def without(tree: dict[str, dict[str, object]], *facts: str) -> dict[str, dict[str, object]]:
    return {name: {key: value for key, value in found.items() if key not in facts} for name, found in tree.items()}


def test_umoci_unpacks_our_layers_to_the_same_tree(stack: Stack, tmp_path: Path, umoci: Program) -> None:
    blobs = stack.blobs(tmp_path)
    base = layout(tmp_path / "base", blobs[:1])
    umoci("unpack", "--image", f"{base}:latest", str(tmp_path / "first"))
    assert seen(tmp_path / "first/rootfs") == seen(stack.full)
    image = layout(tmp_path / "image", blobs)
    umoci("unpack", "--image", f"{image}:latest", str(tmp_path / "bundle"))
    # In the overlay a file keeps its count of links when one of its names is deleted in an upper layer.
    assert without(seen(tmp_path / "bundle/rootfs"), "file") == without(seen(stack.merged), "file")


def test_we_unpack_the_layer_that_umoci_makes_of_changes(stack: Stack, tmp_path: Path, umoci: Program) -> None:
    image = layout(tmp_path / "image", stack.blobs(tmp_path))
    umoci("unpack", "--image", f"{image}:latest", str(tmp_path / "bundle"))
    root = tmp_path / "bundle/rootfs"
    (root / "etc/new").unlink()
    (root / "zz-hard-link").write_text("changed")
    (root / "later").mkdir()
    (root / "later" / os.fsdecode(b"\xff")).write_text("")
    os.setxattr(root / "later", "user.x", b"1")
    for path in (root, root / "etc", root / "later", *(root / "later").iterdir(), root / "zz-hard-link"):
        os.utime(path, (5, 5))  # umoci rounds times to the nearest second
    expected = seen(root)
    umoci("repack", "--image", f"{image}:changed", str(tmp_path / "bundle"))
    folders = unpack_all(layers_of(tmp_path / "image"), tmp_path)
    assert without(view(folders, tmp_path), "file") == without(expected, "file")


def test_buildah_shows_the_same_tree_of_our_layers(stack: Stack, tmp_path: Path, buildah: Program) -> None:
    image = layout(tmp_path / "image", stack.blobs(tmp_path))
    container = buildah("from", f"oci:{image}:latest").strip()
    shown = buildah("mount", container).strip()
    found = seen(shown)
    buildah("umount", container)
    expected = seen(stack.merged)
    # buildah's vfs driver copies the base layer for the second one, which may split hard links; and where no layer has
    # an entry for the root, its own default is 0555.
    assert (found["."].pop("mode"), expected["."].pop("mode")) == ("0o555", "0o755")
    assert without(found, "file") == without(expected, "file")


def test_we_show_the_same_tree_of_what_buildah_commits(full: Path, tmp_path: Path, buildah: Program) -> None:
    container = buildah("from", "scratch").strip()
    root = buildah("mount", container).strip()
    subprocess.run(["cp", "-a", f"{full}/.", root], check=True)
    first = buildah("commit", "--quiet", container).strip()
    second = buildah("from", first).strip()
    root = buildah("mount", second).strip()
    subprocess.run(["rm", "-r", f"{root}/etc", f"{root}/setuid"], check=True)
    os.mkdir(f"{root}/etc")
    with open(f"{root}/etc/only", "w") as file:
        file.write("new")
    os.chmod(f"{root}/sticky", 0o700)
    expected = seen(root)
    buildah("commit", "--quiet", second, f"oci:{tmp_path}/image:latest")
    folders = unpack_all(layers_of(tmp_path / "image"), tmp_path)
    assert len(folders) == 2
    found = view(folders, tmp_path)
    assert (found["."].pop("mode"), expected["."].pop("mode")) == ("0o755", "0o555")
    assert without(found, "file") == without(expected, "file")


def unpack_all(blobs: list[bytes], base: Path) -> list[str]:
    folders: list[str] = []
    for number, data in enumerate(blobs):
        unpack(data, base / f"layer{number}", folders)
        folders.append(str(base / f"layer{number}"))
    return folders


def view(folders: list[str], base: Path) -> dict[str, dict[str, object]]:
    """The tree of a stack of layers, as the kernel shows it."""
    place = base / "view"
    place.mkdir()
    (base / "nothing").mkdir()
    mount.mount(
        "overlay", str(place), "overlay", 0, f"lowerdir={':'.join([*reversed(folders), str(base / 'nothing')])}"
    )
    try:
        return seen(place)
    finally:
        mount.umount(str(place))
