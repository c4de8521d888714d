"""Another thread puts an end to what a container does; and a container that may only use what is known."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.errors import Cancelled, NotCached

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildlib.container import WorkingContainer
    from buildlib.image import Image
    from buildlib.store import Store

pytestmark = pytest.mark.root


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, errors


def test_a_command_is_ended_with_all_its_processes(cached: WorkingContainer, tmp_path: Path) -> None:
    begun = threading.Event()

    class Sink:
        def write(self, text: str) -> None:
            begun.set()

    thread, errors = in_thread(lambda: cached.run("echo begun; sleep 300 & sleep 300", stdout=Sink()))
    assert begun.wait(60)
    before = time.monotonic()
    cached.cancel()
    thread.join(60)
    assert not thread.is_alive()
    assert time.monotonic() - before < 60
    assert [type(error) for error in errors] == [Cancelled]
    with pytest.raises(Cancelled):
        cached.run("true")
    with pytest.raises(Cancelled):
        cached.mkdir("/x")
    cached.remove()
    assert cached.store.containers() == []


def test_one_that_was_cancelled_does_not_begin(cached: WorkingContainer) -> None:
    cached.run("echo known > /known")
    cached.cancel()
    with pytest.raises(Cancelled):
        cached.copy("/etc/hostname", dest="/x")


def test_only_what_is_cached(store: Store, busybox_image: Image, cached: WorkingContainer, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    cached.run("echo 1 > /one")
    cached.copy("f", dest="/f", context=str(tmp_path))
    cached.copy("f", dest="/l", context=str(tmp_path), link=True)
    with store.from_image(busybox_image, cache=True) as container:
        container.only_cached = True
        assert container.run("echo 1 > /one").cached
        assert container.copy("f", dest="/f", context=str(tmp_path))
        assert container.copy("f", dest="/l", context=str(tmp_path), link=True)
        state, layers = container.state, container.layers
        for call in (
            lambda: container.run("echo 2 > /two"),
            lambda: container.run("echo 1 > /one", cache=False),
            lambda: container.mkdir("/new"),
            lambda: container.copy("f", dest="/g", context=str(tmp_path)),
            lambda: container.copy("f", dest="/m", context=str(tmp_path), link=True),
        ):
            with pytest.raises(NotCached):
                call()
        assert (container.state, container.layers) == (state, layers)
        container.only_cached = False
        assert not container.run("echo 2 > /two").cached
    with store.from_image(busybox_image) as container:
        container.only_cached = True
        with pytest.raises(NotCached):
            container.run("true")
