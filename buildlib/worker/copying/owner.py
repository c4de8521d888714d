"""Whom ``--chown`` names: numbers directly, names as the container's own passwd and group files have them. Pure."""

from __future__ import annotations

from buildlib.errors import CopyError

_HINT = "create it first, or use a number"

MAX_ID = 2**32 - 2
"""2**32 - 1 means "leave it" to chown(2)."""


def needs_files(chown: str) -> bool:
    """Whether ``chown`` holds a name that has to be looked up (``root`` has not)."""
    return any(part and part != "root" and not _is_number(part) for part in chown.split(":", 1))


def resolve(chown: str, passwd: str, group: str) -> tuple[int, int]:
    """The user and group ids of ``user[:group]``, given the texts of ``/etc/passwd`` and ``/etc/group``.

    A number without a group stands for both (``55`` is ``55:55``); a name without a group takes the primary group of
    its user. A name that is unknown raises :class:`CopyError`: docker's documentation asks for that, though its code
    silently takes 0.
    """
    user, _, group_name = chown.partition(":")
    uid, primary = _user(user, passwd)
    if not group_name:
        return uid, primary
    if group_name == "root":
        return uid, 0
    if _is_number(group_name):
        return uid, _number(group_name)
    for fields in _lines(group, 3):
        if fields[0] == group_name:
            return uid, _number(fields[2])
    raise CopyError(f"chown {chown}: the container has no group {group_name!r}", hint=_HINT, path=chown)


def _user(user: str, passwd: str) -> tuple[int, int]:
    if user in ("", "root"):
        return 0, 0
    if _is_number(user):
        return _number(user), _number(user)
    for fields in _lines(passwd, 4):
        if fields[0] == user:
            return _number(fields[2]), _number(fields[3])
    raise CopyError(f"chown {user}: the container has no user {user!r}", hint=_HINT, path=user)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(text: str) -> int:
    if not _is_number(text) or int(text) > MAX_ID:
        raise CopyError(f"{text!r} is not a user or group id", path=text)
    return int(text)


def _lines(text: str, least: int) -> list[list[str]]:
    return [fields for line in text.split("\n") if len(fields := line.split(":")) >= least]
