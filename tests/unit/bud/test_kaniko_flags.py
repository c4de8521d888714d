"""Flags that people bring from other builders: what each stands for, seen in what comes out."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from bud import cli
from buildlib.testing import serve_registry

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.image import Image
    from buildlib.store import Store

pytestmark = pytest.mark.root

DOCKERFILE = "FROM localhost/busybox\nRUN echo 1 > /one\nRUN echo 2 > /two\n"


def bud(store: Store, *words: str) -> int:
    return cli.main(["--root", store.root, *words])


def test_an_archive_a_digest_and_one_layer(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    tar, digest = tmp_path / "image.tar", tmp_path / "digest"
    flags = ["--tar-path", str(tar), "--digest-file", str(digest), "--single-snapshot", "--reproducible"]
    assert bud(store, *flags, "--quiet", "-t", "localhost/k", str(tmp_path)) == 0
    image = store.image("localhost/k")
    assert digest.read_text() == str(image.digest)
    assert len(image.layers) == len(busybox_image.layers) + 1
    with tarfile.open(tar) as archive:
        assert "manifest.json" in archive.getnames()


def test_a_cache_repository_is_written_and_read(store: Store, busybox_image: Image, tmp_path: Path, capfd) -> None:
    from buildlib.store import Store as Open

    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace("localhost/busybox", f"oci:{tmp_path}/base"))
    busybox_image.push(f"oci:{tmp_path}/base")
    with serve_registry() as registry:
        flags = ["--tls-verify=false", "--cache-repo", f"{registry.host}/cache"]
        assert bud(store, *flags, "--quiet", "-t", "localhost/k", str(tmp_path)) == 0
        with Open.open(str(tmp_path / "second")) as second:
            capfd.readouterr()
            assert bud(second, *flags, "--progress", "plain", "-t", "localhost/k", str(tmp_path)) == 0
    assert capfd.readouterr().err.count("CACHED") == 2
