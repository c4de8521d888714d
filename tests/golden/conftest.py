"""Stores with the base images of the corpus, equal to the byte, and an option to write down what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.store import Store


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the golden images anew")


def _store(folder: str, busybox_tar: str) -> Store:
    from buildlib.store import Store

    store = Store.open(folder)
    with store.from_image(f"tarball:{busybox_tar}") as container:
        container.commit("localhost/busybox:latest", timestamp=0)
    return store


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, busybox_tar: str) -> Iterator[Store]:
    """The store that the cases are built in."""
    with _store(str(tmp_path_factory.mktemp("golden") / "built"), busybox_tar) as store:
        yield store


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory, busybox_tar: str) -> Iterator[Store]:
    """The store that the scripts build in."""
    with _store(str(tmp_path_factory.mktemp("golden") / "scripted"), busybox_tar) as store:
        yield store
