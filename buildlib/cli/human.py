"""Sizes, ages and tables as buildah prints them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS = ("B", "KB", "MB", "GB", "TB")
_AGES = (  # as docker's go-units: below this many hours, divide by …
    (48, 1, "hours"),
    (24 * 7 * 2, 24, "days"),
    (24 * 30 * 2, 24 * 7, "weeks"),
    (24 * 365 * 2, 24 * 30, "months"),
)


def size(count: int) -> str:
    """Bytes in powers of 1000 with three digits, like ``4.86 MB``."""
    value = float(count)
    for unit in _UNITS:
        text = f"{value:.3g}"
        if "e" not in text and float(text) < 1000:
            return f"{text} {unit}"
        value /= 1000
    return f"{value * 1000:.0f} {_UNITS[-1]}"


def age(seconds: float) -> str:
    """How long ago something was, like ``2 minutes ago``."""
    if seconds < 1:
        return "Less than a second ago"
    if seconds < 2:
        return "1 second ago"
    if seconds < 60:
        return f"{int(seconds)} seconds ago"
    minutes = int(seconds / 60)
    if minutes < 60:
        return "About a minute ago" if minutes == 1 else f"{minutes} minutes ago"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour ago"
    for limit, divisor, unit in _AGES:
        if hours < limit:
            return f"{hours // divisor} {unit} ago"
    return f"{int(seconds / 3600) // 24 // 365} years ago"


def timestamp(seconds: float, *, go: bool = False) -> str:
    """RFC 3339 in UTC, or with ``go`` as Go prints a ``time.Time``."""
    import time

    micro = round(seconds * 1_000_000)
    whole, part = divmod(micro, 1_000_000)
    fraction = f".{part:06}".rstrip("0") if part else ""
    if go:
        return time.strftime(f"%Y-%m-%d %H:%M:%S{fraction} +0000 UTC", time.gmtime(whole))
    return time.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z", time.gmtime(whole))


def table(rows: Sequence[Sequence[str]], gap: int = 3) -> str:
    """Lines of left-aligned columns; the last column of a row is not padded."""
    widths: list[int] = []
    for row in rows:
        widths.extend([0] * (len(row) - len(widths)))
        for index, cell in enumerate(row[:-1]):
            widths[index] = max(widths[index], len(cell))
    lines = []
    for row in rows:
        cells = [cell.ljust(width + gap) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join([*cells, *row[-1:]]) + "\n")
    return "".join(lines)
