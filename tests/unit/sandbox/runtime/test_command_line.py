"""Flags as the programs that this one stands in for read them."""

from __future__ import annotations

import pytest

from buildlib.errors import UsageError
from buildlib.sandbox.runtime.command_line import GLOBAL, LIST, NUMBER, SWITCH, TEXT, VERBS, main, parse

FLAGS = {"bundle": TEXT, "b": "=bundle", "force": SWITCH, "env": LIST, "e": "=env", "count": NUMBER}


@pytest.mark.parametrize(
    ("words", "given", "rest"),
    [
        ("--bundle /x id", {"bundle": "/x"}, ["id"]),
        ("-bundle=/x id", {"bundle": "/x"}, ["id"]),
        ("-b /x id", {"bundle": "/x"}, ["id"]),
        ("--force id", {"force": True}, ["id"]),
        ("--force=false id", {"force": False}, ["id"]),
        ("-e A=b --env C=d", {"env": ["A=b", "C=d"]}, []),
        ("id --force", {"force": True}, ["id"]),
        ("--count 3 -- --force", {"count": 3}, ["--force"]),
    ],
)
def test_flags_are_read(words: str, given: dict[str, object], rest: list[str]) -> None:
    assert parse(words.split(), FLAGS, mixed=True) == (given, rest)


def test_what_follows_the_first_word_may_belong_to_a_command() -> None:
    assert parse(["--force", "id", "ls", "-l"], FLAGS, mixed=False) == ({"force": True}, ["id", "ls", "-l"])


@pytest.mark.parametrize("words", ["--nosuch", "--bundle", "--count x"])
def test_flags_that_can_not_be_meant_are_refused(words: str) -> None:
    with pytest.raises(UsageError):
        parse(words.split(), FLAGS, mixed=True)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"], {}) == 0
    assert capsys.readouterr().out.startswith(f"buildlib-runtime {verb} ")


def test_the_flags_for_all_verbs_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", "/nowhere", "--systemd-cgroup", "--debug", "list", "-q"], {}) == 0
    assert main(["nosuch"], {}) == 1
    assert "there is no command 'nosuch'" in capsys.readouterr().err
    assert main([], {}) == 0
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in GLOBAL)
