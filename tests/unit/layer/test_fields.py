"""Numbers, times and records as they stand in headers, and what is none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.layer import fields
from tests.trees import header, pax


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"644\0junk", 0o644),
        (b"00000000", 0),
        (b"\0\0\0\0\0\0\0\0", 0),
        (b"        ", 0),
        (b"77777777777\0", 8**11 - 1),
        (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", 2 << 32),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", -1),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        (b"\x80" + b"\xff" * 11, 2**88 - 1),
        (b"\xff" + b"\x80" + bytes(10), -(2**87)),
    ],
)
def test_numbers_are_octal_or_base_256(field, value):
    assert fields.number(field) == value


@pytest.mark.parametrize(
    "field", [b"0000008\0", b"0x10\0", b"-1\0", b"+1\0", b"1_0\0", b"0o17\0", "٣".encode() + b"\0"]
)
def test_what_python_would_take_for_a_number_is_none(field):
    with pytest.raises(ValueError):
        fields.number(field)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"12.000000001999", 12_000_000_001),
        (b"-1.5", -1_500_000_000),
        (b"3.", 3_000_000_000),
    ],
)
def test_times_have_a_fraction_of_any_length(text, value):
    assert fields.nanoseconds(text) == value


@pytest.mark.parametrize("text", [b"", b".", b"1.x", b"1e9", b"1_0", b"--1", b"9" * 30])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):
        fields.nanoseconds(text)


def test_checksums_are_right_signed_or_unsigned():
    block = header(b"\xff\xfe" + b"name")
    assert fields.checksum_matches(block)
    signed = sum(byte - 256 * (byte > 127) for byte in block[:148] + b" " * 8 + block[156:])
    assert fields.checksum_matches(block[:148] + b"%06o\0 " % signed + block[156:])
    assert not fields.checksum_matches(block[:148] + b"%06o\0 " % (signed + 1) + block[156:])
    assert not fields.checksum_matches(bytes(512))


@given(st.binary(min_size=512, max_size=512))
def test_the_checksum_of_any_block_is_what_a_plain_sum_says(block):
    total = sum(block[:148]) + sum(block[156:]) + 8 * 32
    assert fields.checksum_matches(block[:148] + b"%06o\0 " % total + block[156:])


key = st.text("abcSCHILY.xattr", min_size=1).map(str.encode)


@given(st.lists(st.tuples(key, st.binary(max_size=300)), max_size=10))
def test_records_come_back_as_they_were_written(records):
    archive = pax(records)
    size = int(archive[124:135], 8)
    assert fields.pax_records(archive[512 : 512 + size]) == records


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense", b"4 a=\n", b"99 a=b\n", b"6 a=bX", b"0 a=b\n", b"-6 a=b\n", b"6 abc\n", b"5 =b\n",
        b"999999999999999 a=b\n",
    ],
)  # fmt: skip
def test_damaged_records_are_refused(body):
    with pytest.raises(ValueError):
        fields.pax_records(body)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_records_fail_otherwise(body):
    with contextlib.suppress(ValueError):
        fields.pax_records(body)
