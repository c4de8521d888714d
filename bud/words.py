"""The lexer of shell words: quotes, escapes and ``$name``; it knows nothing of Dockerfiles.

The grammar is docker's: like sh, with ``${x:-w} ${x:+w} ${x:?w} ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/w} ${x//p/w}``.
Nothing is ever executed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NamedTuple
else:
    from bud.value import NamedTuple

_SPECIAL_PARAMETERS = frozenset("@*#?-$!0")
_MAX_DEPTH = 60
"""Each ``${…}`` inside another costs a few frames of Python's stack; nobody nests deeper than two."""


class WordError(ValueError):
    """A word that can't be read or expanded; ``offset`` is where in it."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Expansion(NamedTuple):
    """What became of a text."""

    text: str
    words: tuple[str, ...]
    """``text`` split at blanks that were not quoted; an empty word vanishes, quoted or not."""
    used: frozenset[str]
    """Names that were looked up and found."""
    missing: frozenset[str]
    """Names that were looked up and not found."""


def is_space(char: str) -> bool:
    """What Go calls a space: Unicode's white space without the four ASCII separators that Python adds."""
    return char.isspace() and not "\x1c" <= char <= "\x1f"


def trim(text: str) -> str:
    """``text`` without spaces (see :func:`is_space`) at its ends."""
    start, end = 0, len(text)
    while start < end and is_space(text[start]):
        start += 1
    while end > start and is_space(text[end - 1]):
        end -= 1
    return text[start:end]


def expand(
    text: str,
    variables: Mapping[str, str],
    *,
    escape: str = "\\",
    raw_quotes: bool = False,
    raw_escapes: bool = False,
    keep_unset: bool = False,
    quotes: bool = True,
) -> Expansion:
    """Expand ``text``: remove quotes and escapes, put in the values of ``variables``, split into words.

    ``escape`` is the escape character. ``raw_quotes`` and ``raw_escapes`` leave quote and escape characters where they
    are (what they protect stays protected); ``keep_unset`` leaves references to unknown names as they are; without
    ``quotes`` quote characters mean nothing. An unknown name otherwise becomes "". Raises :class:`WordError`.
    """
    if "$" not in text and escape not in text and (not quotes or ('"' not in text and "'" not in text)):
        return Expansion(text, _plain_words(text), _NOTHING, _NOTHING)
    lexer = _Lexer(text, variables, escape, raw_quotes, raw_escapes, keep_unset, quotes)
    return lexer.run()


def split(text: str, escape: str = "\\") -> list[tuple[str, int]]:
    """Split ``text`` at blanks outside of quotes: the words, quotes and escapes still in them, and where they begin.

    An escape character at the very end is dropped. A quote that is left open holds the rest.
    """
    words: list[tuple[str, int]] = []
    word: list[str] = []
    began, quote, quoted = -1, "", False
    at = 0
    while at < len(text):
        char = text[at]
        if not quote and is_space(char):
            if began != -1 and (word or quoted):
                words.append(("".join(word), began))
            word, began, quoted = [], -1, False
            at += 1
            continue
        if began == -1:
            began = at
        at += 1
        if char == escape and quote != "'":
            if at == len(text):
                break
            word.append(char + text[at])
            at += 1
            continue
        if quote:
            if char == quote:
                quote = ""
        elif char in "'\"":
            quote, quoted = char, True
        word.append(char)
    if began != -1 and (word or quoted):
        words.append(("".join(word), began))
    return words


_NOTHING: frozenset[str] = frozenset()


def _plain_words(text: str) -> tuple[str, ...]:
    words = text.split()
    if text.isascii() and not any("\x1c" <= char <= "\x1f" for char in text):
        return tuple(words)
    splitter = _Words()
    for char in text:
        splitter.add(char)
    return splitter.finish()


class _Words:
    """Collects the words while the text goes by."""

    __slots__ = ("current", "inside", "words")

    def __init__(self) -> None:
        self.words: list[str] = []
        self.current: list[str] = []
        self.inside = False

    def add(self, text: str) -> None:
        """Text of which blanks separate words."""
        for char in text:
            if not is_space(char):
                self.current.append(char)
                self.inside = True
            elif self.inside and self.current:
                self.words.append("".join(self.current))
                self.current = []
                self.inside = False

    def add_quoted(self, text: str) -> None:
        """Text of which blanks are part of the word."""
        if text:
            self.current.append(text)
        self.inside = True

    def finish(self) -> tuple[str, ...]:
        if self.current:
            self.words.append("".join(self.current))
            self.current = []
        return tuple(self.words)


