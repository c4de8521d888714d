"""Caches in a registry that is not ours, and what other tools make of an image with an inline cache."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from buildlib.registry.access import Access
from buildlib.store import Store
from tests.interop.docker_registry import serve

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root
ACCESS = Access(tls_verify=False)


def build(store: Store, busybox_tar: str) -> tuple[object, bool]:
    """A container with one cached step; whether it was cached."""
    container = store.from_image(store.pull(f"tarball:{busybox_tar}"), cache=True)
    return container, container.run("cat /proc/sys/kernel/random/uuid > /made").cached


def test_docker_registry_keeps_a_cache(store: Store, busybox_tar: str, tmp_path: Path) -> None:
    with serve() as host, Store.open(str(tmp_path / "other")) as other:
        made, _ = build(store, busybox_tar)
        for compression in ("gzip", "zstd", "none"):
            place = f"type=registry,ref={host}/cache:{compression},compression={compression}"
            store.export_cache(place, made, access=ACCESS)  # type: ignore[arg-type]
            with other.import_cache(place.partition(",compression")[0], access=ACCESS) as found:
                assert len(found) == 1
                assert build(other, busybox_tar)[1]
                assert not found.failures
            other.gc(everything=True)


def test_skopeo_copies_an_image_with_an_inline_cache(store: Store, busybox_tar: str, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    made, _ = build(store, busybox_tar)
    image = made.commit(inline_cache=True)  # type: ignore[attr-defined]
    image.push(f"oci:{tmp_path}/a:latest")
    words = ["copy", "--insecure-policy", f"oci:{tmp_path}/a:latest", f"oci:{tmp_path}/b:latest"]
    subprocess.run([skopeo, *words], check=True, capture_output=True)
    with Store.open(str(tmp_path / "other")) as other, other.import_cache(f"type=local,src={tmp_path}/b"):
        assert build(other, busybox_tar)[1]
