"""The two pattern languages of docker builds: Go's ``filepath.Match`` and ``.dockerignore`` with ``**`` and ``!``.

Pure: patterns and paths are text, no file system is ever looked at. Paths are relative, "/"-separated and clean.
"""

from __future__ import annotations

import posixpath
import re
from collections import namedtuple

from buildlib.errors import UsageError

_DEEP = "**"
_STAR = "*"
_ONE = "[^/]"
_PLAIN = re.compile(r"[^*?\[\\]*\Z")


def go_match(pattern: str, name: str) -> bool:
    r"""Whether ``pattern`` matches the whole of ``name``, by the rules of Go's ``path/filepath.Match``.

    ``*`` and ``?`` stop at "/"; ``[a-z]`` and ``[^a-z]`` are classes; ``\`` takes the next character literally; ``**``
    means no more than ``*``. Raises :class:`UsageError` when the pattern is malformed, whatever the name is.
    """
    regex = _glob_cache.get(pattern)
    if regex is None:
        if len(_glob_cache) > 1000:
            _glob_cache.clear()
        tokens = [_STAR if token == _DEEP else token for token in _tokens(pattern, deep=False)]
        regex = _glob_cache[pattern] = re.compile(_segment(tokens, last=True), re.DOTALL)
    return regex.fullmatch(name) is not None


def has_wildcard(pattern: str) -> bool:
    """Whether ``go_match`` would give any character of ``pattern`` a meaning beyond itself."""
    return _PLAIN.match(pattern) is None


_glob_cache: dict[str, re.Pattern[str]] = {}


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class _Pattern(NamedTuple):
        text: str
        negated: bool
        line: int
        source: str

    class _Verdict(NamedTuple):
        pattern: IgnorePattern | None
        hits: int
else:
    _Pattern = namedtuple("_Pattern", "text negated line source")
    _Verdict = namedtuple("_Verdict", "pattern hits")


class IgnorePattern(_Pattern):
    """One line of an ignore file: its ``text``, cleaned, without "!" and leading "/", and whether it is ``negated``.

    ``line`` is its line in the file, from 1; 0 when it comes from a flag. ``source`` is the name of either.
    """

    __slots__ = ()

    def __str__(self) -> str:
        where = f"line {self.line} of {self.source}" if self.line else self.source
        return f"{'!' if self.negated else ''}{self.text} ({where})"


class Verdict(_Verdict):
    """What the patterns say about one path: the pattern that decided, and which patterns reach what lies below."""

    __slots__ = ()

    @property
    def excluded(self) -> bool:
        """Whether the path is left out."""
        return self.pattern is not None and not self.pattern.negated


class IgnorePatterns:
    """An ordered list of patterns of which the last that matches decides.

    A pattern matches a path when it matches the path or any directory above it, each pattern for itself: so ``!a/b``
    brings back ``a/b`` although ``a`` is excluded. As docker's patternmatcher does it, except that ``^`` outside of a
    class is an ordinary character (there it is one only in patterns without wildcards).
    """

    __slots__ = ("_any", "_regexes", "patterns")

    def __init__(self, patterns: tuple[IgnorePattern, ...] = ()) -> None:
        self.patterns = patterns
        self._any: re.Pattern[str] | None = None
        self._regexes: list[re.Pattern[str]] = []

    @classmethod
    def parse(cls, text: str | bytes, *, source: str = ".dockerignore") -> IgnorePatterns:
        """Read an ignore file: ``#`` comments at column 0, blanks trimmed, paths cleaned, a leading "/" dropped.

        Raises :class:`UsageError`, naming the line, for a lone ``!`` and for a malformed pattern.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        lines = text.removeprefix("\ufeff").split("\n")
        found = [
            _parse_pattern(line, number, source)
            for number, line in enumerate(lines, 1)
            if not line.startswith("#") and line.strip()
        ]
        return cls(tuple(found))

    @classmethod
    def of(cls, patterns: tuple[str, ...] | list[str], *, source: str = "--exclude") -> IgnorePatterns:
        """The same from flags: no comments, no lines."""
        return cls(tuple(_parse_pattern(text, 0, source) for text in patterns if text.strip()))

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, path: str) -> bool:
        """Whether ``path`` is left out."""
        return self.verdict(path).excluded

    def why(self, path: str) -> IgnorePattern | None:
        """The pattern that leaves ``path`` out, or None when it stays."""
        verdict = self.verdict(path)
        return verdict.pattern if verdict.excluded else None

    def verdict(self, path: str) -> Verdict:
        """The full answer for ``path``; a walk is faster with :meth:`below`."""
        found = Verdict(None, 0)
        if path in ("", "."):
            return found
        end = path.find("/")
        while end != -1:
            found = self.below(found, path[:end])
            end = path.find("/", end + 1)
        return self.below(found, path)

    def below(self, parent: Verdict, path: str) -> Verdict:
        """The answer for ``path``, given the one for its directory (``Verdict(None, 0)`` at the root)."""
        if self._any is None:
            self._any = self._compile()
        if self._any.fullmatch(path) is None:
            return parent
        hits = parent.hits
        for index, regex in enumerate(self._regexes):
            if regex.fullmatch(path) is not None:
                hits |= 1 << index
        return Verdict(self.patterns[hits.bit_length() - 1], hits)

    def may_prune(self, directory: str) -> bool:
        """Whether a walk may skip ``directory``: it is left out and no ``!`` pattern could bring back what is below."""
        verdict = self.verdict(directory)
        if not verdict.excluded:
            return False
        return not any(pattern.negated and _may_reach(pattern.text, directory) for pattern in self.patterns)

    def _compile(self) -> re.Pattern[str]:
        sources = [_ignore_regex(pattern.text) for pattern in self.patterns]
        self._regexes = [re.compile(source, re.DOTALL) for source in sources]
        return re.compile("|".join(f"(?:{source})" for source in sources) or "(?!)", re.DOTALL)


def clean(path: str) -> str:
    """``path`` without "." and "//" and with ".." resolved by name, as Go's ``path.Clean`` does it; "" becomes "."."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _parse_pattern(line: str, number: int, source: str) -> IgnorePattern:
    text = line.strip()
    negated = text.startswith("!")
    if negated:
        text = text[1:].strip()
        if not text:
            where = f"line {number} of {source}" if number else source
            raise UsageError(f'illegal exclusion pattern "!" in {where}', hint='write "!" and the path to keep')
    text = clean(text)
    if len(text) > 1:
        text = text.removeprefix("/")
    pattern = IgnorePattern(text, negated, number, source)
    try:
        _tokens(text, deep=True)
    except UsageError as error:
        raise UsageError(f"{error.message} in {pattern}") from None
    return pattern


