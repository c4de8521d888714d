"""Physical lines become logical lines by docker's rules."""

from __future__ import annotations

import pytest

from bud.errors import DockerfileError
from bud.lines import parse_heredoc, read_lines

# (Dockerfile, texts of its logical lines)
JOINS = [
    ("FROM a\nRUN b\n", ["FROM a", "RUN b"]),
    ("FROM a", ["FROM a"]),
    ("\n\n  FROM a  \n\n", ["FROM a  "]),
    ("RUN a \\\n  b\n", ["RUN a   b"]),
    ("RUN a \\  \t\n b\n", ["RUN a  b"]),
    ("RUN a \\\n# comment\n  # another\n b\n", ["RUN a  b"]),
    ("RUN a \\\n\n   \n b\n", ["RUN a  b"]),
    ("RU\\\nN a\n", ["RUN a"]),
    ("RUN a \\\\\nRUN b\n", ["RUN a \\\\", "RUN b"]),
    ("RUN a \\\\\\\nRUN b\n", ["RUN a \\\\\\", "RUN b"]),
    ("RUN a \\\n\\\nb\n", ["RUN a b"]),
    ("RUN a \\", ["RUN a "]),
    ("RUN a \\\n\n\n", ["RUN a "]),
    ("\\\nRUN a\n", ["RUN a"]),
    ("RUN a # no comment\n", ["RUN a # no comment"]),
    ("RUN a\r\nRUN b \\\r\n c\r\n", ["RUN a", "RUN b  c"]),
    ("\ufeffFROM a\n", ["FROM a"]),
    ("RUN a\x0bb\x0cc\x85d\u2028e\n", ["RUN a\x0bb\x0cc\x85d\u2028e"]),
    ("# escape=`\nRUN a `\n b \\\nRUN c\n", ["RUN a  b \\", "RUN c"]),
    ("#escape = `  \nRUN a `\n b\n", ["RUN a  b"]),
    ("# syntax=x\n# escape=`\nRUN a `\n b\n", ["RUN a  b"]),
    ("# check=skip=all\n# escape=`\nRUN a `\n b\n", ["RUN a  b"]),
    ("# hello\n# escape=`\nRUN a `\nRUN b\n", ["RUN a `", "RUN b"]),
    ("# unknown=1\n# escape=`\nRUN a `\nRUN b\n", ["RUN a `", "RUN b"]),
    ("\n# escape=`\nRUN a `\nRUN b\n", ["RUN a `", "RUN b"]),
    ("# ESCAPE=`\nRUN a `\n b\n", ["RUN a  b"]),
]


@pytest.mark.parametrize(("text", "lines"), JOINS)
def test_physical_lines_are_joined(text: str, lines: list[str]) -> None:
    assert [line.text for line in read_lines(text).lines] == lines


def test_directives_are_read() -> None:
    source = read_lines("# syntax = docker/dockerfile:1 \n# Check=error=true\n# escape=`\nFROM a\n")
    assert source.directives == {"syntax": "docker/dockerfile:1", "check": "error=true", "escape": "`"}


def test_lines_know_where_they_stand() -> None:
    source = read_lines("# top\n\n# about a\n# more\nRUN a \\\n# inside\n\n b\nRUN c\n")
    first, second = source.lines
    assert (first.line, first.end_line, first.comments, first.blank_lines) == (5, 8, ("about a", "more"), (7,))
    assert (second.line, second.end_line, second.comments) == (9, 9, ())


def test_an_error_points_into_the_physical_line() -> None:
    line = read_lines("FROM x\n  RUN one \\\n    two \\\n\tthree\n").lines[1]
    error = line.error("wrong", line.text.index("three"), expected="four")
    assert (error.line, error.column, error.text) == (4, 2, "\tthree")
    assert str(error) == "Dockerfile:4: wrong"
    assert error.excerpt() == "    4 | \tthree\n      | \t^\n        expected four"
    assert line.error("wrong", 0).column == 3


