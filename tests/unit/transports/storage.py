"""Stores of containers-storage for tests: images of any archives, written and read, and what must hold of a store."""

import gzip
import io
import json
import os
import tarfile
from contextlib import closing

from buildlib import transports
from buildlib.oci import Digest, History, ImageConfig, Manifest, mediatype
from buildlib.transports import writing
from buildlib.transports.containers_storage.staging import PREFIX
from buildlib.transports.copy import copy

from .images import Memory, tars_of


def name(root, image="localhost/app:1"):
    return f"containers-storage:[overlay@{root}+{root}-run]{image}"


def put(source, root, image="localhost/app:1", **options):
    with writing(transports.destination(name(root, image))) as destination:
        return copy(source, destination, **options)


def get(root, image="localhost/app:1"):
    return closing(transports.source(name(root, image)))


def stack(*tars, compression="gzip", created=None):
    """An image of these archives."""
    memory = Memory()
    pack = {"gzip": lambda tar: gzip.compress(tar, mtime=0), "none": bytes}[compression]
    # buildah wants as many steps as layers.
    history = tuple(History(created_by=f"layer {number}") for number in range(len(tars)))
    config = ImageConfig("amd64", "linux", diff_ids=tuple(map(Digest.of, tars)), history=history, created=created)
    layers = [memory.keep(pack(tar), mediatype.layer(compression)) for tar in tars]
    manifest = Manifest.build(memory.keep(config.encode(), mediatype.OCI_CONFIG), layers)
    memory.root = memory.keep(manifest.raw, manifest.media_type)
    return memory


def tar(*members):
    """An archive of (name, content or kind, …)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        for path, content, *more in members:
            info = tarfile.TarInfo(path)
            info.mode = 0o644
            for key, value in (more[0] if more else {}).items():
                setattr(info, key, value)
            if isinstance(content, bytes) and len(content) == 1 and content in b"123456":
                info.type = content
            else:
                info.size = len(content)
            file.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return out.getvalue()


FOLDER, LINK, SYMLINK = tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE


def layers_of(root):
    return json.loads((root / "overlay-layers/layers.json").read_bytes())


def images_of(root):
    return json.loads((root / "overlay-images/images.json").read_bytes())


def check(root):
    """What must hold of a store at any time: lists and folders belong together."""
    known = layers_of(root) if (root / "overlay-layers/layers.json").exists() else []
    layers = {record["id"]: record for record in known}
    links = {path.name: str(path.readlink()) for path in (root / "overlay/l").iterdir() if path.is_symlink()}
    for layer, record in layers.items():
        if (record.get("flags") or {}).get("incomplete"):
            continue
        folder = root / "overlay" / layer
        assert (folder / "diff").is_dir()
        link = (folder / "link").read_text()
        assert links[link] == f"../{layer}/diff"
        assert (root / f"overlay-layers/{layer}.tar-split.gz").exists()
        parent = record.get("parent")
        assert (parent is None) == (folder / "empty").exists()
        if parent:
            below = root / "overlay" / parent
            rest = (below / "lower").read_text() if (below / "lower").exists() else ""
            lower = f"l/{(below / 'link').read_text()}" + (f":{rest}" if rest else "")
            assert (folder / "lower").read_text() == lower
            assert not (layers[parent].get("flags") or {}).get("incomplete")
    if (root / "overlay-images/images.json").exists():
        for image in images_of(root):
            assert not image["layer"] or image["layer"] in layers
            with get(root, f"@{image['id']}") as source:
                tars_of(source)


def leftovers(root):
    return [path for path in root.rglob("*") if path.name.startswith((PREFIX, ".tmp"))]


def tree(folder):
    """What a folder holds, as the kernel sees it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        names = os.listxattr(path, follow_symlinks=False)
        marks = {key: os.getxattr(path, key, follow_symlinks=False) for key in names}
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        link = path.readlink() if path.is_symlink() else None
        found[str(path.relative_to(folder))] = (info.st_mode, info.st_uid, info.st_rdev, marks, content, link)
    return found
