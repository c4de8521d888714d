"""Headers as other readers understand them."""

import tarfile

import pytest

from buildlib.layer import header


def parsed(data: bytes) -> tarfile.TarInfo:
    """What Python's own reader makes of a header."""
    import io

    with tarfile.open(fileobj=io.BytesIO(data + bytes(1024)), errorlevel=2) as tar:
        found = tar.next()
        assert found is not None
        return found


def test_a_plain_entry_is_one_ustar_block_without_names_of_users():
    data = header.encode(b"etc/passwd", header.FILE, 0o4755, 1000, 100, 12, 1_700_000_000)
    found = parsed(data)
    assert len(data) == 512
    assert (found.name, found.mode, found.uid, found.gid, found.size) == ("etc/passwd", 0o4755, 1000, 100, 12)
    assert (found.mtime, found.uname, found.gname, found.pax_headers) == (1_700_000_000, "", "", {})


def test_a_long_name_is_split_where_ustar_can_hold_it():
    name = b"d" * 90 + b"/" + b"e" * 60 + b"/" + b"f" * 99
    data = header.encode(name, header.FILE, 0, 0, 0, 0, 0)
    assert len(data) == 512
    assert parsed(data).name == name.decode()


@pytest.mark.parametrize(
    "name",
    [
        b"x" * 101,
        b"x" * 99 + b"\xc3\xa4",
        b"d" * 156 + b"/" + b"f" * 20,
        b"dir/" + b"y" * 101 + b"/",
        b"a/" * 200,
        "grün".encode(),
        b"\xff\xfe not utf-8",
        b"\xff" * 300,
    ],
)
def test_any_other_name_stands_in_a_pax_record(name):
    data = header.encode(name, header.FILE, 0o644, 0, 0, 0, 0)
    assert len(data) == 1536
    assert parsed(data).name == name.decode(errors="surrogateescape").rstrip("/")


def test_a_long_or_foreign_link_target_stands_in_a_pax_record():
    for target in (b"t" * 101, "ä".encode(), b"\xff"):
        found = parsed(header.encode(b"l", header.SYMLINK, 0o777, 0, 0, 0, 0, link=target))
        assert found.linkname == target.decode(errors="surrogateescape")


@pytest.mark.parametrize(
    ("field", "value", "extended"),
    [
        ("uid", 2_097_151, False),
        ("uid", 2_097_152, True),
        ("gid", 4_294_967_294, True),
        ("size", 8 * 2**30 - 1, False),
        ("size", 8 * 2**30, True),
        ("mtime", 8 * 2**30 - 1, False),
        ("mtime", 8 * 2**30, True),
        ("mtime", -1, True),
    ],
)
def test_numbers_go_to_pax_exactly_when_they_do_not_fit(field, value, extended):
    numbers = {"uid": 0, "gid": 0, "size": 0, "mtime": 0, field: value}
    data = header.encode(b"f", header.FILE, 0o644, **numbers)
    found = parsed(data)
    assert (len(data) > 512) == extended
    assert getattr(found, field) == value


def test_xattrs_are_pax_records_sorted_with_any_bytes_in_them():
    values = [("security.capability", b"\x01\0\0\x02=\n"), ("user.a", b""), ("user.b", b"\xff")]
    found = parsed(header.encode(b"f", header.FILE, 0o755, 0, 0, 0, 0, xattrs=values))
    records = {key: value for key, value in found.pax_headers.items() if key.startswith("SCHILY.xattr.")}
    assert list(records) == [f"SCHILY.xattr.{name}" for name, _ in values]
    assert records["SCHILY.xattr.security.capability"] == "\x01\0\0\x02=\n"


def test_a_record_counts_the_digits_of_its_own_length():
    for size in range(80, 120):
        data = header.encode(b"f", header.FILE, 0, 0, 0, 0, 0, xattrs=[("user.x", b"v" * size)])
        body = data[512:1024].rstrip(b"\0")
        assert body.startswith(b"%d " % len(body))


def test_more_xattrs_than_a_reader_accepts_are_refused():
    many = [(f"user.{number}", bytes(60000)) for number in range(20)]
    with pytest.raises(ValueError, match="more than any reader"):
        header.encode(b"f", header.FILE, 0, 0, 0, 0, 0, xattrs=many)


def test_a_device_has_its_numbers():
    found = parsed(header.encode(b"sda1", header.BLOCK_DEVICE, 0o660, 0, 6, 0, 0, device=(8, 1)))
    assert (found.isblk(), found.devmajor, found.devminor) == (True, 8, 1)


def test_the_checksum_is_right_for_high_bytes_too():
    data = header.encode(b"\xff" * 255, header.SYMLINK, 0o777, 0, 0, 0, 0, link=b"\xff" * 255)[-512:]
    assert sum(data) - sum(data[148:156]) + 8 * 32 == int(data[148:154], 8)