# (Dockerfile, [(name, expand, chomp, fd, body)] of its first line)
HEREDOCS = [
    ("RUN <<EOF\na\n b\nEOF\n", [("EOF", True, False, "", "a\n b\n")]),
    ("RUN <<EMPTY\nEMPTY\n", [("EMPTY", True, False, "", "")]),
    ("RUN 3<<X cat\na\nX\n", [("X", True, False, "3", "a\n")]),
    ("RUN <<-X\n\ta\n\tX\n", [("X", True, True, "", "\ta\n")]),
    ("RUN <<'X'\n$a\nX\n", [("X", False, False, "", "$a\n")]),
    ('RUN <<-"X"\n$a\nX\n', [("X", False, True, "", "$a\n")]),
    ("RUN <<X'Y'\na\nXY\n", [("XY", False, False, "", "a\n")]),
    ("RUN <<\\X\na\nX\n", [("X", False, False, "", "a\n")]),
    ("COPY <<a <<b /x\n1\na\n2\nb\n", [("a", True, False, "", "1\n"), ("b", True, False, "", "2\n")]),
    ("RUN << EOF\na\nEOF\n", [("EOF", True, False, "", "a\n")]),
    ("RUN cat <<- EOF\na\nEOF\n", [("EOF", True, True, "", "a\n")]),
    ("RUN --mount=type=tmpfs,target=/x <<EOF\na\nEOF\n", [("EOF", True, False, "", "a\n")]),
    ("run cat \\\n  <<EOF\na\nEOF\n", [("EOF", True, False, "", "a\n")]),
    ("ONBUILD RUN <<EOF\na\nEOF\n", [("EOF", True, False, "", "a\n")]),
    ("RUN <<EOF\na \\\n# b\n\nFROM c\nEOF\n", [("EOF", True, False, "", "a \\\n# b\n\nFROM c\n")]),
    ("RUN <<EOF\r\na\r\nEOF\r\n", [("EOF", True, False, "", "a\r\n")]),
    ("RUN <<EOF\na\nEOF", [("EOF", True, False, "", "a\n")]),
    ("RUN '<<EOF'\n", []),
    ('RUN "<<EOF"\n', []),
    ("RUN \\<<EOF\n", []),
    ("RUN a <<<EOF\n", []),
    ("RUN cat<<EOF\n", []),
    ("RUN it's <<EOF\n", []),
    ('RUN ["<<EOF"]\n', []),
    ("USER <<EOF\n", []),
    ("RUN a <<\n", []),
    ("RUN echo $((1 << 2))\n", []),
    ("RUN echo $((1 << 2)) <<X\na\nX\n", [("X", True, False, "", "a\n")]),
]


@pytest.mark.parametrize(("text", "heredocs"), HEREDOCS)
def test_heredocs_are_lifted_out(text: str, heredocs: list[tuple[str, bool, bool, str, str]]) -> None:
    source = read_lines(text)
    assert len(source.lines) == 1
    assert [tuple(heredoc)[:5] for heredoc in source.lines[0].heredocs] == heredocs


def test_a_heredoc_with_a_dash_loses_its_tabs_only_when_asked() -> None:
    heredoc = read_lines("RUN <<-X\n\t\ta\n\t b\nX\nRUN x\n").lines[0].heredocs[0]
    assert heredoc.body == "\t\ta\n\t b\n"
    assert heredoc.text() == "a\n b\n"
    assert heredoc.line == 2


@pytest.mark.parametrize("word", ["", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "a<<EOF"])
def test_other_words_are_no_heredocs(word: str) -> None:
    assert parse_heredoc(word) is None


# (Dockerfile, message, line)
BAD = [
    (b"", "no instructions", None),
    (b"# only\n\n", "no instructions", None),
    (b"# escape=x\nFROM a", "invalid escape character 'x'", 1),
    (b"# escape=`\n# escape=`\nFROM a", "only one escape directive", 2),
    (b"# syntax=a\n# SYNTAX=b\nFROM a", "only one syntax directive", 2),
    (b"FROM a\nRUN <<EOF\na\n EOF\n", "<<EOF is not terminated", 2),
    (b"FROM a\nRUN x \\\n a\0b\n", "NUL byte", 3),
    (b"\xff\xfeF\0R\0", "UTF-16", None),
]


@pytest.mark.parametrize(("data", "message", "line"), BAD)
def test_what_is_wrong_is_told_with_its_line(data: bytes, message: str, line: int | None) -> None:
    with pytest.raises(DockerfileError, match=message) as caught:
        read_lines(data)
    assert caught.value.line == line


def test_bytes_that_are_not_utf8_survive() -> None:
    text = read_lines(b"RUN caf\xe9\n").lines[0].text
    assert text.encode("utf-8", "surrogateescape") == b"RUN caf\xe9"


def test_a_line_of_any_length_is_read() -> None:
    assert len(read_lines("RUN " + "a" * 200_000).lines[0].text) == 200_004
