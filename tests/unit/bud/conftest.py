"""What the tests of whole builds share: a builder with a store, a base image and a context of its own."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from bud.build import Request
from bud.builds import build
from bud.dockerignore import find, read
from bud.plan import Options
from bud.progress import Progress
from bud.stages import read_dockerfile
from buildlib import Image

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib import ManifestList, Store

BASE = "localhost/busybox:latest"


class Builder:
    """Builds Dockerfiles in one store and context."""

    base = BASE

    def __init__(self, store: Store, context: Path) -> None:
        self.store = store
        self.context = context
        self.out = StringIO()

    def request(self, text: str, **options: Any) -> Request:
        plan = Options(**options.pop("plan", {}))
        ignore = read(find(str(self.context), None))
        return Request(read_dockerfile(text.replace("BASE", BASE)), str(self.context), ignore, plan, **options)

    def __call__(self, text: str, **options: Any) -> Image:
        found = self.build(text, **options)
        assert isinstance(found, Image)
        return found

    def build(self, text: str, **options: Any) -> Image | ManifestList:
        self.out = StringIO()
        return build(self.store, self.request(text, **options), Progress(self.out))

    def read(self, image: Image, path: str) -> str:
        """A file of an image, as text."""
        with self.store.from_image(image) as container:
            return container.read_file(path).decode()

    def file(self, name: str, text: str) -> None:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def cached(self) -> int:
        return self.out.getvalue().count(" CACHED")


@pytest.fixture
def bud(store: Store, busybox_image: Image, tmp_path: Path) -> Builder:
    context = tmp_path / "context"
    context.mkdir()
    return Builder(store, context)
