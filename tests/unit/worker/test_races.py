"""Sources of mounts that somebody changes while they are opened: nothing outside of them is ever shown."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Place

pytestmark = pytest.mark.root


def test_a_source_of_a_context_that_is_swapped_with_a_link_shows_nothing_of_the_host(
    place: Place, tmp_path: Path
) -> None:
    place.prepare()
    context, host = tmp_path / "context", tmp_path / "host"
    (context / "dir").mkdir(parents=True)
    (context / "dir/file").write_text("inside")
    host.mkdir()
    (host / "file").write_text("secret")
    (context / "link").symlink_to(host)
    over = threading.Event()

    def swap() -> None:
        library = ctypes.CDLL(None)
        names = os.fsencode(context / "dir"), os.fsencode(context / "link")
        while not over.is_set():
            library.renameat2(-100, names[0], -100, names[1], 2)  # RENAME_EXCHANGE

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(30):
            bind = {"type": "bind", "root": str(context), "source": "/dir", "target": "/mnt"}
            try:
                seen.add(place.run("cat", "/mnt/file", binds=[bind]).out)
            except NotFound:  # the link leads to a path that the context has not
                continue
    finally:
        over.set()
        thread.join()
    assert seen <= {"inside"}
