"""A folder to copy from, a root to copy to, and the whole way between them without worker, mount or container."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.patterns import IgnorePatterns
from buildlib.worker.copying import request as requests
from buildlib.worker.copying.digest import TreeDigest
from buildlib.worker.copying.driver import copy_items, landing
from buildlib.worker.copying.place import Place
from buildlib.worker.copying.request import Request
from buildlib.worker.copying.rules import Destination
from buildlib.worker.copying.select import close
from buildlib.worker.copying.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Workbench:
    """``source`` and ``root`` are folders; :meth:`copy` copies from one to the other as COPY does."""

    def __init__(self, tmp_path: Path) -> None:
        self.source = tmp_path / "source"
        self.root = tmp_path / "root"
        self.source.mkdir()
        self.root.mkdir()

    def write(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        """A file in the source."""
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def request(self, *sources: str, ignore: str = "", **options: Any) -> Request:
        """A request as the client makes it."""
        patterns = IgnorePatterns.parse(ignore).patterns
        return Request(sources, "the context", ignore=tuple(tuple(p) for p in patterns), **options)

    def copy(
        self, *sources: str, dest: str, workdir: str = "/", owner: tuple[int, int] | None = None, **options: Any
    ) -> TreeDigest:
        """Copy, and check that the copy says of itself what hashing says; return that."""
        request = self.request(*sources, **options)
        with _umask(0), _open(self.source) as source, _open(self.root) as root:
            before = requests.digest(request, source)
            effect = request.effect(owner)
            tree = TreeDigest(effect)
            transfer = Transfer(Place(root, effect.owner or (0, 0), effect.parent_mode), effect, tree, request.what)
            origin = request.origin(source)
            items = request.select(origin)
            try:
                count = len(items) + len(request.contents)
                target = Destination.parse(dest, workdir, count)
                copy_items(items, origin, transfer, target, request.skipped)
                for name, content, mode in request.texts():
                    at, where, called = landing(transfer, target, name)
                    transfer.text(name, content, mode, at, where, called)
                    os.close(at)
            finally:
                close(items)
        assert tree.finish() == before.finish()
        return tree

    def digest(self, *sources: str, **options: Any) -> str:
        """The digest alone."""
        with _open(self.source) as source:
            return requests.digest(self.request(*sources, **options), source).finish()

    def tree(self) -> list[str]:
        """All paths in the root, sorted; directories end with a slash."""
        found = []
        for path in self.root.rglob("*"):
            slash = "/" if path.is_dir() and not path.is_symlink() else ""
            found.append(f"{path.relative_to(self.root)}{slash}")
        return sorted(found)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    """As in the worker."""
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


@contextmanager
def _open(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A fresh :class:`Workbench`."""
    before = _descriptors()
    yield Workbench(tmp_path)
    # Fewer is fine: what an earlier test left to the garbage collector may be closed meanwhile.
    assert _descriptors() <= before, "descriptors were left open"


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}
