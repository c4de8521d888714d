"""Patterns mean what Go's filepath.Match and docker's patternmatcher mean by them."""

from __future__ import annotations

import pytest

from buildlib.errors import UsageError
from buildlib.patterns import IgnorePatterns, Verdict, clean, go_match, has_wildcard

# The table of Go's own path/filepath tests, with rows of ours.
GO = [
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "abc", True),
    ("a*", "ab/c", False),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "ab", False),
    ("a?b", "a☺b", True),
    ("a[^a]b", "a☺b", True),
    ("a???b", "a☺b", False),
    ("a[^a][^a][^a]b", "a☺b", False),
    ("[a-ζ]*", "α", True),
    ("*[a-ζ]", "A", False),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    ("[\\]a]", "]", True),
    ("[\\-]", "-", True),
    ("[x\\-]", "x", True),
    ("[x\\-]", "-", True),
    ("[x\\-]", "z", False),
    ("[\\-x]", "x", True),
    ("[\\-x]", "-", True),
    ("[\\-x]", "a", False),
    ("*x", "xxx", True),
    ("[!a]", "!", True),
    ("[!a]", "b", False),
    ("[z-a]", "m", False),
    ("a.b", "axb", False),
    ("a(b|c)", "ab", False),
    ("**/x", "a/b/x", False),
    ("**/x", "ab/x", True),
    ("*", "", True),
    ("", "", True),
    ("", "a", False),
    ("*\n*", "a\nb", True),
    ("a*", "a\n", True),
]

BAD = ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "[a-", "[a\\", "x*["]


@pytest.mark.parametrize(("pattern", "name", "expected"), GO)
def test_go_match_agrees_with_the_table_of_go(pattern: str, name: str, expected: bool) -> None:
    assert go_match(pattern, name) is expected


@pytest.mark.parametrize("pattern", BAD)
def test_a_malformed_pattern_is_an_error_even_when_the_name_could_not_match(pattern: str) -> None:
    with pytest.raises(UsageError, match="malformed pattern"):
        go_match(pattern, "zzz")


def test_wildcards_are_recognised() -> None:
    assert not any(has_wildcard(text) for text in ("a/b.c", "a]^!", ""))
    assert all(has_wildcard(text) for text in ("a*", "a?", "[a]", "a\\b"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("", "."), ("a//b/", "a/b"), ("./a/./b", "a/b"), ("a/../../b", "../b"), ("//a", "/a"), ("/../a", "/a")],
)
def test_paths_are_cleaned_as_go_does(path: str, expected: str) -> None:
    assert clean(path) == expected


# (ignore file, path, excluded)
IGNORE = [
    ("", "a", False),
    ("a", "a", True),
    ("a", "a/b/c", True),
    ("a", "b/a", False),
    ("/a", "a", True),
    ("./a/", "a/x", True),
    ("  a  ", "a", True),
    ("a/../b", "b", True),
    ("#a\nb", "#a", False),
    (" #a", "#a", True),
    ("*.txt", "x.txt", True),
    ("*.txt", "d/x.txt", False),
    ("**/*.txt", "x.txt", True),
    ("**/*.txt", "d/e/x.txt", True),
    ("**", "a/b", True),
    ("**", "a", True),
    ("*", "a/b", True),
    ("*/b", "a/b/c", True),
    ("*/b", "b", False),
    ("?.py", "ab.py", False),
    ("a**", "ab/c", True),
    ("a**", "b", False),
    ("a/**", "a/b", True),
    ("a/**", "a", False),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**/b", "a/x/yb", False),
    ("**/b", "xb", False),
    ("**/b", "b", True),
    ("**/b", "a/b/c", True),
    ("**b", "ab", True),
    ("**b", "a/b", True),
    ("**b", "a/xb", True),
    ("**/a/**", "a/b", True),
    ("**/a/**", "x/a/b", True),
    ("**/a/**", "x/ab/c", False),
    ("a**/b", "ab", True),
    ("a**/b", "axx/b", True),
    ("**/a**/b", "a/ab", True),
    ("**/a*b", "a/ab", True),
    ("**/**/a", "x/y/a", True),
    ("a\n!a/b", "a/b", False),
    ("a\n!a/b", "a/c", True),
    ("a\n!a/b", "a/b/c", False),
    ("a\n!a/b\na/b/c", "a/b/c", True),
    ("!a\na", "a", True),
    ("*\n!keep", "keep/x", False),
    ("*\n!keep", "drop", True),
    ("*.md\n!README*.md\nREADME-secret.md", "README.md", False),
    ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
    ("**\n!**/*.go", "a/b/c.go", False),
    ("**\n!**/*.go", "a/b/c.c", True),
    ("a.c", "abc", False),
    ("a+b", "aab", False),
    ("a^b", "a^b", True),
    ("a^*", "a^b", True),
    ("a\\*", "a*", True),
    ("a\\*", "ab", False),
    ("[ab]c", "ac", True),
    ("[^ab]c", "ac", False),
    ("\ufeffa", "a", True),
    ("a\r\nb\r\n", "b", True),
    (".", "a", False),
    ("..", "a", False),
    ("../a", "a", False),
    ("/", "a", False),
    ("*", ".", False),
    ("! a\n", "a", False),
    ("a\n! a", "a", False),
]


