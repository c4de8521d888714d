"""The lexer of shell words does what docker's does."""

from __future__ import annotations

import re

import pytest

from bud.words import WordError, expand, split, trim

VARIABLES = {
    "PWD": "/home",
    "SHELL": "bash",
    "KOREAN": "한국어",
    "NULL": "",
    "FOO": "foobarbaz",
    "PATH_": "/usr/share/doc.tar.gz",
    "TWO": "a b",
    "STAR": "a*b",
    "LINES": "a\nb",
}

# (text, result)
TEXTS = [
    ("", ""),
    ("hello", "hello"),
    ("he'll'o", "hello"),
    ("he\\'llo", "he'llo"),
    ("abc\\tdef", "abctdef"),
    ("'abc\\tdef'", "abc\\tdef"),
    ('"abc\\tdef"', "abc\\tdef"),
    ('"abc\\"def"', 'abc"def'),
    ('"abc\\\\def"', "abc\\def"),
    ("'hello\\there'", "hello\\there"),
    ("hello\\", "hello"),
    ("'he$PWD'", "he$PWD"),
    ('"he$PWD"', "he/home"),
    ("he\\$PWD", "he$PWD"),
    ('"he\\$PWD"', "he$PWD"),
    ("$PWD$SHELL", "/homebash"),
    ("$PWDx", ""),
    ("${PWD}x", "/homex"),
    ("$KOREAN", "한국어"),
    ("${KOREAN}x", "한국어x"),
    ("$한국어x", ""),
    ("$.", "$."),
    ("$", "$"),
    ("a$ b", "a$ b"),
    ("$1x", "x"),
    ("$12x", "x"),
    ("$@$*$#$?$-$!", ""),
    ("${1}x${@}", "x"),
    ("a  b", "a  b"),
    # default, alternative, message
    ("${X:-d}", "d"),
    ("${X-d}", "d"),
    ("${NULL:-d}", "d"),
    ("${NULL-d}", ""),
    ("${PWD:-d}", "/home"),
    ("${X:-$PWD}", "/home"),
    ("${X:-${Y:-deep}}", "deep"),
    ("${X:-'a}b'}", "a}b"),
    ("${X:-a\\}b}", "a}b"),
    ("${X:-}", ""),
    ("${X:+w}", ""),
    ("${PWD:+w}", "w"),
    ("${NULL:+w}", ""),
    ("${NULL+w}", "w"),
    ("${PWD:?m}", "/home"),
    ("${NULL?m}", ""),
    # prefixes and suffixes
    ("${FOO#foo}", "barbaz"),
    ("${FOO#bar}", "foobarbaz"),
    ("${FOO#*b}", "arbaz"),
    ("${FOO##*b}", "az"),
    ("${FOO#?}", "oobarbaz"),
    ("${FOO%baz}", "foobar"),
    ("${FOO%b*}", "foobar"),
    ("${FOO%%b*}", "foo"),
    ("${FOO%}", "foobarbaz"),
    ("${FOO%%*}", ""),
    ("${FOO%*}", "foobarbaz"),
    ("${PATH_##*/}", "doc.tar.gz"),
    ("${PATH_%/*}", "/usr/share"),
    ("${PATH_%%.*}", "/usr/share/doc"),
    ("${STAR#a\\*}", "b"),
    ("${STAR%\\*b}", "a"),
    ("${X#a}", ""),
    ("${FOO#[f]}", "foobarbaz"),
    ("${FOO#$SHELL}", "foobarbaz"),
    ("${LINES#*b}", "a\nb"),
    # replacement
    ("${FOO/ba/X}", "fooXrbaz"),
    ("${FOO//ba/X}", "fooXrXz"),
    ("${FOO//ba?/}", "foo"),
    ("${FOO/b*/X}", "fooX"),
    ("${FOO/zz/X}", "foobarbaz"),
    ("${PATH_//\\//_}", "_usr_share_doc.tar.gz"),
    ("${PATH_/./$SHELL}", "/usr/share/docbashtar.gz"),
    ("${FOO//o/'$1'}", "fbarbaz"),
    ("${FOO/o/'$1'}", "f$1obarbaz"),
    ("${FOO//o/'$$'}", "f$$barbaz"),
    ("${X/a/b}", ""),
    ("${X//b/c}", ""),
]

