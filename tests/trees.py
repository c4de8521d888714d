"""For tests: trees as data to compare, and tar archives built byte by byte, so that anything can be in them."""

# Names that are bytes, descriptors and folders given as str are what is tested here.
# ruff: noqa: PTH115, PTH118, PTH208

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ZEROS = bytes(1024)


def describe(root: str | Path, *, times: bool = True, inodes: bool = True) -> dict[str, dict[str, Any]]:
    """All below ``root`` by path ("." is the root itself): kind, metadata, content, and which names are one file."""
    found: dict[str, dict[str, Any]] = {}
    first: dict[tuple[int, int], str] = {}
    waiting = [b"."]
    base = os.fsencode(root)
    while waiting:
        path = waiting.pop()
        full = os.path.join(base, path)
        info = os.lstat(full)
        name = os.fsdecode(path).removeprefix("./")
        facts: dict[str, Any] = {
            "kind": stat.S_IFMT(info.st_mode), "mode": oct(stat.S_IMODE(info.st_mode)),
            "owner": (info.st_uid, info.st_gid), "xattrs": attributes(full),
        }  # fmt: skip
        if times:
            facts["mtime"] = info.st_mtime_ns // 10**9
        if stat.S_ISREG(info.st_mode):
            with open(full, "rb") as file:  # noqa: PTH123 - bytes
                facts["content"] = (info.st_size, hashlib.file_digest(file, "sha256").hexdigest())
        elif stat.S_ISLNK(info.st_mode):
            facts["target"] = os.readlink(full)
        elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            facts["device"] = (os.major(info.st_rdev), os.minor(info.st_rdev))
        elif stat.S_ISDIR(info.st_mode):
            waiting += [os.path.join(path, child) for child in os.listdir(full)]
        if inodes and not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
            facts["file"] = (info.st_dev, info.st_ino)
        found[name] = facts
    for name in sorted(found):
        if "file" in found[name]:
            found[name]["file"] = first.setdefault(found[name]["file"], name)
    return found


def attributes(path: bytes) -> dict[str, bytes]:
    """The extended attributes, without those that the machine sets by itself."""
    names = os.listxattr(path, follow_symlinks=False)
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in names
        if name != "security.selinux" and not name.endswith((".overlay.origin", ".overlay.impure"))
    }


def header(
    name: bytes, kind: bytes = b"0", *, size: int | bytes = 0, mode: int = 0o644, uid: int | bytes = 0, gid: int = 0,
    mtime: int | bytes = 0, link: bytes = b"", magic: bytes = b"ustar\x0000", major: int | bytes = 0,
    minor: int | bytes = 0, prefix: bytes = b"", checksum: bytes | None = None, tail: bytes = b"",
) -> bytes:  # fmt: skip
    """One header block, right or wrong. Numbers given as bytes stand as they are."""

    def octal(value: int | bytes, width: int) -> bytes:
        return value.ljust(width, b"\0") if isinstance(value, bytes) else b"%0*o\0" % (width - 1, value)

    numbers = octal(mode, 8) + octal(uid, 8) + octal(gid, 8) + octal(size, 12) + octal(mtime, 12)
    block = name.ljust(100, b"\0") + numbers + b" " * 8 + kind + link.ljust(100, b"\0") + magic
    block = (block + bytes(64) + octal(major, 8) + octal(minor, 8) + prefix).ljust(512 - len(tail), b"\0") + tail
    assert len(block) == 512
    return block[:148] + (checksum or b"%06o\0 " % sum(block)) + block[156:]


def entry(name: bytes, data: bytes = b"", kind: bytes = b"0", **fields: Any) -> bytes:
    """A header and its data, padded."""
    fields.setdefault("size", len(data))
    return header(name, kind, **fields) + data + bytes(-len(data) % 512)


def pax(records: list[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """A pax header with these records."""
    body = b""
    for key, value in records:
        record = b" " + key + b"=" + value + b"\n"
        length = len(record)
        while len(b"%d" % length + record) != length:
            length = len(b"%d" % length + record)
        body += b"%d" % length + record
    return entry(b"pax", body, kind)


def directory(name: bytes, **fields: Any) -> bytes:
    """A directory of mode 0755."""
    return header(name, b"5", **{"mode": 0o755, **fields})
