"""From logical lines to statements (keyword, flags, arguments), by way of the ``dockerfile-parse`` library.

The library is a good splitter of what has one line per instruction, and wrong about continuations with empty lines,
doubled escapes, heredocs, a missing last line end and more. So it gets a Dockerfile of which all that is gone already:
one physical line per instruction, at its own line number, with a sentinel behind it, so that no rule for line ends can
apply. Its setters, its caches and its expansion of variables are never used.
"""

from __future__ import annotations

from bud.flags import Flag, split_flags
from bud.lines import BLANKS, Heredoc, LogicalLine, read_lines
from bud.words import trim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from bud.errors import DockerfileError
    from bud.lines import Source
else:
    from bud.value import NamedTuple

_SENTINEL = "."
_TO_PRIVATE_USE = {code: code - 0xDC80 + 0x10F780 for code in range(0xDC80, 0xDD00)}
"""The library insists on UTF-8: bytes that are not travel as private-use characters of the same number."""


class Statement(NamedTuple):
    """An instruction as text."""

    line: LogicalLine
    keyword: str
    """In capitals."""
    written: str
    """The keyword as it stands in the file."""
    flags: tuple[Flag, ...]
    args: str
    """What stands behind keyword and flags, trimmed."""
    args_offset: int
    """Where :attr:`args` begins in ``line.text``."""
    value: str
    """All that stands behind the keyword, trimmed."""
    heredocs: tuple[Heredoc, ...]

    def error(
        self, message: str, offset: int | None = None, *, expected: str | None = None, hint: str | None = None
    ) -> DockerfileError:
        """An error that points at ``offset`` in the line's text, else at the arguments."""
        if offset is None:
            offset = self.args_offset if self.args else 0
        return self.line.error(message, offset, expected=expected, hint=hint)


def parse(data: bytes | str, name: str = "Dockerfile") -> tuple[Source, tuple[Statement, ...]]:
    """Read a Dockerfile into statements. Raises :class:`bud.errors.DockerfileError`."""
    source = read_lines(data, name)
    return source, statements(source)


def statements(source: Source) -> tuple[Statement, ...]:
    """The statements of the logical lines of ``source``."""
    by_line = {line.line - 1: line for line in source.lines}
    found = []
    for item in _structure(sanitise(source)):
        if item["instruction"] == "COMMENT":
            continue
        line = by_line.pop(item["startline"])
        found.append(_statement(line, item["instruction"], item["value"].removesuffix(_SENTINEL)))
    if by_line:
        # Only a character that the library takes for a blank and we don't can hide a line from it.
        line = next(iter(by_line.values()))
        raise line.error("not an instruction", expected="an instruction")
    return tuple(found)


def sanitise(source: Source) -> bytes:
    """The Dockerfile that the library gets to see."""
    last = source.lines[-1].line
    physical = [""] * last
    if source.escape != "\\":
        # A directive always stands above the first instruction.
        physical[0] = f"# escape={source.escape}"
    for line in source.lines:
        physical[line.line - 1] = _spaced(line.text) + _SENTINEL
    text = "\n".join(physical) + "\n"
    if not text.isascii():
        text = text.translate(_TO_PRIVATE_USE)
    return text.encode("utf-8", "replace")


def _structure(data: bytes) -> list[dict[str, Any]]:
    from io import BytesIO

    from dockerfile_parse import DockerfileParser

    structure: list[dict[str, Any]] = DockerfileParser(fileobj=BytesIO(data), env_replace=False).structure
    return structure


def _spaced(text: str) -> str:
    """The library sees an instruction only where a blank follows the keyword."""
    return text if any(char in BLANKS for char in trim(text)) else text + " "


def _statement(line: LogicalLine, instruction: str, value: str) -> Statement:
    # The library's value always is the end of the text.
    text = _spaced(line.text)
    start = len(text) - len(value)
    written = text[:start].rstrip(BLANKS)
    if written.upper().translate(_TO_PRIVATE_USE) != instruction:
        odd = written[len(instruction) : len(instruction) + 1]
        hint = f"it holds U+{ord(odd):04X}, which is no blank here" if odd else None
        raise line.error(f"not an instruction: {written[:60]}", 0, expected="an instruction and a blank", hint=hint)
    flags, args_offset = split_flags(text, start)
    return Statement(
        line,
        written.upper(),
        written,
        tuple(flags),
        trim(text[args_offset:]),
        args_offset,
        trim(text[start:]),
        line.heredocs,
    )