BAD = [
    ("'abc", "single quote"),
    ('"abc', "double quote"),
    ("a'", "single quote"),
    ("${", "missing '}'"),
    ("${PWD", "missing '}'"),
    ("${}", "bad substitution"),
    ("${:x}", "bad substitution"),
    ("${.}", "bad substitution"),
    ("${{x}", "bad substitution"),
    ("${PWD:z}", "unsupported modifier"),
    ("${PWD!}", "unsupported modifier"),
    ("${PWD:-x", "missing '}'"),
    ("${PWD:", "missing '}'"),
    ("${X:?}", "X: is not allowed to be unset"),
    ("${X:?say why}", "X: say why"),
    ("${NULL:?}", "NULL: is not allowed to be empty"),
    ("${X?}", "X: is not allowed to be unset"),
    ("${FOO/a}", "missing '/'"),
    ("${FOO//a}", "missing '/'"),
    ("${FOO/a/b", "missing '}'"),
    ("${FOO#\\a}", "invalid escape"),
    ("${FOO%\\", "missing '}'"),
]

# (text, words)
WORDS = [
    ("", ()),
    ("  ", ()),
    ("a b  c", ("a", "b", "c")),
    ("'a b' c", ("a b", "c")),
    ("a' 'b", ("a b",)),
    ("a\\ b", ("a b",)),
    ("$TWO", ("a", "b")),
    ('"$TWO"', ("a b",)),
    ("x${TWO}y", ("xa", "by")),
    ("'' a", ("a",)),
    ("${X:-c d}", ("c", "d")),
    ("a\u00a0b", ("a", "b")),
    ("a\x1fb", ("a\x1fb",)),
]


@pytest.mark.parametrize(("text", "result"), TEXTS)
def test_a_text_is_expanded(text: str, result: str) -> None:
    assert expand(text, VARIABLES).text == result


@pytest.mark.parametrize(("text", "problem"), BAD)
def test_a_bad_text_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(WordError, match=re.escape(problem)) as caught:
        expand(text, VARIABLES)
    assert 0 <= caught.value.offset <= len(text)


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_an_expanded_text_is_split_where_blanks_are_not_quoted(text: str, words: tuple[str, ...]) -> None:
    assert expand(text, VARIABLES).words == words


def test_the_escape_character_can_be_a_backtick() -> None:
    assert expand("`$PWD\\a", VARIABLES, escape="`").text == "$PWD\\a"
    assert expand('"`"`a"', VARIABLES, escape="`").text == '"`a'


def test_raw_quotes_and_escapes_stay_and_still_protect() -> None:
    raw = expand('a \'$PWD\' "b\\"" \\$PWD', VARIABLES, raw_quotes=True, raw_escapes=True)
    assert raw.text == 'a \'$PWD\' "b\\"" \\$PWD'
    assert raw.words == ("a", "'$PWD'", '"b\\""', "\\$PWD")


@pytest.mark.parametrize("text", ["$NO", "${NO}", "${NO:-a}", "${NO#a}", "${NO/a/b}"])
def test_a_reference_to_nothing_may_be_kept(text: str) -> None:
    assert expand(text, VARIABLES, keep_unset=True).text == text


def test_without_quotes_only_escapes_and_variables_count() -> None:
    assert expand('it\'s "$PWD" \\$PWD \\\\', VARIABLES, quotes=False).text == 'it\'s "/home" $PWD \\'


def test_the_names_that_were_found_and_missed_are_told() -> None:
    expansion = expand("$PWD ${X:-$Y}", VARIABLES)
    assert (expansion.used, expansion.missing) == ({"PWD"}, {"X", "Y"})


def test_names_that_only_differ_in_case_are_different() -> None:
    assert expand("$pwd", VARIABLES).text == ""


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(WordError, match="nested too deeply"):
        expand("${a:-" * 5000 + "}" * 5000, {})


def test_a_pattern_with_many_stars_is_matched_in_linear_time() -> None:
    assert expand("${A##" + "*a" * 40 + "b}", {"A": "a" * 2000}).text == "a" * 2000


# (text, words with offsets)
SPLITS = [
    ("a=1  b='c d'", [("a=1", 0), ("b='c d'", 5)]),
    ('a="x y"z', [('a="x y"z', 0)]),
    ("a\\ b c", [("a\\ b", 0), ("c", 5)]),
    ("a='x", [("a='x", 0)]),
    ("'' x", [("''", 0), ("x", 3)]),
    ("a\\", [("a", 0)]),
    ("'a\\' b", [("'a\\'", 0), ("b", 5)]),
    ('"a\\" b"', [('"a\\" b"', 0)]),
    ("", []),
]


@pytest.mark.parametrize(("text", "words"), SPLITS)
def test_splitting_keeps_quotes_and_escapes(text: str, words: list[tuple[str, int]]) -> None:
    assert split(text) == words


def test_trimming_takes_the_blanks_of_go() -> None:
    assert trim("\u00a0 a\x1c\t") == "a\x1c"