@pytest.mark.parametrize(("text", "path", "expected"), IGNORE)
def test_ignore_patterns_follow_the_rules_of_dockerignore(text: str, path: str, expected: bool) -> None:
    assert IgnorePatterns.parse(text).matches(path) is expected


def test_the_deciding_pattern_and_its_line_are_told() -> None:
    patterns = IgnorePatterns.parse("# build\n\n*.o\nout/**\n!out/keep\n", source="app.dockerignore")
    why = patterns.why("out/x/y")
    assert why is not None
    assert (why.text, why.line, str(why)) == ("out/**", 4, "out/** (line 4 of app.dockerignore)")
    assert patterns.why("out/keep") is None
    assert patterns.why("src") is None


def test_a_walk_gets_the_same_answers_from_the_verdict_of_the_directory() -> None:
    patterns = IgnorePatterns.parse("a\n!a/b\na/b/c\n**/*.o\n")
    for path in ("a", "a/b", "a/b/c", "a/b/d", "a/b/d/x.o", "z/x.o", "z/y"):
        verdict = Verdict(None, 0)
        parts = path.split("/")
        for depth in range(len(parts)):
            verdict = patterns.below(verdict, "/".join(parts[: depth + 1]))
        assert verdict == patterns.verdict(path)


@pytest.mark.parametrize(
    ("text", "directory", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a\n!b", "a", True),
        ("a\n!a/b", "a", False),
        ("a\n!a/b", "a/c", True),
        ("a\n!a/b/c", "a/b", False),
        ("a\n!*/b", "a", False),
        ("a\n!**/b", "a", False),
        ("a\n!**/b", "a/x/y", False),
        ("*\n!src", "node_modules", True),
        ("*\n!src\nsrc/gen", "src/gen", False),
    ],
)
def test_a_directory_is_pruned_only_when_nothing_below_can_come_back(text: str, directory: str, expected: bool) -> None:
    assert IgnorePatterns.parse(text).may_prune(directory) is expected


@pytest.mark.parametrize(("text", "line"), [("a\n!\n", 2), ("a\n\n[x\n", 3), ("! ", 1), ("x\\", 1)])
def test_a_bad_pattern_names_its_line(text: str, line: int) -> None:
    with pytest.raises(UsageError, match=f"line {line} of .dockerignore"):
        IgnorePatterns.parse(text)


def test_patterns_from_flags_have_no_line() -> None:
    patterns = IgnorePatterns.of(["*.log", "!keep.log"])
    assert patterns.matches("a.log")
    assert not patterns.matches("keep.log")
    assert str(patterns.why("a.log")) == "*.log (--exclude)"


def test_names_that_are_not_utf8_are_matched() -> None:
    name = b"caf\xe9.txt".decode("utf-8", "surrogateescape")
    assert IgnorePatterns.parse(b"caf\xe9.*").matches(name)
    assert go_match("caf?.txt", name)


def test_hostile_patterns_do_not_explode() -> None:
    # A naive translation into one backtracking expression would take years here.
    many = "*a" * 30 + "b"
    deep = "/".join(["**", "a"] * 20) + "/b"
    assert not go_match(many, "a" * 200)
    patterns = IgnorePatterns.parse(f"{many}\n{deep}\n")
    assert not patterns.matches("a/" * 100 + "c")
    assert not patterns.matches("a" * 200)
