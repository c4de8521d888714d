"""Sizes, ages and tables look as buildah prints them."""

import pytest

from buildlib.cli.human import age, size, table, timestamp


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1 KB"), (1994240, "1.99 MB"), (4_860_000, "4.86 MB"),
        (12_345_678, "12.3 MB"), (999_999, "1 MB"), (999_499, "999 KB"),
        (123_456_789_000, "123 GB"), (5 * 10**15, "5000 TB"),
    ],
)  # fmt: skip
def test_sizes_have_three_digits_and_powers_of_a_thousand(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second ago"), (0.9, "Less than a second ago"), (1.5, "1 second ago"), (59, "59 seconds ago"),
        (60, "About a minute ago"), (119, "About a minute ago"), (120, "2 minutes ago"), (3599, "59 minutes ago"),
        (3600, "About an hour ago"), (2 * 3600, "2 hours ago"), (47 * 3600, "47 hours ago"), (48 * 3600, "2 days ago"),
        (14 * 86400, "2 weeks ago"), (60 * 86400, "2 months ago"), (730 * 86400, "2 years ago"),
    ],
)  # fmt: skip
def test_ages_are_words(seconds, text):
    assert age(seconds) == text


def test_times_are_utc_with_as_many_digits_as_they_have():
    assert timestamp(0) == "1970-01-01T00:00:00Z"
    assert timestamp(1795514826.147260) == "2026-11-24T10:07:06.14726Z"


def test_columns_are_as_wide_as_their_widest_cell_and_lines_have_no_trailing_blanks():
    assert table([("A", "LONG", "C"), ("aaa", "b", "c")]) == "A     LONG   C\naaa   b      c\n"
    assert table([]) == ""
