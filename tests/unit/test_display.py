"""How images, containers and what they hold look in a notebook."""

from __future__ import annotations

import re
import stat
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.display import Changes
from buildlib.display.html import size, text
from buildlib.display.tree import MOST, tree
from buildlib.layer.diff import Change

if TYPE_CHECKING:
    from buildlib.image import Image
    from buildlib.store import Store

FILE, DIR = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
VOID = {"br", "meta", "img", "hr"}


class Checked(HTMLParser):
    """Reads HTML; every element is closed in its turn. ``words`` is what a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def seen(value: object) -> Checked:
    return Checked(value._repr_mimebundle_()["text/html"])  # type: ignore[attr-defined]


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_becomes_markup(value: str) -> None:
    shown = Checked(f"<b>{text(value)}</b>")
    assert shown.tags == ["b"]
    assert "\x1b" not in "".join(shown.words)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99949, "100 kB"), (170e6, "170 MB"), (3e9, "3.0 GB")],
)
def test_sizes_are_short(count: int, shown: str) -> None:
    assert size(int(count)) == shown


def test_a_folder_has_the_size_of_what_is_in_it_and_the_largest_come_first() -> None:
    shown = Checked(
        tree([("/b", 0, DIR, ""), ("/b/x", 1000, FILE, ""), ("/b/y", 3000, FILE, ""), ("/a", 2000, FILE, "")])
    )
    assert shown.words == ["b/", "4.0 kB", "y", "3.0 kB", "x", "1.0 kB", "a", "2.0 kB"]


def test_a_large_tree_is_cut_from_its_depth_and_says_so() -> None:
    entries = [(f"/{a}/{b}/{c}", 1, FILE, "") for a in range(30) for b in range(30) for c in range(30)]
    shown = Checked(tree(entries))
    assert shown.tags.count("details") + shown.tags.count("div") < 3 * MOST
    assert sum(word.endswith("/") for word in shown.words) >= 900
    assert any(re.fullmatch(r"… \d+ more", word) for word in shown.words)
    Checked(tree([("/d" * 5000, 1, FILE, "")]))


def test_changes_are_coloured_by_kind() -> None:
    changes = Changes([Change("/new", "added", 5, FILE), Change("/old", "deleted"), Change("/etc", "changed", 0, DIR)])
    bundle = changes._repr_mimebundle_()
    assert bundle["text/plain"] == "A /new\nD /old\nC /etc"
    for kind in ("added", "changed", "deleted"):
        assert f'class="m {kind}"' in bundle["text/html"]


@pytest.mark.root
def test_an_image_shows_layers_config_files_and_waste(store: Store, busybox_image: Image) -> None:
    with store.from_image(busybox_image) as c:
        c.copy(dest="/big", contents={"big": "x" * 5000})
        c.run("mkdir '/<b>'")
        c.commit()
        c.run("rm /big", add_history=True)
        c.config(labels={"<i>": "&amp;"}, cmd=["serve"])
        image = c.commit("localhost/shown:1")
        words = "".join(seen(c).words)
        assert "c.run('rm /big'" in words
        assert "serve" in words
        assert c.name in words
        assert "<b>" in seen(c.diff()).words
    shown = seen(image)
    words = "".join(shown.words)
    for expected in ("localhost/shown:1", "wasted", "5.0 kB", "/big", "<i> = &amp;", "serve", "rm /big"):
        assert expected in words
    assert "script" not in shown.tags
    assert "rm /big" in "".join(seen(image.history).words)
    assert "big" not in seen(image.survey()).words
    assert "<b>" in "".join(seen(image.survey().layers[1]).words)


@pytest.mark.root
def test_a_secret_is_not_shown(store: Store, busybox_image: Image) -> None:
    from buildlib import Secret

    with store.from_image(busybox_image) as c:
        c.run("true", mounts=[Secret("token", value="hush")])
        shown = c._repr_mimebundle_()
        assert "hush" not in "".join(shown.values())
        assert "c.run(…)" in shown["text/html"]
