"""File modes as ``chmod`` takes them: octal, and symbolic with umask 0. Pure."""

from __future__ import annotations

import re
import stat

from buildlib.errors import UsageError
from buildlib.oci.value import NamedTuple

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_AFFECTED = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_LETTERS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}


class Chmod(NamedTuple):
    """A change of modes: ``octal`` sets them, else the ``actions`` (who, operator, permissions) apply in order."""

    octal: int | None
    actions: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Chmod:
        """From ``0644`` or ``u=rwX,go=rX``; raises :class:`UsageError`."""
        if text and all(char in "01234567" for char in text):
            value = int(text, 8)
            if value <= 0o7777:
                return cls(value)
        actions: list[tuple[str, str, str]] = []
        for clause in text.split(","):
            match = _CLAUSE.fullmatch(clause)
            if match is None:
                raise UsageError(f"{text!r} is not a mode", hint="write it as 0644, or like u=rwX,go=rX")
            who = match[1].replace("a", "ugo") or "ugo"
            actions += [(who, op, what) for op, what in _ACTION.findall(match[2])]
        return cls(None, tuple(actions))

    def apply(self, mode: int) -> int:
        """The permission bits (12 of them) that a file of the full ``mode`` gets."""
        if self.octal is not None:
            return self.octal
        directory = stat.S_ISDIR(mode)
        bits = mode & 0o7777
        for who, operator, what in self.actions:
            bits = _act(bits, directory, who, operator, what)
        return bits


def _act(bits: int, directory: bool, who: str, operator: str, what: str) -> int:
    affected = 0
    for letter in who:
        affected |= _AFFECTED[letter]
    value = _value(bits, directory, what) & affected
    if operator == "+":
        return bits | value
    if operator == "-":
        return bits & ~value
    # As GNU chmod: "=" leaves setuid and setgid of a directory alone unless they are named.
    kept = 0o6000 & ~value if directory and "s" not in what else 0
    return bits & (~affected | kept) | value


def _value(bits: int, directory: bool, what: str) -> int:
    if what in _SHIFTS:
        return 0o111 * (bits >> _SHIFTS[what] & 7)
    value = 0
    for letter in what.replace("X", "x" if directory or bits & 0o111 else ""):
        value |= _LETTERS[letter]
    return value