def _may_reach(pattern: str, directory: str) -> bool:
    """Whether ``pattern`` could match ``directory``, something above it or something below it."""
    for wanted, have in zip(pattern.split("/"), directory.split("/"), strict=False):
        # A class may hold a "/" and so may have been cut in two: then anything is possible.
        if _DEEP in wanted or "[" in wanted:
            return True
        if not go_match(wanted, have):
            return False
    return True


def _tokens(pattern: str, *, deep: bool) -> list[str]:
    """Cut a pattern into ``**`` (with the "/" behind it), ``*`` and regular expressions of one character each."""
    tokens: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            stars = _STAR
            if pattern.startswith("*", at):
                at += 1
                stars = _DEEP
                if deep and pattern.startswith("/", at):
                    at += 1
                    stars = "**/"
            tokens.append(stars)
        elif char == "?":
            tokens.append(_ONE)
        elif char == "[":
            token, at = _class(pattern, at)
            tokens.append(token)
        elif char == "\\":
            if at == len(pattern):
                raise UsageError(f"malformed pattern {pattern!r}: nothing follows the last backslash")
            tokens.append(re.escape(pattern[at]))
            at += 1
        else:
            tokens.append(re.escape(char))
    return tokens


def _class(pattern: str, at: int) -> tuple[str, int]:
    """Read a character class whose "[" lies before ``at``; return its regular expression and where it ends."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    count = 0
    while not (count and pattern.startswith("]", at)):
        low, at = _class_char(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_char(pattern, at + 1)
        count += 1
        if low <= high:  # Go lets a range that is the wrong way round match nothing.
            ranges.append(f"{_in_class(low)}-{_in_class(high)}")
    if not ranges:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if at < len(pattern) and pattern[at] not in "-]":
        at += pattern[at] == "\\"
        # A class needs its "]": whatever is read here may not be the end.
        if at + 1 < len(pattern):
            return pattern[at], at + 1
    raise UsageError(f"malformed pattern {pattern!r}: a character class is empty, open or has half a range")


def _in_class(char: str) -> str:
    return "\\" + char if char in "\\]^-[&~|" else char


def _segment(tokens: list[str], *, last: bool) -> str:
    """Regular expression for tokens without ``**``.

    What lies between two stars has a fixed length, so that its first match is as good as any: an atomic group
    forbids going back to it. That keeps matching linear, whatever pattern a hostile ignore file holds.
    """
    chunks: list[list[str]] = [[]]
    for token in tokens:
        if token == _STAR:
            chunks.append([])
        else:
            chunks[-1].append(token)
    parts = ["".join(chunks[0])]
    stars = [(index, "".join(chunk)) for index, chunk in enumerate(chunks[1:], 1)]
    for index, chunk in stars:
        if index == len(chunks) - 1 and (last or not chunk):
            parts.append(f"[^/]*{chunk}")
        elif chunk:
            parts.append(f"(?>[^/]*?{chunk})")
    return "".join(parts)


def _ignore_regex(pattern: str) -> str:
    tokens = _tokens(pattern, deep=True)
    plain_tail = not any(token == _STAR or token.startswith((_DEEP, "[", "(?", ".")) for token in tokens[1:])
    if tokens and tokens[0] == _DEEP and len(tokens) > 1 and plain_tail and "\\" not in pattern:
        # docker takes "**name" without further wildcards as "ends with name".
        return ".*" + "".join(tokens[1:])
    parts: list[str] = []
    segment: list[str] = []
    opened = False  # inside "(?:(?:.*?/)??", which ends with the segment
    for index, token in enumerate(tokens):
        if not token.startswith(_DEEP):
            segment.append(token)
            continue
        at_end = index == len(tokens) - 1
        _close(parts, segment, opened, last=False)
        segment, opened = [], not at_end
        if at_end:
            parts.append(".*")
    if segment or opened:
        _close(parts, segment, opened, last=True)
    return "".join(parts)


def _close(parts: list[str], segment: list[str], deep: bool, *, last: bool) -> None:
    """Append a segment; a deep one is one that any number of directories may precede.

    When a deep segment ends with "/", the next ``**`` can bridge to every later place: its first match is as good as
    any, so it may be atomic (see :func:`_segment`).
    """
    body = _segment(segment, last=last)
    if not deep:
        parts.append(body)
    elif not segment:
        parts.append("" if not last else "(?:.*/)?")
    elif last or segment[-1] != "/":
        parts.append(f"(?:.*/)?{body}")
    else:
        parts.append(f"(?>(?:.*?/)??{body})")
