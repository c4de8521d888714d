"""Statements come out of dockerfile-parse, which is only ever shown what it gets right."""

from __future__ import annotations

from io import BytesIO

import pytest
from dockerfile_parse import DockerfileParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bud.errors import DockerfileError
from bud.parser import parse

# Dockerfiles without any of the library's quirks: there its own answer must equal ours.
ORDINARY = [
    'FROM alpine:3.20\nRUN echo hi\nCMD ["sh"]\n',
    "FROM alpine AS build\nCOPY --from=x --chown=1:2 a b /c/\nENV a=b c='d e'\n",
    "ARG V=1\nFROM busybox:$V\nRUN a && \\\n    b && \\\n    c\nLABEL x=y\n",
    "# a comment\nFROM x\n# another\nRUN a \\\n# inside\n  b\n\n\nUSER u\n",
    "# syntax=docker/dockerfile:1\n# escape=`\nFROM x\nRUN a `\n  b\nCOPY a\\b c\n",
    "from x\nrun  a\t b  \nOnBuild COPY . .\n",
    "FROM x\nHEALTHCHECK --interval=5m CMD curl -f http://localhost/ || exit 1\nEXPOSE 80 443/tcp\n",
    "FROM x\r\nRUN a \\\r\n b\r\nCMD c\r\n",
    "FROM é/x\nENV NAME=Zoë\n",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_without_quirks_the_library_says_the_same(text: str) -> None:
    raw = DockerfileParser(fileobj=BytesIO(text.encode()), env_replace=False).structure
    theirs = [(i["instruction"], i["value"], i["startline"] + 1) for i in raw if i["instruction"] != "COMMENT"]
    ours = [(s.keyword, s.value, s.line.line) for s in parse(text)[1]]
    assert ours == theirs


KEYWORDS = st.sampled_from(["FROM", "run", "COPY", "Env", "LABEL", "CMD"])
VISIBLE = st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="\\<`#")
ARGUMENTS = st.text(VISIBLE, min_size=1)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine at work is slow
@given(st.lists(st.tuples(KEYWORDS, st.lists(ARGUMENTS, min_size=1, max_size=4)), min_size=1, max_size=6))
def test_on_any_ordinary_text_the_library_says_the_same(lines: list[tuple[str, list[str]]]) -> None:
    text = "".join(f"{keyword} {' '.join(words)}\n" for keyword, words in lines)
    raw = DockerfileParser(fileobj=BytesIO(text.encode()), env_replace=False).structure
    theirs = [(i["instruction"], i["value"], i["startline"] + 1) for i in raw]
    assert [(s.keyword, s.value, s.line.line) for s in parse(text)[1]] == theirs


# What the library alone gets wrong: (Dockerfile, [(keyword, value, line)])
QUIRKS = [
    ("RUN a \\\n\n b\nCMD c\n", [("RUN", "a  b", 1), ("CMD", "c", 4)]),
    ("RUN a \\\\\nCMD c\n", [("RUN", "a \\\\", 1), ("CMD", "c", 2)]),
    ("FROM a\nRUN b \\", [("FROM", "a", 1), ("RUN", "b", 2)]),
    ("FROM a\nRUN", [("FROM", "a", 1), ("RUN", "", 2)]),
    ("FROM a\nRUN\nCMD\n", [("FROM", "a", 1), ("RUN", "", 2), ("CMD", "", 3)]),
    ("RU\\\nN a\n", [("RUN", "a", 1)]),
    ("\ufeffFROM a\n", [("FROM", "a", 1)]),
    ("# check=skip=x\n# escape=`\nRUN a `\n b\n", [("RUN", "a  b", 3)]),
    ("RUN <<E\nFROM x\nENV y z\nE\nCMD a\n", [("RUN", "<<E", 1), ("CMD", "a", 5)]),
    (b"RUN caf\xe9\n", [("RUN", "caf\udce9", 1)]),
    ("RUN a\x0b\x85\u2028b\n", [("RUN", "a\x0b\x85\u2028b", 1)]),
    ("RUN a.\nRUN .\n", [("RUN", "a.", 1), ("RUN", ".", 2)]),
    ("RUN \U0010f7ff\n", [("RUN", "\U0010f7ff", 1)]),
]


@pytest.mark.parametrize(("text", "expected"), QUIRKS)
def test_the_quirks_of_the_library_can_not_show(text: str | bytes, expected: list[tuple[str, str, int]]) -> None:
    assert [(s.keyword, s.value, s.line.line) for s in parse(text)[1]] == expected


def test_flags_are_taken_off_the_arguments() -> None:
    statement = parse("COPY --from=a --chown='b c' -- --x y\n")[1][0]
    assert [flag.text for flag in statement.flags] == ["--from=a", "--chown=b c"]
    assert statement.args == "--x y"
    assert statement.line.text[statement.args_offset :] == "--x y"


@pytest.mark.parametrize(
    ("text", "flags", "args"),
    [
        ('RUN --mount=a,b="c d" e --f\n', ["--mount=a,b=c d"], "e --f"),
        ("RUN --a\\ b=c d\n", ["--a b=c"], "d"),
        ("RUN -x --y\n", [], "-x --y"),
        ("RUN --x\n", ["--x"], ""),
        ("RUN --'x\n", ["--x"], ""),
        ("RUN -- --x\n", [], "--x"),
    ],
)
def test_flags_may_be_quoted_and_escaped(text: str, flags: list[str], args: str) -> None:
    statement = parse(text)[1][0]
    assert ([flag.text for flag in statement.flags], statement.args) == (flags, args)


@pytest.mark.parametrize("text", ["RUN\u00a0a\n", "FROM x\n\x1c# a\n", "RUN\u2028a b\n"])
def test_a_blank_that_is_none_here_is_explained(text: str) -> None:
    with pytest.raises(DockerfileError, match="not an instruction"):
        parse(text)
