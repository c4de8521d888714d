"""Values are printed and read as Go does it."""

from __future__ import annotations

import pytest

from bud.golang import parse_duration, print_duration, quote, quote_list

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a b", '"a b"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\\b\t\n\x07\x00\x7f", '"a\\\\b\\t\\n\\a\\x00\\x7f"'),
        ("é☺한", '"é☺한"'),
        ("\u00a0\u200b\U000e0001", '"\\u00a0\\u200b\\U000e0001"'),
        (b"\xff".decode("utf-8", "surrogateescape"), '"\\xff"'),
    ],
)
def test_strings_are_quoted(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_lists_have_no_commas() -> None:
    assert quote_list(["/bin/sh", "-c", "a"]) == '["/bin/sh" "-c" "a"]'
    assert quote_list([]) == "[]"


@pytest.mark.parametrize(
    ("text", "nanoseconds", "printed"),
    [
        ("30s", 30 * S, "30s"),
        ("5m", 300 * S, "5m0s"),
        ("1h", 3600 * S, "1h0m0s"),
        ("1h2m3.5s", 3723_500_000_000, "1h2m3.5s"),
        ("1.5h", 5400 * S, "1h30m0s"),
        ("100ms", 100_000_000, "100ms"),
        ("1.25ms", 1_250_000, "1.25ms"),
        ("10us", 10_000, "10µs"),
        ("10µs", 10_000, "10µs"),
        ("7ns", 7, "7ns"),
        ("0", 0, "0s"),
        ("+.5s", S // 2, "500ms"),
        ("-1s", -S, "-1s"),
        ("1m60s", 120 * S, "2m0s"),
    ],
)
def test_durations_are_read_and_printed(text: str, nanoseconds: int, printed: str) -> None:
    assert parse_duration(text) == nanoseconds
    assert print_duration(nanoseconds) == printed


@pytest.mark.parametrize("text", ["", "5", "s", "1x", ".s", "1s 2s", "-", "1d", "9999999999h", "١s"])
def test_a_bad_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)
