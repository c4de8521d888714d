"""What the tests of working containers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.container import WorkingContainer
    from buildlib.image import Image
    from buildlib.store import Store


@pytest.fixture
def container(store: Store, busybox_image: Image) -> Iterator[WorkingContainer]:
    """A working container on busybox, without the cache."""
    with store.from_image(busybox_image) as made:
        yield made


@pytest.fixture
def cached(store: Store, busybox_image: Image) -> Iterator[WorkingContainer]:
    """A working container on busybox whose calls are memoised."""
    with store.from_image(busybox_image, cache=True) as made:
        yield made
