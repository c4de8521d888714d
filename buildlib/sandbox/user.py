"""Who runs: the words of USER turned into numbers, by the passwd and group files of the image, never the host's."""

from __future__ import annotations

import errno

from buildlib.errors import FormatError, NotFound, UsageError
from buildlib.linux.beneath import open_file
from buildlib.oci.value import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ID = (1 << 31) - 1
"""Ids above are refused, as runc does: signed 32-bit readers of such files would wrap them around."""

MAX_BYTES = 16 << 20
"""A passwd or group file larger than this is an attack on memory."""

_PASSWD, _GROUP = 7, 4
"""Fields in a line of passwd(5) and of group(5)."""


@frozen
class User:
    """Numbers for the kernel, home for the environment. ``name`` is None where passwd does not know the uid."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"
    name: str | None = None


def resolve_user(root_fd: int, words: str) -> User:
    """The :class:`User` for ``"user[:group]"`` (names or numbers, "" is root) in the tree below ``root_fd``.

    As docker has it: a number need not be in passwd and then has group 0 and home ``/``; the supplementary groups are
    those of /etc/group, unless a group is named. Raises :class:`NotFound` (kind "user" or "group"),
    :class:`UsageError`, :class:`FormatError`.
    """
    return find_user(words, read_text(root_fd, "/etc/passwd"), read_text(root_fd, "/etc/group"))


def find_user(words: str, passwd: str, group: str) -> User:
    """:func:`resolve_user` on the texts of passwd(5) and group(5)."""
    wanted, colon, wanted_group = words.partition(":")
    found = _first(passwd, wanted or "0", _PASSWD)
    if found is not None:
        uid, gid = _id(found[2]) or 0, _id(found[3]) or 0
        user = User(uid, gid, home=found[5] or "/", name=found[0])
    else:
        number = _number(wanted or "0")
        if number is None:
            raise NotFound(f"no user {wanted!r} in /etc/passwd of the container", kind="user", name=wanted)
        user = User(number)
    if colon and wanted_group:
        gid = find_group(wanted_group, group)
        return User(user.uid, gid, (), user.home, user.name)
    if user.name is None:
        return user
    member = (_id(fields[2]) for fields in _lines(group, _GROUP) if user.name in fields[3].split(","))
    more = tuple(number for number in member if number is not None)
    return User(user.uid, user.gid, more, user.home, user.name)


def find_group(wanted: str, group: str) -> int:
    """The gid of a group name or number in the text of group(5). Raises :class:`NotFound`, :class:`UsageError`."""
    found = _first(group, wanted, _GROUP)
    number = _id(found[2]) if found is not None else _number(wanted)
    if number is None:
        raise NotFound(f"no group {wanted!r} in /etc/group of the container", kind="group", name=wanted)
    return number


def read_text(root_fd: int, path: str) -> str:
    """A small text file of an image, "" where there is none. Nothing but a plain file is read.

    Raises :class:`FormatError` for one that is too large or is no file: a FIFO would block for ever.
    """
    try:
        fd = open_file(root_fd, path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return ""
        if error.errno == errno.EINVAL:
            raise FormatError(f"{path} of the container is not a file") from error
        raise FormatError(f"{path} of the container can't be read: {error.strerror}") from error
    with open(fd, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(f"{path} of the container is larger than {MAX_BYTES} bytes")
    return data.decode("utf-8", "surrogateescape")


def _first(text: str, wanted: str, width: int) -> list[str] | None:
    """The first line whose name or whose id is ``wanted``, as runc looks; lines with a damaged id don't count."""
    number = _number(wanted)
    for fields in _lines(text, width):
        own = _id(fields[2])
        if own is not None and (fields[0] == wanted or own == number):
            return fields
    return None


def _lines(text: str, width: int) -> Iterator[list[str]]:
    """The fields of each line that is not empty and no comment, padded to ``width``."""
    for line in text.split("\n"):
        if line.strip() and not line.startswith("#"):
            fields = line.rstrip("\r").split(":")
            yield fields + [""] * (width - len(fields))


def _number(word: str) -> int | None:
    """The id that ``word`` spells, None if it is a name. Raises :class:`UsageError` for one out of range."""
    if not (word.isascii() and word.isdigit()):
        return None
    if len(word) > 10 or int(word) > MAX_ID:
        raise UsageError(f"user and group ids go up to {MAX_ID}, not {word}")
    return int(word)


def _id(field: str) -> int | None:
    """The id in a field of a file, None for nonsense."""
    return int(field) if field.isascii() and field.isdigit() and len(field) <= 10 and int(field) <= MAX_ID else None
