"""From the bytes of a Dockerfile to logical lines: directives, comments, continuations, heredoc bodies.

Knows the keywords that may carry a heredoc, and nothing else about instructions.
"""

from __future__ import annotations

import re

from bud.errors import DockerfileError, visible
from bud.flags import split_flags
from bud.words import WordError, expand, is_space, trim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from bud.value import NamedTuple

BLANKS = "\t\v\f\r "
"""What separates a keyword from its arguments, and arguments that are not shell words from each other."""

_DIRECTIVE = r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z"
_HEREDOC = r"([0-9]*)<<(-?)[\t\v\f\r ]*([^<]*)\Z"
_HEREDOC_SIGN = r"[0-9]*<<-?\Z"
_LEADING_TABS = r"(?m)^\t+"
_DIRECTIVES = ("syntax", "escape", "check")


class Heredoc(NamedTuple):
    """One ``<<WORD`` and its body."""

    name: str
    expand: bool
    """Whether the body's ``$name`` are to be expanded: no part of the word was quoted."""
    chomp: bool
    """``<<-``: tabs at the start of the body's lines do not count."""
    fd: str
    """The digits before ``<<``, mostly ""."""
    body: str = ""
    """As it stands in the file, with its line ends."""
    line: int = 0
    """Where the body begins."""
    spaced: bool = False
    """Whether there was a blank behind the ``<<``."""

    def text(self) -> str:
        """The body as a file or a shell shall get it."""
        return re.sub(_LEADING_TABS, "", self.body) if self.chomp else self.body


class LogicalLine(NamedTuple):
    """One instruction's text, its physical lines joined."""

    source: Source
    text: str
    """Without the leading blanks of the first physical line; nothing else is trimmed."""
    line: int
    end_line: int
    """The last physical line, of the last heredoc's body too."""
    pieces: tuple[tuple[int, int, int], ...]
    """Where it comes from: (offset in ``text``, physical line, column from 0), ascending."""
    comments: tuple[str, ...] = ()
    """The comment lines directly above."""
    blank_lines: tuple[int, ...] = ()
    """Empty physical lines inside the continuation; they are an old sin and worth a warning."""
    heredocs: tuple[Heredoc, ...] = ()

    def error(
        self, message: str, offset: int = 0, *, expected: str | None = None, hint: str | None = None
    ) -> DockerfileError:
        """An error that points at ``offset`` in :attr:`text`."""
        line, column = self.line, 0
        for start, physical, first in self.pieces:
            if start <= offset:
                line, column = physical, first + offset - start
        return self.source.error(message, line, column, expected=expected, hint=hint)


class Source:
    """A Dockerfile's text, cut up."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        """The name for messages."""
        self.physical = text.split("\n")
        """The physical lines; a "\\r" at the end is still there."""
        self.escape = "\\"
        self.directives: dict[str, str] = {}
        self.lines: tuple[LogicalLine, ...] = ()

    def error(
        self,
        message: str,
        line: int | None = None,
        column: int | None = None,
        *,
        expected: str | None = None,
        hint: str | None = None,
    ) -> DockerfileError:
        """An error at a physical line (from 1) and column (from 0)."""
        text = None
        if line is not None and 1 <= line <= len(self.physical):
            text = self.physical[line - 1].rstrip("\r")
        message = visible(message)
        return DockerfileError(
            f"{self.name}:{line}: {message}" if line is not None else f"{self.name}: {message}",
            hint=hint,
            file=self.name,
            line=line,
            column=None if column is None else column + 1,
            text=text,
            expected=expected,
        )


def read_lines(data: bytes | str, name: str = "Dockerfile") -> Source:
    """Cut the content of a Dockerfile into logical lines.

    Bytes that are not UTF-8 are kept (as surrogates, see :pep:`383`). Raises :class:`DockerfileError` for what is
    wrong on this level: bad directives, a heredoc that does not end, a file that holds no text or no instruction.
    """
    if isinstance(data, bytes):
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Source(name, "").error("the file is UTF-16", hint="save it as UTF-8")
        data = data.decode("utf-8", "surrogateescape")
    source = Source(name, data.removeprefix("\ufeff"))
    lines = _Reader(source).read()
    if not lines:
        raise source.error("the file has no instructions", expected="FROM")
    source.lines = lines
    return source


class _Reader:
    """Walks over the physical lines once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.at = 0
        # A file that ends with a line end has no further, empty line.
        self.end = len(source.physical) - (source.physical[-1] == "")
        self.directives_may_come = True
        self.continues = _continuation(source.escape)

    def read(self) -> tuple[LogicalLine, ...]:
        lines: list[LogicalLine] = []
        comments: list[str] = []
        while self.at < self.end:
            stripped = _lstrip(self.source.physical[self.at].rstrip("\r"))
            if stripped.startswith("#"):
                if not self.directive(stripped):
                    comments.append(trim(stripped[1:]))
                self.at += 1
                continue
            self.directives_may_come = False
            if not stripped:
                comments = []
                self.at += 1
                continue
            line = self.logical(tuple(comments))
            comments = []
            if trim(line.text):
                lines.append(self.with_heredocs(line))
        return tuple(lines)

    def directive(self, stripped: str) -> bool:
        """Take a comment line as a directive, if it is one."""
        if not self.directives_may_come:
            return False
        match = re.match(_DIRECTIVE, stripped)
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            self.directives_may_come = False
            return False
        if name in self.source.directives:
            raise self.source.error(f"only one {name} directive can be used", self.at + 1, 0)
        self.source.directives[name] = match[2]
        if name == "escape":
            if match[2] not in ("\\", "`"):
                message = f"invalid escape character {match[2]!r}"
                raise self.source.error(message, self.at + 1, 0, expected="\\ or `")
            self.source.escape = match[2]
            self.continues = _continuation(match[2])
        return True

    def logical(self, comments: tuple[str, ...]) -> LogicalLine:
        """Join the physical lines of one instruction."""
        began = self.at + 1
        parts: list[str] = []
        pieces: list[tuple[int, int, int]] = []
        blanks: list[int] = []
        length = 0
        more = True
        while more and self.at < self.end:
            physical = self.source.physical[self.at].rstrip("\r")
            self.at += 1
            stripped = _lstrip(physical)
            if parts and stripped.startswith("#"):
                continue
            if parts and not stripped:
                blanks.append(self.at)
                continue
            text = physical if parts else stripped
            match = self.continues.search(text)
            more = match is not None
            if match is not None:
                text = text[: match.start()]
            pieces.append((length, self.at, len(physical) - len(stripped) if not parts else 0))
            parts.append(text)
            length += len(text)
        line = LogicalLine(self.source, "".join(parts), began, self.at, tuple(pieces), comments, tuple(blanks))
        if "\0" in line.text:
            raise line.error("a NUL byte", line.text.index("\0"), expected="text", hint="is this a Dockerfile?")
        return line

    def with_heredocs(self, line: LogicalLine) -> LogicalLine:
        """Lift the bodies of the line's heredocs out of the file."""
        if "<<" not in line.text or not _may_have_heredoc(line.text):
            return line
        found: list[Heredoc] = []
        for heredoc in heredocs_of(line):
            first = self.at
            if self.terminator(heredoc):
                body = "".join(text + "\n" for text in self.source.physical[first : self.at - 1])
                found.append(heredoc._replace(body=body, line=first + 1))
            elif heredoc.spaced:
                # "$((1 << 2))" looks like one, and is none when no line ends it.
                self.at = first
            else:
                offset = max(line.text.find("<<"), 0)
                expected = f"a line {heredoc.name}"
                raise line.error(f"the heredoc <<{heredoc.name} is not terminated", offset, expected=expected)
        return line._replace(heredocs=tuple(found), end_line=self.at)

    def terminator(self, heredoc: Heredoc) -> bool:
        """Go to the line behind the one that ends a heredoc; False if there is none."""
        while self.at < self.end:
            text = self.source.physical[self.at].rstrip("\r")
            self.at += 1
            if (text.lstrip("\t") if heredoc.chomp else text) == heredoc.name:
                return True
        return False


