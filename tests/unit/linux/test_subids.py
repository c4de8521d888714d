"""subuid(5) as it is read, and the maps that are made of it."""

from __future__ import annotations

import pytest

from buildlib.linux import subids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("me:100000:65536\n", ((100000, 65536),)),
        ("1000:5:10\nme:100000:65536\nyou:1:1\n", ((5, 10), (100000, 65536))),
        ("me:100000:65536\nme:100000:65536\n", ((100000, 65536),)),
        ("me:x:1\nme:1\nme:5:0\n\n#me:1:1\n", ()),
        ("me2:1:1\n", ()),
        ("", ()),
    ],
)
def test_lines_of_the_name_and_of_the_number_count(text: str, expected: tuple[tuple[int, int], ...]) -> None:
    assert subids.parse(text, 1000, "me") == expected


def test_a_user_without_a_name_is_known_by_its_number() -> None:
    assert subids.parse("None:1:1\n1000:2:3\n", 1000, None) == ((2, 3),)


def test_root_inside_is_the_user_and_ranges_follow_one_another() -> None:
    assert subids._map(1000, ((100000, 10), (500000, 5))) == ((0, 1000, 1), (1, 100000, 10), (11, 500000, 5))
    assert subids.own(1000, 100).single
    assert not subids.Maps(((0, 1, 1), (1, 5, 5)), ((0, 1, 1), (1, 5, 5))).single
    assert subids.Maps(((0, 1, 1), (1, 5, 5)), ((0, 1, 1),)).single