class _Lexer:
    """One pass over one text."""

    def __init__(
        self,
        text: str,
        variables: Mapping[str, str],
        escape: str,
        raw_quotes: bool,
        raw_escapes: bool,
        keep_unset: bool,
        quotes: bool,
    ) -> None:
        self.text = text
        self.at = 0
        self.variables = variables
        self.escape = escape
        self.raw_quotes = raw_quotes
        self.raw_escapes = raw_escapes
        self.keep_unset = keep_unset
        self.specials: dict[str, Callable[[], str]] = {"$": self.dollar}
        if quotes:
            self.specials["'"] = self.single_quote
            self.specials['"'] = self.double_quote
        self.depth = 0
        self.used: set[str] = set()
        self.missing: set[str] = set()

    def run(self) -> Expansion:
        text, words = self.until("", self.raw_escapes)
        return Expansion(text, words, frozenset(self.used), frozenset(self.missing))

    def peek(self) -> str:
        """The next character, "" at the end."""
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def fail(self, message: str, at: int | None = None) -> WordError:
        return WordError(message, min(self.at if at is None else at, len(self.text)))

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, tuple[str, ...]]:
        """Read up to the character ``stop``, or to the end when it is ""."""
        began = self.at
        outer, self.raw_escapes = self.raw_escapes, raw_escapes
        result: list[str] = []
        words = _Words()
        while (char := self.peek()) != "":
            if char == stop:
                self.at += 1
                self.raw_escapes = outer
                return "".join(result), words.finish()
            special = self.specials.get(char)
            if special is not None:
                value = special()
                result.append(value)
                (words.add if char == "$" else words.add_quoted)(value)
                continue
            self.at += 1
            if char == self.escape:
                if raw_escapes:
                    words.add_quoted(char)
                    result.append(char)
                char = self.take()
                if char == "":
                    break
                words.add_quoted(char)
            else:
                words.add(char)
            result.append(char)
        if stop:
            raise self.fail(f"no matching {stop}", began)
        self.raw_escapes = outer
        return "".join(result), words.finish()

    def single_quote(self) -> str:
        began = self.at
        end = self.text.find("'", began + 1)
        if end == -1:
            raise self.fail("no matching single quote", began)
        self.at = end + 1
        return self.text[began : end + 1] if self.raw_quotes else self.text[began + 1 : end]

    def double_quote(self) -> str:
        began = self.at
        opening = self.take()
        result = [opening] if self.raw_quotes else []
        while True:
            char = self.peek()
            if char == "":
                raise self.fail("no matching double quote", began)
            if char == "$":
                result.append(self.dollar())
                continue
            self.at += 1
            if char == '"':
                if self.raw_quotes:
                    result.append(char)
                return "".join(result)
            if char == self.escape:
                if self.raw_escapes:
                    result.append(char)
                following = self.peek()
                if following == "":
                    continue
                # Only these can be escaped here; before all else the escape character stays.
                if following in ('"', "$", self.escape):
                    char = self.take()
            result.append(char)

    def dollar(self) -> str:
        began = self.at
        self.at += 1
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.lookup(name)
            if value is None:
                return "$" + name if self.keep_unset else ""
            return value
        self.at += 1
        if self.depth >= _MAX_DEPTH:
            raise self.fail("substitutions are nested too deeply", began)
        self.depth += 1
        value = self.braces(began)
        self.depth -= 1
        return value

    def braces(self, began: int) -> str:
        """The rest of a ``${…}`` that began at ``began``."""
        if self.peek() == "":
            raise self.fail("missing '}'", began)
        name = "" if self.peek() in ("{", "}", ":") else self.name()
        if not name:
            raise self.fail("bad substitution: a name must follow '${'", began)
        operator = self.take()
        if operator == "}":
            value = self.lookup(name)
            if value is None:
                return f"${{{name}}}" if self.keep_unset else ""
            return value
        if operator == "":
            raise self.fail("missing '}'", began)
        if operator == "/":
            return self.replace(name, began)
        colon = operator == ":"
        if colon:
            operator = self.take()
            if operator == "":
                raise self.fail("missing '}'", began)
        if operator not in ("+", "-", "?", "#", "%"):
            raise self.fail(f"unsupported modifier {':' * colon + operator!r} in a substitution", self.at - 1)
        word = self.operand("}", operator in ("#", "%"), began)
        value = self.lookup(name)
        if value is None and self.keep_unset:
            return f"${{{name}{':' if colon else ''}{operator}{word}}}"
        if operator in ("#", "%"):
            return self.strip(value or "", operator, word, began)
        return self.default(name, value, colon, operator, word, began)

    def operand(self, stop: str, raw_escapes: bool, began: int) -> str:
        try:
            return self.until(stop, raw_escapes)[0]
        except WordError as error:
            if self.at >= len(self.text) and error.message.startswith("no matching " + stop):
                raise self.fail(f"missing '{stop}'", began) from None
            raise

    def default(self, name: str, value: str | None, colon: bool, operator: str, word: str, began: int) -> str:
        """``${x-w}``, ``${x+w}``, ``${x?w}`` and the same with a colon, for which an empty value is none."""
        absent = value is None or (colon and value == "")
        if operator == "-":
            return word if absent else value or ""
        if operator == "+":
            return "" if absent else word
        if absent:
            problem = word or f"is not allowed to be {'unset' if value is None else 'empty'}"
            raise self.fail(f"{name}: {problem}", began)
        return value or ""

    def strip(self, value: str, operator: str, word: str, began: int) -> str:
        """``${x#p}`` and ``${x%p}``; doubled they take as much as they can."""
        longest = word.startswith(operator)
        pattern = self.pattern(word[longest:], began)
        if operator == "%":
            pattern, value = pattern[::-1], value[::-1]
        end = _match(pattern, value, 0, longest)
        rest = value if end is None else value[end:]
        return rest[::-1] if operator == "%" else rest

    def replace(self, name: str, began: int) -> str:
        """``${x/p/w}`` and ``${x//p/w}``."""
        everywhere = self.peek() == "/"
        self.at += everywhere
        pattern = self.operand("/", True, began)
        replacement = self.operand("}", True, began)
        value = self.lookup(name)
        if value is None and self.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        compiled = self.pattern(pattern, began)
        if everywhere:
            # docker hands this to Go's regexp template, in which $1 or ${x} is a group that does not exist.
            replacement = _go_template(replacement)
        return _substitute(compiled, value or "", replacement, everywhere)

    def pattern(self, text: str, began: int) -> list[str]:
        """Elements of a pattern: "*", "?" or "=" and the character itself."""
        elements: list[str] = []
        at = 0
        while at < len(text):
            char = text[at]
            at += 1
            if char in "*?":
                elements.append(char)
                continue
            if char == "\\":
                following = text[at : at + 1]
                if following not in ("}", "/", "*", "?", "\\") or not following:
                    raise self.fail(f"invalid escape '\\{following}' in the pattern {text}", began)
                char = following
                at += 1
            elements.append("=" + char)
        return elements

    def name(self) -> str:
        """A name, a run of digits or one special parameter; "" if none of these is next."""
        began = self.at
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.at += 1
        elif first in _SPECIAL_PARAMETERS:
            self.at += 1
        else:
            while (char := self.peek()) and (char == "_" or char.isalpha() or char.isdecimal()):
                self.at += 1
        return self.text[began : self.at]

    def lookup(self, name: str) -> str | None:
        value = self.variables.get(name)
        (self.missing if value is None else self.used).add(name)
        return value