def heredocs_of(line: LogicalLine) -> list[Heredoc]:
    """The heredocs that a line announces, without their bodies."""
    try:
        words = expand(line.text, {}, raw_quotes=True, raw_escapes=True, keep_unset=True).words
    except WordError:
        # docker looks for heredocs only where the quotes are balanced.
        return []
    found = []
    for word in join_heredoc_signs(words):
        try:
            heredoc = parse_heredoc(word)
        except WordError as error:
            raise line.error(error.message, max(line.text.find(word), 0), expected="a word after <<") from None
        if heredoc is not None:
            found.append(heredoc._replace(spaced=word not in words))
    return found


def join_heredoc_signs(words: tuple[str, ...]) -> list[str]:
    """Put a ``<<`` that stands alone together with the word behind it."""
    joined: list[str] = []
    for word in words:
        if joined and re.match(_HEREDOC_SIGN, joined[-1]):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def parse_heredoc(word: str) -> Heredoc | None:
    """Read ``[fd]<<[-]WORD``; None when ``word`` is something else. Raises :class:`bud.words.WordError`."""
    match = re.match(_HEREDOC, word)
    if match is None or not match[3]:
        return None
    fd, dash, rest = match.groups()
    words = expand(rest, {}, keep_unset=True).words
    raw = expand(rest, {}, keep_unset=True, raw_quotes=True, raw_escapes=True).words
    if len(words) != 1 or len(raw) != 1:
        return None
    return Heredoc(words[0], words[0] == raw[0], dash == "-", fd)


def split_keyword(text: str) -> tuple[str, int]:
    """The first word of ``text`` and where its arguments begin."""
    end = 0
    while end < len(text) and text[end] not in BLANKS:
        end += 1
    start = end
    while start < len(text) and text[start] in BLANKS:
        start += 1
    return text[:end], start


def _may_have_heredoc(text: str) -> bool:
    keyword, start = split_keyword(text)
    if keyword.upper() == "ONBUILD":
        _flags, start = split_flags(text, start)
        text = text[start:]
        keyword, start = split_keyword(text)
    if keyword.upper() not in ("RUN", "COPY", "ADD"):
        return False
    _flags, start = split_flags(text, start)
    rest = text[start:]
    if not rest.startswith("["):
        return True
    from bud.arrays import NotStrings, parse_array

    try:
        return parse_array(rest) is None
    except NotStrings:
        # Who reads the arguments will refuse it.
        return False


def _continuation(escape: str) -> re.Pattern[str]:
    """What says at the end of a line that it goes on: one escape character, but not two."""
    char = re.escape(escape)
    return re.compile(rf"(?<!{char}){char}[ \t]*\Z")


def _lstrip(text: str) -> str:
    at = 0
    while at < len(text) and is_space(text[at]):
        at += 1
    return text[at:]
