"""Build contexts: a folder, however it came here."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import LayerError, UsageError

if TYPE_CHECKING:
    from buildlib.store import Store
    from tests.unit.web import Web


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size, info.uid, info.mode = len(text), 1234, 0o640
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def test_a_folder_of_this_machine(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with store.context(str(tmp_path)) as context:
        assert (context.path, context.fetched, context.file) == (str(tmp_path), False, None)
    assert (tmp_path / "f").exists()
    for wrong in (tmp_path / "f", tmp_path / "missing"):
        with pytest.raises(UsageError, match="the context"):
            store.context(str(wrong))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_archive_from_the_web(store: Store, web: Web, pack) -> None:
    url = web.put("/ctx", pack(archive(f="x", d__g="y")))
    with store.context(url) as context:
        folder = Path(context.path)
        assert context.fetched
        assert {str(p.relative_to(folder)) for p in folder.rglob("*")} == {"f", "d", "d/g"}
        assert (folder / "f").stat().st_uid == os.geteuid()
    assert not folder.exists()
    assert list(Path(store.tmp).iterdir()) == []


def test_one_file_from_the_web(store: Store, web: Web) -> None:
    with store.context(web.put("/Dockerfile.dev", "FROM scratch\n")) as context:
        assert context.file == "Dockerfile.dev"
        assert (Path(context.path) / "Dockerfile.dev").read_text() == "FROM scratch\n"


@pytest.mark.parametrize("piped", [True, False])
def test_an_archive_or_a_file_from_a_descriptor(store: Store, tmp_path: Path, piped: bool) -> None:
    for data, only in ((archive(f="x"), None), (b"FROM scratch\n", "Dockerfile"), (b"", "Dockerfile")):
        if piped:
            fd, end = os.pipe()
            os.write(end, data)
            os.close(end)
        else:
            (tmp_path / "in").write_bytes(data)
            fd = os.open(tmp_path / "in", os.O_RDONLY)
        with store.context(fd) as context:
            assert context.file == only
            assert (Path(context.path) / (only or "f")).read_bytes() == (data if only else b"x")
        os.close(fd)
    assert list(Path(store.tmp).iterdir()) == []


def test_a_hostile_archive_reaches_nothing_and_leaves_nothing(store: Store, web: Web, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("../../out")
        tar.addfile(info)
    with pytest.raises(LayerError):
        store.context(web.put("/evil.tar", out.getvalue()))
    assert not (tmp_path / "out").exists()
    assert list(Path(store.tmp).iterdir()) == []
