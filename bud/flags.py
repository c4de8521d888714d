"""The ``--name=value`` flags between an instruction's keyword and its arguments."""

from __future__ import annotations

from bud.words import is_space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NamedTuple
else:
    from bud.value import NamedTuple

BOOL = "bool"
ONE = "one"
MANY = "many"


class Flag(NamedTuple):
    """One flag as written, its quotes and escapes resolved."""

    text: str
    offset: int


class FlagError(ValueError):
    """A flag that the instruction does not take; ``offset`` is where it stands."""

    def __init__(self, message: str, offset: int, *, expected: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.expected = expected
        self.hint = hint


def split_flags(text: str, at: int) -> tuple[list[Flag], int]:
    """The flags of ``text`` from ``at`` on, and where the arguments behind them begin.

    A word that does not begin with ``--`` ends them; so does a ``--``, which is dropped.
    """
    flags: list[Flag] = []
    while True:
        while at < len(text) and is_space(text[at]):
            at += 1
        if not text.startswith("--", at):
            return flags, at
        began = at
        word, at = _flag_word(text, at)
        if word == "--":
            while at < len(text) and is_space(text[at]):
                at += 1
            return flags, at
        flags.append(Flag(word, began))


def _flag_word(text: str, at: int) -> tuple[str, int]:
    """Read up to a blank outside of quotes. The escape character is a backslash whatever the directive says."""
    word: list[str] = []
    quote = ""
    while at < len(text):
        char = text[at]
        if not quote and is_space(char):
            break
        at += 1
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == "\\":
            word.append(text[at : at + 1])
            at += 1
        else:
            word.append(char)
    return "".join(word), min(at, len(text))


class Flags:
    """The flags of one instruction, checked against what it takes."""

    def __init__(self, flags: list[Flag], takes: Mapping[str, str], keyword: str) -> None:
        self.values: dict[str, list[str]] = {}
        self.offsets: dict[str, list[int]] = {}
        for flag in flags:
            name, equals, value = flag.text[2:].partition("=")
            kind = takes.get(name)
            if kind is None:
                raise _unknown(name, takes, keyword, flag.offset)
            if name in self.values and kind != MANY:
                raise FlagError(f"--{name} is given twice", flag.offset)
            if kind == BOOL:
                value = value.lower() if equals else "true"
                if value not in ("true", "false"):
                    raise FlagError(f"--{name}={value} is not a boolean", flag.offset, expected="true or false")
            elif not equals:
                raise FlagError(f"--{name} has no value", flag.offset, expected=f"--{name}=…")
            self.values.setdefault(name, []).append(value)
            self.offsets.setdefault(name, []).append(flag.offset)

    def one(self, name: str) -> str:
        """The value of a flag, "" when it is not given."""
        return self.values.get(name, [""])[0]

    def many(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be repeated."""
        return tuple(self.values.get(name, ()))

    def on(self, name: str) -> bool:
        """Whether a boolean flag is given and true."""
        return self.one(name) == "true"

    def given(self, name: str) -> bool | None:
        """A boolean flag whose absence means something of its own."""
        return self.on(name) if name in self.values else None

    def offset(self, name: str, which: int = 0) -> int:
        """Where a flag stands; 0 when it is not given."""
        return self.offsets.get(name, [0])[which]


def _unknown(name: str, takes: Mapping[str, str], keyword: str, offset: int) -> FlagError:
    from bud.errors import did_you_mean

    if not takes:
        return FlagError(f"{keyword} takes no flags, but got --{name}", offset)
    hint = did_you_mean(f"--{name}", [f"--{known}" for known in takes])
    expected = ", ".join(f"--{known}" for known in takes)
    return FlagError(f"{keyword} has no flag --{name}", offset, expected=expected, hint=hint)
