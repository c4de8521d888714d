"""COPY --link: a layer of its own that does not care what is below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildlib.errors import CopyError

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.container import WorkingContainer
    from buildlib.image import Image
    from buildlib.store import Store

pytestmark = pytest.mark.root


@pytest.fixture
def context(tmp_path: Path) -> str:
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx" / "f").write_text("linked")
    return str(tmp_path / "ctx")


def test_no_link_below_is_followed(cached: WorkingContainer, context: str) -> None:
    cached.run("mkdir /real && ln -s /real /dir && ln -s /real/x /d2")
    cached.copy("f", dest="/dir/", context=context, link=True)
    cached.copy("f", dest="/d2", context=context, link=True)
    assert cached.run("test ! -h /dir && ls /real && cat /dir/f /d2", capture=True).stdout == "linkedlinked"


def test_it_hits_on_any_base(store: Store, busybox_image: Image, cached: WorkingContainer, context: str) -> None:
    assert cached.copy("f", dest="/a/b/f", context=context, link=True) is False
    with store.from_image(busybox_image, cache=True) as other:
        other.run("echo changed > /other")
        assert other.copy("f", dest="/a/b/f", context=context, link=True) is True
        assert other.copy("f", dest="/a/b/f", context=context) is False
        assert other.read_file("/a/b/f") == b"linked"
    with store.from_image(busybox_image, cache=True, no_cache=True) as other:
        assert other.copy("f", dest="/a/b/f", context=context, link=True) is False


def test_what_follows_it_depends_on_both(store: Store, busybox_image: Image, context: str) -> None:
    def build(command: str) -> bool:
        with store.from_image(busybox_image, cache=True) as container:
            container.run(command)
            container.copy("f", dest="/f", context=context, link=True)
            return container.run("cat /f /n > /both").cached

    assert [build("echo 1 > /n"), build("echo 1 > /n"), build("echo 2 > /n")] == [False, True, False]


def test_history_and_layers_fit(cached: WorkingContainer, context: str) -> None:
    cached.copy("f", dest="/f", context=context, link=True, created_by="COPY f /f", comment="c")
    cached.add("f", dest="/g", context=context, link=True, chown="5:6", created_by="ADD f /g")
    image = cached.commit()
    assert [(e.created_by, e.comment, e.empty_layer) for e in image.history[-2:]] == [
        ("COPY f /f", "c", False),
        ("ADD f /g", "", False),
    ]
    assert len([entry for entry in image.history if not entry.empty_layer]) == len(image.layers)
    assert cached.run(["stat", "-c", "%u:%g", "/g"], capture=True).stdout == "5:6\n"


def test_it_works_without_the_cache(container: WorkingContainer, context: str) -> None:
    container.run("echo 1 > /before")
    assert container.copy("f", dest="/f", context=context, link=True) is False
    container.run("echo 1 > /after")
    image = container.commit()
    assert container.run("cat /before /f /after", capture=True).stdout == "1\nlinked1\n"
    assert len([entry for entry in image.history if not entry.empty_layer]) == len(image.layers)


def test_no_name_is_known_in_an_empty_root(cached: WorkingContainer, context: str) -> None:
    with pytest.raises(CopyError, match="app"):
        cached.copy("f", dest="/f", context=context, link=True, chown="app")
    assert len(cached.store.containers()) == 1
