"""Surveys of layers: what can be seen, and what is carried along for nothing."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.layer.diff import Change
from buildlib.survey import File, Hidden, fold

if TYPE_CHECKING:
    from buildlib.image import Image
    from buildlib.store import Store

FILE, DIR = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


def added(path: str, size: int = 0, mode: int = FILE) -> Change:
    return Change(path, "added", size, mode)


def test_a_file_that_is_replaced_hides_the_bytes_of_the_one_below() -> None:
    found = fold([("a", "RUN one", [added("/f", 10)]), ("b", "RUN two", [Change("/f", "changed", 4, FILE)])])
    assert found.files == (File("/f", 4, FILE, 1),)
    assert found.hidden == (Hidden("/f", 10, 1),)
    assert [(layer.size, layer.hidden) for layer in found.layers] == [(10, 10), (4, 0)]
    assert (found.size, found.wasted, found.efficiency) == (14, 10, 1 - 10 / 14)


def test_with_a_directory_goes_all_that_is_in_it() -> None:
    below = [added("/d", mode=DIR), added("/d/x", 3), added("/d/sub", mode=DIR), added("/d/sub/y", 5), added("/dz", 7)]
    gone = fold([("a", "", below), ("b", "", [Change("/d", "deleted")])])
    assert [file.path for file in gone.files] == ["/dz"]
    assert [(one.path, one.size) for one in gone.hidden] == [("/d/sub/y", 5), ("/d/x", 3)]
    replaced = fold([("a", "", below), ("b", "", [Change("/d", "changed", 1, FILE)])])
    assert [(file.path, file.layer) for file in replaced.files] == [("/d", 1), ("/dz", 0)]


def test_a_directory_that_is_written_into_keeps_what_it_has() -> None:
    found = fold([("a", "", [added("/d", mode=DIR), added("/d/x", 3)]), ("b", "", [Change("/d", "changed", 0, DIR)])])
    assert [file.path for file in found.files] == ["/d", "/d/x"]
    assert found.hidden == ()


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=4), max_size=5))
def test_every_byte_is_either_seen_or_wasted(layers: list[list[tuple[str, int, bool]]]) -> None:
    steps = []
    for layer in layers:
        last = {row[0]: row for row in layer}.values()
        changes = [
            Change(f"/{n}", "deleted") if gone else Change(f"/{n}", "changed", size, FILE) for n, size, gone in last
        ]
        steps.append(("", "", changes))
    found = fold(steps)
    assert sum(file.size for file in found.files) + found.wasted == found.size
    assert sum(one.size for one in found.hidden) == found.wasted


@pytest.mark.root
def test_images_and_containers_tell_where_their_bytes_are(store: Store, busybox_image: Image) -> None:
    with store.from_image(busybox_image) as c:
        c.copy(dest="/big", contents={"big": "x" * 5000})
        one = c.commit("one", created_by="RUN one")
        c.run("rm /big; echo kept > /new")
        survey = c.survey()
        assert [layer.id for layer in survey.layers] == [*one.layers, ""]
        assert survey.layers[-2].hidden == survey.wasted == 5000
        assert "/new" in {file.path for file in c.files}
        assert "/big" not in {file.path for file in c.files}
    assert one.survey().layers[-1].created_by.startswith("RUN one")
    assert "/big" in {file.path for file in one.files()}
