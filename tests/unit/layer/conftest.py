"""Folders and archives for the tests of layers."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from buildlib.layer.apply import apply
from buildlib.layer.writer import write_layer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildlib.layer.apply import Applied


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty folder to be written as a layer."""
    path = tmp_path / "tree"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Callable[[bytes], int]:
    """A descriptor from which the bytes can be read, closed at the end of the test."""
    opened = []

    def make(data: bytes) -> int:
        (tmp_path / "stream").write_bytes(data)
        opened.append(os.open(tmp_path / "stream", os.O_RDONLY))
        return opened[-1]

    yield make
    for fd in opened:
        os.close(fd)


@pytest.fixture
def applied(tmp_path: Path, stream: Callable[[bytes], int]) -> Callable[..., Applied]:
    """Unpack an archive into the folder ``fs``, which lies among files that must never be touched."""

    def unpack(archive: bytes, **options: bool) -> Applied:
        return apply(stream(archive), str(tmp_path / "fs"), **options)

    return unpack


def written(folder: Path, **options: object) -> bytes:
    """The archive of a folder."""
    out = io.BytesIO()
    write_layer(str(folder), out, **options)
    return out.getvalue()


def members(archive: bytes) -> list[tarfile.TarInfo]:
    """The entries as Python's reader sees them."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getmembers()


def names(archive: bytes) -> list[str]:
    """The names of the entries, a slash behind directories."""
    return [member.name + "/" * member.isdir() for member in members(archive)]


def whiteout(path: Path) -> None:
    """A whiteout as the kernel makes it."""
    os.mknod(path, 0o020000, 0)
