"""Whatever stands in a Dockerfile, reading, checking and planning it either works or raises DockerfileError."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from buildlib.errors import UsageError
from buildlib.patterns import IgnorePatterns, go_match
from tests.fuzz.dockerfile import target

KEYWORDS = [
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR", "NOPE", "run"),
]
PIECES = st.sampled_from([
    *"\\\"'$ \t\n{}:=-+?#%/*[],<>.`|&~^!@()",
    "${", "}", ":-", "//", "##", "<<EOF", "<<-'X'", "\nEOF\n", "\nX\n", "\\\n", "\n# c\n", "\r\n", "$A", "${A}",
    "--from=", "--mount=type=", "--chown=", "--chmod=", "cache", "secret", "bind", ",target=", "id=", "[\"a\",",
    "\"b\"]", "[1]", "CMD", "NONE", "a", "/b", "0", "80/tcp", "9" * 30, "é", "\x00", "\x85", "\u2028", "\u00a0", "\x1c",
    "\ufeff", "AS s", "scratch", "--", "--interval=1s", "SIGTERM", "# escape=`\n", "# syntax=x\n",
])  # fmt: skip
LINES = st.builds(
    lambda keyword, pieces: f"{keyword} {''.join(pieces)}\n", st.sampled_from(KEYWORDS), st.lists(PIECES, max_size=12)
)
DOCKERFILES = st.builds(
    lambda head, lines: (head + "FROM x\n" + "".join(lines)).encode("utf-8", "surrogatepass"),
    st.sampled_from(["", "# escape=`\n", "ARG A=1\n", "\ufeff"]),
    st.lists(LINES, max_size=6),
)
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


build_plan = target()


@FUZZ
@given(DOCKERFILES)
@example(b"FROM x\nRUN " + b"${a:-" * 3000)
@example(b"FROM x\nCMD " + b"[" * 100_000)
@example(b"FROM x\nCMD [" + b"9" * 10_000 + b"]\n")
@example(b"FROM x\nRUN <<A\n")
@example(b"FROM x\nHEALTHCHECK --interval=" + b"9" * 400 + b"h CMD x\n")
@example(b"FROM x\nRUN --mount=type=tmpfs,target=/x,size=" + b"9" * 400 + b"p y\n")
@example(b"FROM x\nEXPOSE " + b"9" * 5000 + b"\n")
@example(b"FROM x\nCOPY --from=" + b"9" * 5000 + b" a b\n")
@example(b"FROM x\nCOPY --chmod=" + b"7" * 5000 + b" a b\n")
@example(b"FROM x\nSTOPSIGNAL RTMIN+" + b"9" * 5000 + b"\n")
def test_a_dockerfile_of_instructions_and_junk(data: bytes) -> None:
    build_plan(data)


@FUZZ
@given(st.binary(max_size=200))
@example(b"\xed\xa0\x80 x")
@example(b"FROM \xff\nRUN \xed\xb2\x80\n")
def test_any_bytes(data: bytes) -> None:
    build_plan(data)
    build_plan(b"FROM x\n" + data)


@FUZZ
@given(st.text(st.sampled_from("ab*?[]^-\\/!.#\n ~&|"), max_size=30), st.text(st.sampled_from("ab/.\n"), max_size=12))
def test_any_pattern(pattern: str, path: str) -> None:
    with suppress(UsageError):
        patterns = IgnorePatterns.parse(pattern)
        patterns.matches(path)
        patterns.may_prune(path or "a")
    with suppress(UsageError):
        go_match(pattern, path)


@pytest.mark.parametrize("quote", ['"', "'", "\\", "$", "${", "<<"])
def test_a_very_long_line_takes_no_quadratic_time(quote: str) -> None:
    build_plan(b"FROM x\nENV A=" + (quote + "a ").encode() * 20_000 + b"\nRUN " + (quote + " ").encode() * 20_000)
