"""Values of flags mean what buildah takes them for."""

import pytest

from buildlib.cli.words import argv, environment, shell_or_argv
from buildlib.errors import UsageError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("sh", ["sh"]),
        ('nginx -g "daemon off;"', ["nginx", "-g", "daemon off;"]),
        ('["a b", "c"]', ["a b", "c"]),
        ("[ -f /x ]", ["[", "-f", "/x", "]"]),
        ("[1]", ["[1]"]),
    ],
)
def test_a_command_is_json_or_words(text, words):
    assert argv("cmd", text) == words


def test_an_open_quote_is_an_error_that_names_the_flag():
    with pytest.raises(UsageError, match='parsing --cmd """: invalid command line string'):
        argv("cmd", '"')


def test_an_entrypoint_that_is_no_json_is_run_by_a_shell():
    assert shell_or_argv("foo bar") == ["/bin/sh", "-c", "foo bar"]
    assert shell_or_argv('["/e", "x"]') == ["/e", "x"]
    assert shell_or_argv("") == []


def test_values_of_variables_may_name_others():
    changed = environment(["PATH=/bin", "A=1"], ["PATH=/x:$PATH", "B=${A}2$NONE", "A-", "E=$A"])
    assert changed == ["PATH=/x:/bin", "B=12", "A-", "E="]
    assert environment(["A=1"], ["-", "X=$A"]) == ["-", "X="]


def test_a_variable_without_a_value_is_an_error():
    with pytest.raises(UsageError, match='setting env "C": no value given'):
        environment([], ["C"])
