"""From the text of a Go template to nodes: plain tuples, which :mod:`buildlib.cli.template` executes.

A node is a literal text, or ``(kind, …)``: show, if, range, with, template, loop. A pipeline is ``(names, assigns,
commands)``, a command a list of operands, an operand ``(kind, what, path)``.
"""

from __future__ import annotations

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Node = str | tuple[Any, ...]

_SPACE = " \t\r\n"
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\\\": "\\"}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_WORD = _LETTERS | frozenset("0123456789")
_CONSTANTS = {"true": True, "false": False, "nil": None}
_QUOTED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def parse(text: str, blank: str, defined: dict[str, list[Node]]) -> list[Node]:
    """The nodes of ``text``; named templates go into ``defined``. Raises :class:`UsageError`."""
    parser = _Parser(text, blank, defined)
    nodes, end = parser.nodes()
    if end:
        raise parser.error(f"unexpected {{{{{end}}}}}")
    return nodes


def _pieces(text: str) -> list[tuple[bool, str]]:
    """Literal texts and actions (without their braces), trimmed where an action says so."""
    pieces: list[tuple[bool, str]] = []
    trim = False
    while True:
        literal, opened, rest = text.partition("{{")
        if trim:
            literal = literal.lstrip(_SPACE)
        if not opened:
            pieces.append((False, literal))
            return pieces
        end = _end_of_action(rest)
        if end < 0:
            raise UsageError(f"invalid format provided: {{{{{rest}", hint='an action ends with "}}"')
        action, text = rest[:end], rest[end + 2 :]
        if action[:1] == "-" and action[1:2] in tuple(_SPACE):
            literal, action = literal.rstrip(_SPACE), action[1:]
        trim = action[-1:] == "-" and action[-2:-1] in tuple(_SPACE)
        pieces.append((False, literal))
        pieces.append((True, (action[:-1] if trim else action).strip(_SPACE)))


def _end_of_action(text: str) -> int:
    """Where "}}" closes the action: not the one within a string."""
    if text.lstrip("- ").startswith("/*"):
        close = text.find("*/")
        return text.find("}}", close) if close >= 0 else -1
    at, quote = 0, ""
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\" and quote != "`":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"`'":
            quote = letter
        elif text.startswith("}}", at):
            return at
        at += 1
    return text.find("}}")


class _Parser:
    def __init__(self, text: str, blank: str, defined: dict[str, list[Node]]) -> None:
        self.text = text
        self.blank = blank
        self.defined = defined
        self.pieces = _pieces(text)
        self.at = 0

    def error(self, message: str) -> UsageError:
        return UsageError(f"template {self.text!r}: {message}")

    def nodes(self) -> tuple[list[Node], str]:
        """Nodes up to an action that ends a block, and that action; "" at the end of all."""
        found: list[Node] = []
        while self.at < len(self.pieces):
            is_action, text = self.pieces[self.at]
            self.at += 1
            if not is_action:
                if text:
                    found.append(_unescape(text).replace(" ", self.blank))
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ("end", "else"):
                return found, text
            node = self.action(word, text)
            if node is not None:
                found.append(node)
        return found, ""

    def action(self, word: str, text: str) -> Node | None:
        """The node of one action, with its block; None for those that show nothing."""
        if text.startswith("/*"):
            return None
        rest = text[len(word) :]
        if word in ("if", "range", "with"):
            return self.block(word, rest)
        if word in ("define", "block"):
            name, pipeline = self.named(rest)
            body, end = self.nodes()
            if end != "end":
                raise self.error(f"{word} has no end")
            self.defined[name] = body
            return ("template", name, pipeline) if word == "block" else None
        if word == "template":
            return ("template", *self.named(rest))
        if word in ("break", "continue") and not rest.strip():
            return ("loop", word)
        return ("show", _Expression(self, text).pipeline())

    def block(self, kind: str, text: str) -> Node:
        pipeline = _Expression(self, text).pipeline()
        body, end = self.nodes()
        other: list[Node] = []
        if end.startswith("else"):
            rest = end[4:].strip()
            word = rest.split(None, 1)[0] if rest else ""
            if word in ("if", "with"):
                return (kind, pipeline, body, [self.block(word, rest[len(word) :])])
            other, end = self.nodes()
        if end != "end":
            raise self.error(f"{kind} has no end")
        return (kind, pipeline, body, other)

    def named(self, text: str) -> tuple[str, Any]:
        expression = _Expression(self, text)
        kind, name = expression.next()
        if kind != "value" or not isinstance(name, str):
            raise self.error("the name of a template is a string")
        return name, expression.pipeline() if expression.tokens else None


