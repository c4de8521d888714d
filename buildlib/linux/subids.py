"""Which ids a user may use inside a user namespace: its own, and those that subuid(5) and subgid(5) give it.

It reads the files and finds the two programs that may write such maps; it enters nothing.
"""

from __future__ import annotations

import os

from buildlib.oci.value import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    Map = tuple[tuple[int, int, int], ...]
    """Triples (first id inside, first id outside, count)."""

FILES = ("/etc/subuid", "/etc/subgid")
PROGRAMS = ("newuidmap", "newgidmap")

_PATH = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/run/wrappers/bin")
"""Where distributions put setuid programs; what else a PATH holds could be anybody's."""


class Maps(NamedTuple):
    """The id maps of a user namespace of one's own: root inside is the user outside."""

    uids: Map
    gids: Map

    @property
    def single(self) -> bool:
        """Whether there is no id but the user's own."""
        return sum(count for _, _, count in self.uids) == 1 or sum(count for _, _, count in self.gids) == 1


def own(uid: int, gid: int) -> Maps:
    """The maps that everybody may write: one id each."""
    return Maps(((0, uid, 1),), ((0, gid, 1),))


def with_subordinates(uid: int, gid: int, name: str | None) -> Maps:
    """The maps with all subordinate ids of the user, in order; those of :func:`own` where it has none.

    Root without CAP_SYS_ADMIN, as in a container, needs none: it may map all the ids that there are to themselves.
    """
    if uid == gid == 0:
        return Maps(_all("uid"), _all("gid"))
    texts = [_text(path) for path in FILES]
    return Maps(*(_map(first, parse(text, uid, name)) for first, text in zip((uid, gid), texts, strict=True)))


def _all(kind: str) -> Map:
    """Each id of this user namespace as itself; not quite all, so that it can be told from that of the machine."""
    fields = [int(word) for word in _text(f"/proc/self/{kind}_map").split()]
    return tuple((first, first, min(count, 0xFFFFFFFE)) for first, count in zip(fields[::3], fields[2::3], strict=True))


def parse(text: str, uid: int, name: str | None) -> tuple[tuple[int, int], ...]:
    """The ranges (first, count) that a subuid(5) file gives to a user, by its name or by its number."""
    found = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner in (name, str(uid)) and first.isdigit() and count.isdigit() and int(count):
            found.append((int(first), int(count)))
    return tuple(dict.fromkeys(found))


def unused(count: int = 65536) -> int:
    """The first id of a range that no line of either file touches, at 100000 or above, as useradd(8) chooses them."""
    taken = []
    for path in FILES:
        for line in _text(path).splitlines():
            _, _, rest = line.strip().partition(":")
            first, _, number = rest.partition(":")
            if first.isdigit() and number.isdigit():
                taken.append((int(first), int(first) + int(number)))
    start = 100_000
    for begin, end in sorted(taken):
        if begin < start + count and end > start:
            start = end
    return start


def command_for_more(uid: int) -> str:
    """What root has to run so that the user has subordinate ids."""
    first = unused()
    ids = f"{first}-{first + 65535}"
    return f"sudo usermod --add-subuids {ids} --add-subgids {ids} {user_name(uid) or uid}"


def _map(first: int, ranges: tuple[tuple[int, int], ...]) -> Map:
    lines, inside = [(0, first, 1)], 1
    for start, count in ranges:
        lines.append((inside, start, count))
        inside += count
    return tuple(lines)


def program(name: str) -> str | None:
    """The path of newuidmap or newgidmap, or None."""
    return next((path for folder in _PATH if os.access(path := f"{folder}/{name}", os.X_OK)), None)


def user_name(uid: int) -> str | None:
    """The user's name in passwd(5), which newuidmap demands that it has; None where it is not there."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