def _match(pattern: list[str], text: str, start: int, longest: bool) -> int | None:
    """Where a match that begins at ``start`` ends, or None.

    All ways to match are followed at once, one bit each, so that no pattern takes more than linear time.
    """
    accept = 1 << len(pattern)
    stars = sum(1 << index for index, element in enumerate(pattern) if element == "*")
    any_one = sum(1 << index for index, element in enumerate(pattern) if element == "?") | stars
    state = _skip_stars(1, stars)
    found = start if state & accept else None
    for at in range(start, len(text)):
        if found is not None and not longest:
            break
        char = text[at]
        literal = sum(1 << index for index, element in enumerate(pattern) if element == "=" + char)
        # "*" and "?" stop at the end of a line, as they do in docker.
        taken = state & (literal if char == "\n" else literal | any_one)
        if not taken:
            break
        # A star stays where it is; everything else moves on.
        state = _skip_stars((taken & stars) | ((taken & ~stars) << 1), stars)
        if state & accept:
            found = at + 1
    return found


def _skip_stars(state: int, stars: int) -> int:
    while (further := state | ((state & stars) << 1)) != state:
        state = further
    return state


def _substitute(pattern: list[str], text: str, replacement: str, everywhere: bool) -> str:
    """Replace the first or all of the leftmost longest matches."""
    result: list[str] = []
    at = done = 0
    last_end = -1
    while at <= len(text):
        end = _match(pattern, text, at, True)
        # An empty match does not count where another match has just ended.
        if end is None or (end == at and at == last_end):
            at += 1
            continue
        result.append(text[done:at] + replacement)
        done = last_end = end
        if not everywhere:
            break
        at = end if end > at else at + 1
    return "".join(result) + text[done:]


def _go_template(text: str) -> str:
    """What Go's ``Regexp.Expand`` makes of a template when there are no groups."""
    result: list[str] = []
    at = 0
    while at < len(text):
        dollar = text.find("$", at)
        if dollar == -1:
            break
        result.append(text[at:dollar])
        at = dollar + 1
        if text.startswith("$", at):
            result.append("$")
            at += 1
            continue
        braced = text.startswith("{", at)
        end = at + braced
        while end < len(text) and (text[end] == "_" or text[end].isalpha() or text[end].isdecimal()):
            end += 1
        if end == at + braced or (braced and not text.startswith("}", end)):
            result.append("$")
            continue
        at = end + braced
    return "".join(result) + text[at:]
