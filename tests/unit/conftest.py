"""Fixtures of the unit tests: a disk that is soon full, and stores filled by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.oci import Digest, ImageConfig, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from buildlib.image import Image
    from buildlib.store import Store
    from tests.unit.upstream import Upstream
    from tests.unit.web import Web

TINY = 4 << 20
"""Bytes of the tiny disk."""


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[str]:
    """The path of a file system of 4 MiB; needs root."""
    from buildlib.linux.mount import MNT_DETACH, move_mount, new_mount, umount

    path = tmp_path / "tiny"
    path.mkdir()
    fd = new_mount("tmpfs", [f"size={TINY}"])
    move_mount(fd, str(path))
    os.close(fd)
    try:
        yield str(path)
    finally:
        umount(str(path), MNT_DETACH)


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server of this test's own."""
    from tests.unit.web import serve

    with serve() as started:
        yield started


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """A git server of this test's own."""
    from tests.unit.upstream import serve

    folder = tmp_path / "upstream"
    folder.mkdir()
    with serve(folder) as started:
        yield started


class ByHand:
    """Rows and folders of layers, images and containers, put together without unpacking or running anything."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @staticmethod
    def diff_id(text: str) -> Digest:
        """What the digest of such a layer is made up to be."""
        return Digest.of(f"tar of {text}".encode())

    def layer(self, text: str, **columns: Any) -> str:
        """A layer with one file that holds ``text``; its digests are made up from it."""
        layer = Digest.of(f"id {text}".encode()).hex[:16]
        folder = Path(self.store.layers.path(layer))
        folder.mkdir(parents=True)
        (folder / "file").write_text(text)
        row = {"id": layer, "diff_id": self.diff_id(text), "size": 1000, "created": 0, **columns}
        with self.store.db.transaction() as conn:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            conn.execute(f"INSERT INTO layers ({names}) VALUES ({marks})", tuple(row.values()))
        return layer

    def image(self, *texts: str, names: Iterable[str] = (), created: str | None = None) -> Image:
        """An image of such layers, which are made as far as they are not there."""
        layers = [self.store.layers.find(self.diff_id(text), None) or self.layer(text) for text in texts]
        config = ImageConfig("amd64", "linux", diff_ids=tuple(map(self.diff_id, texts)), created=created)
        manifest = Manifest.build(config.descriptor(), [self.store.layers.descriptor(layer) for layer in layers])
        return self.store.add_image(config.encode(), manifest.raw, layers, names)

    def container(self, *layers: str, name: str = "c", image: str | None = None) -> str:
        """A working container with a file in its upper."""
        key = Digest.of(name.encode()).hex
        (Path(self.store.root) / "containers" / key / "upper").mkdir(parents=True)
        (Path(self.store.root) / "containers" / key / "upper/written").write_text("precious")
        with self.store.db.transaction() as conn:
            conn.execute("INSERT INTO containers VALUES (?, ?, ?, 'scratch', 0, '{}')", (key, name, image))
            rows = [(key, position, layer) for position, layer in enumerate(layers)]
            conn.executemany("INSERT INTO container_layers VALUES (?, ?, ?)", rows)
        return key

    def record(self, key: str, layer: str, used: float = 0.0) -> None:
        """A cache record."""
        with self.store.db.transaction() as conn:
            conn.execute("INSERT INTO cache VALUES (?, 'parent', ?, ?, '{}', 0, ?)", (key, layer, key, used))


@pytest.fixture
def by_hand(store: Store) -> ByHand:
    return ByHand(store)
