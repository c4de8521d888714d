"""What a tree looked like: inode, size and times of each entry, in a form that is read in a few milliseconds."""

from __future__ import annotations

import json
import os
import time
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Entry = tuple[int, int, int, int, int, int]
    """Inode, size, mtime and ctime in nanoseconds, mode, number of names; 0 for size and names of a directory."""
    Entries = dict[bytes, Entry]
    """By path from the root of the tree, which is ``b""`` itself; parents come before what they hold."""

TICK = 12_000_000
"""Nanoseconds within which two changes may get the same time: the kernel's clock for files stands still between ticks
of up to 10 ms (CONFIG_HZ=100)."""


def scan(tree: bytes) -> Entries:
    """All below ``tree``. Raises ``OSError``."""
    info = os.lstat(tree)
    found: Entries = {b"": (info.st_ino, 0, info.st_mtime_ns, info.st_ctime_ns, info.st_mode, 0)}
    waiting = [(tree, b"")]
    while waiting:
        path, prefix = waiting.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                mode = info.st_mode
                name = prefix + entry.name
                if mode & 0o170000 == 0o040000:
                    # The size of a directory says nothing, and differs after a name came and went.
                    found[name] = (info.st_ino, 0, info.st_mtime_ns, info.st_ctime_ns, mode, 0)
                    waiting.append((entry.path, name + b"/"))
                else:
                    found[name] = (
                        info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns, mode, info.st_nlink
                    )  # fmt: skip
    return found


def settle(entries: Entries) -> int:
    """Wait, for milliseconds at most, until whatever changes would get a later time than any of ``entries`` has.

    Returns the latest that one of them has.
    """
    newest = max((entry[3] for entry in entries.values()), default=0)
    left = newest + TICK - time.time_ns()
    if 0 < left <= TICK:
        time.sleep(left / 1e9)
    return newest


def save(path: str, entries: Entries, about: Any) -> None:
    """Write them and ``about`` (JSON) to the file ``path``, which appears when it is complete."""
    columns = array("q", [value for entry in entries.values() for value in entry])
    names = b"\0".join(entries)
    head = json.dumps({"about": about, "count": len(entries), "names": len(names)}).encode()
    with open(f"{path}.new", "wb") as file:
        file.write(head + b"\n" + names)
        file.write(columns.tobytes())
    os.rename(f"{path}.new", path)


def load(path: str) -> tuple[Entries, Any] | None:
    """What :func:`save` wrote; None if there is nothing, or nothing that can be read."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    head, _, rest = data.partition(b"\n")
    try:
        facts = json.loads(head)
        names = rest[: facts["names"]].split(b"\0")
        columns = array("q", rest[facts["names"] :])
    except (ValueError, KeyError):
        return None
    if len(names) != facts["count"] or len(columns) != 6 * len(names):
        return None
    rows = iter(columns)
    return dict(zip(names, zip(rows, rows, rows, rows, rows, rows, strict=True), strict=True)), facts["about"]