class _Expression:
    """The tokens of one action, and what they mean."""

    def __init__(self, parser: _Parser, text: str) -> None:
        self.parser = parser
        self.text = text
        self.tokens: list[tuple[str, Any]] = list(_tokens(text, parser))

    def next(self) -> tuple[str, Any]:
        if not self.tokens:
            raise self.parser.error(f"{{{{{self.text.strip()}}}}}: something is missing")
        return self.tokens.pop(0)

    def peek(self, ahead: int = 0) -> Any:
        return self.tokens[ahead] if len(self.tokens) > ahead else ("", None)

    def pipeline(self, closing: str = "") -> Any:
        names: list[str] = []
        assigns = False
        while self.peek()[0] == "variable" and self.peek(1)[1] in (",", ":=", "="):
            names.append(self.next()[1])
            sign = self.next()[1]
            assigns = sign == "="
            if sign != ",":
                break
        commands = [self.command()]
        while self.peek() == ("sign", "|"):
            self.next()
            commands.append(self.command())
        if closing:
            if self.next() != ("sign", closing):
                raise self.parser.error(f'{{{{{self.text.strip()}}}}}: there is no "{closing}"')
        elif self.tokens:
            raise self.parser.error(f"{{{{{self.text.strip()}}}}}: unexpected {self.peek()[1]}")
        return tuple(names), assigns, commands

    def command(self) -> list[Any]:
        operands = []
        while self.tokens and self.peek() not in (("sign", "|"), ("sign", ")")):
            operands.append(self.operand())
        if not operands:
            raise self.parser.error(f"{{{{{self.text.strip()}}}}}: there is nothing to show")
        return operands

    def operand(self) -> Any:
        kind, what = self.next()
        if (kind, what) == ("sign", "("):
            kind, what = "pipeline", self.pipeline(")")
        elif kind == "sign":
            raise self.parser.error(f"{{{{{self.text.strip()}}}}}: unexpected {what}")
        path: list[str] = []
        if kind == "field":
            path, what = list(what), None
        while self.peek()[0] == "chain":
            path += self.next()[1]
        return kind, what, path


def _tokens(text: str, parser: _Parser) -> Any:
    """Kinds: value, field and chain (paths), variable, name, sign."""
    at = 0
    after_space = True
    while at < len(text):
        letter = text[at]
        start = at
        if letter in _SPACE:
            at, after_space = at + 1, True
            continue
        if letter == ".":
            at, path = _path(text, at, parser)
            yield ("field" if after_space else "chain"), path
        elif letter in "\"`'":
            at, value = _quoted(text, at, parser)
            yield "value", value
        elif letter == "$" or letter in _LETTERS:
            at += 1
            while at < len(text) and text[at] in _WORD:
                at += 1
            word = text[start:at]
            if word in _CONSTANTS:
                yield "value", _CONSTANTS[word]
            else:
                yield ("variable" if letter == "$" else "name"), word
        elif letter.isdigit() or (letter in "+-" and text[at + 1 : at + 2].isdigit()):
            at, number = _number(text, at, parser)
            yield "value", number
        else:
            sign = text[at : at + 2] if text.startswith(":=", at) else letter
            if sign not in ("(", ")", "|", ",", ":=", "="):
                raise parser.error(f"{{{{{text.strip()}}}}}: {letter!r} means nothing here")
            at += len(sign)
            yield "sign", sign
        after_space = text[start:at] in ("(", "|", ",", ":=", "=")


def _path(text: str, at: int, parser: _Parser) -> tuple[int, list[str]]:
    path = []
    while at < len(text) and text[at] == ".":
        start = at = at + 1
        while at < len(text) and text[at] in _WORD:
            at += 1
        if at > start:
            path.append(text[start:at])
        elif path or text[at : at + 1] == ".":
            raise parser.error(f"{{{{{text.strip()}}}}}: a field has no name")
    return at, path


def _quoted(text: str, at: int, parser: _Parser) -> tuple[int, Any]:
    quote, at = text[at], at + 1
    out = []
    while at < len(text) and text[at] != quote:
        if text[at] == "\\" and quote != "`":
            at += 1
            letter = text[at : at + 1]
            width = {"x": 2, "u": 4, "U": 8}.get(letter, 0)
            try:
                out.append(chr(int(text[at + 1 : at + 1 + width], 16)) if width else _QUOTED[letter])
            except (KeyError, ValueError):
                raise parser.error(f"{{{{{text.strip()}}}}}: a string has an escape that is none") from None
            at += width
        else:
            out.append(text[at])
        at += 1
    if at >= len(text):
        raise parser.error(f"{{{{{text.strip()}}}}}: a string is not closed")
    value = "".join(out)
    return at + 1, ord(value) if quote == "'" and len(value) == 1 else value


def _number(text: str, at: int, parser: _Parser) -> tuple[int, int | float]:
    start = at
    at += 1
    while at < len(text) and (text[at] in _WORD or text[at] == "."):
        at += 1
    word = text[start:at]
    try:
        return at, int(word, 0)
    except ValueError:
        pass
    try:
        return at, float(word)
    except ValueError:
        raise parser.error(f"{word} is no number") from None


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    out = []
    at = 0
    while at < len(text):
        pair = text[at : at + 2]
        out.append(_ESCAPES.get(pair, text[at]))
        at += 2 if pair in _ESCAPES else 1
    return "".join(out)
