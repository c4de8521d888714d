"""The parser follows the rules of buildah's command line."""

import pytest

from buildlib.cli.flags import BOOL, EACH, LIST, NUMBER, Arguments, Flag, HelpWanted, Verb, parse, parse_globals
from buildlib.errors import UsageError

VERB = Verb(
    "do",
    "Do something",
    accepts="THING [OTHER]",
    positionals=(0, 2),
    example="buildlib do thing",
    flags=(
        Flag("quiet", "", short="q", kind=BOOL),
        Flag("json", "", kind=BOOL),
        Flag("name", "", short="n"),
        Flag("env", "", short="e", kind=EACH),
        Flag("cap-add", "", kind=LIST),
        Flag("timestamp", "", kind=NUMBER),
        Flag("pull", "", bare="true", default="missing"),
        Flag("tty", "", short="t", kind=BOOL, later=True),
        Flag("format", "", env="SOME_FORMAT", default="oci"),
        Flag("tls-verify", "", kind=BOOL, default=True),
    ),
)
RUN = Verb("run", "", positionals=(2, None), example="", flags=VERB.flags, passthrough=True, missing="say what")


def read(*words: str, verb: Verb = VERB, **environ: str) -> Arguments:
    return parse(verb, words, environ)


def complaint(*words: str, verb: Verb = VERB) -> str:
    with pytest.raises(UsageError) as caught:
        read(*words, verb=verb)
    return caught.value.message


@pytest.mark.parametrize(
    "words", [("--name", "x"), ("--name=x",), ("-n", "x"), ("-nx",), ("-n=x",), ("-qn", "x"), ("-qnx",), ("-qn=x",)]
)
def test_a_value_may_follow_its_flag_in_every_way_that_go_programs_take(words):
    assert read(*words).name == "x"


def test_flags_that_are_not_given_have_their_defaults():
    args = read("a")
    assert (args.quiet, args.name, args.env, args.cap_add, args.pull) == (False, None, (), (), "missing")
    assert args.tls_verify is True
    assert args.positionals == ["a"]
    assert args.given == frozenset()


def test_a_value_may_begin_with_a_dash_or_be_empty():
    assert read("--name", "-q").name == "-q"
    assert read("--name=").name == ""
    assert read("--name", "").name == ""


def test_booleans_take_a_value_only_after_an_equals_sign():
    assert read("--json=false").json is False
    assert read("--json=T").json is True
    assert read("--tls-verify=0").tls_verify is False
    assert read("--json", "false").positionals == ["false"]
    assert complaint("--json=maybe") == 'invalid argument "maybe" for "--json" flag: it is neither true nor false'


def test_a_flag_with_an_optional_value_leaves_the_next_word_alone():
    args = read("--pull", "debian")
    assert (args.pull, args.positionals) == ("true", ["debian"])
    assert read("--pull=never").pull == "never"


def test_repeated_flags_collect_whole_values_or_lists_that_split_at_commas():
    assert read("-e", "A=1,2", "--env", "B").env == ["A=1,2", "B"]
    assert read("--cap-add", "a,b", "--cap-add=c").cap_add == ["a", "b", "c"]
    assert read("--cap-add", '"a,b",c').cap_add == ["a,b", "c"]
    assert read("--cap-add", "").cap_add == []
    assert complaint("--cap-add", '"a,b').startswith('invalid argument ""a,b" for "--cap-add" flag')


def test_a_number_must_be_one():
    assert read("--timestamp", "-1").timestamp == -1
    message = 'invalid argument "soon" for "--timestamp" flag: it is not a whole number'
    assert complaint("--timestamp", "soon") == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nope",), "unknown flag: --nope"),
        (("-x",), "unknown shorthand flag: 'x' in -x"),
        (("-qx",), "unknown shorthand flag: 'x' in -qx"),
        (("--name",), "flag needs an argument: --name"),
        (("-qn",), "flag needs an argument: 'n' in -qn"),
        (("--=x",), "bad flag syntax: --=x"),
        (("---name",), "bad flag syntax: ---name"),
        (("a", "b", "c"), "too many arguments specified"),
        (("a", "--quiet"), "no options (--quiet) can be specified after the image or container name"),
        (("--tty",), "--tty is not supported yet"),
        (("-t",), "-t, --tty is not supported yet"),
    ],
)
def test_what_can_not_be_meant_is_refused_in_the_words_of_buildah(words, message):
    assert complaint(*words) == message


def test_an_error_says_where_to_look_and_a_misspelt_flag_what_was_meant():
    with pytest.raises(UsageError) as caught:
        read("--tim")
    assert caught.value.hint == "`buildlib do --help` lists the flags and shows an example"
    with pytest.raises(UsageError) as caught:
        read("--timestmp=3")
    assert caught.value.hint == "did you mean --timestamp?"


def test_two_dashes_end_the_flags_and_what_follows_is_taken_literally():
    assert read("-q", "--", "--quiet").positionals == ["--quiet"]


def test_a_single_dash_is_a_positional():
    assert read("-q", "-").positionals == ["-"]


def test_all_that_follows_the_container_of_run_belongs_to_the_command():
    assert read("-q", "ctr", "ls", "-n", "--help", verb=RUN).positionals == ["ctr", "ls", "-n", "--help"]


def test_two_dashes_after_the_container_of_run_are_dropped_once():
    assert read("ctr", "--", "echo", "--", verb=RUN).positionals == ["ctr", "echo", "--"]
    assert read("--", "ctr", "--", "echo", verb=RUN).positionals == ["ctr", "echo"]


def test_too_few_positionals_are_an_error_in_the_words_of_the_verb():
    assert complaint("ctr", verb=RUN) == "say what"


def test_help_is_asked_for_wherever_flags_may_stand():
    for words in (("--help",), ("-h",), ("-qh",)):
        with pytest.raises(HelpWanted):
            read(*words)


def test_the_environment_gives_a_default_that_a_flag_overrides():
    assert read(SOME_FORMAT="docker").format == "docker"
    assert read("--format=oci", SOME_FORMAT="docker").format == "oci"
    assert read(SOME_FORMAT="").format == "oci"
    assert read(BUILDLIB_ROOT="/x").root == "/x"


def test_global_flags_stand_before_the_verb_or_among_its_own():
    given, rest = parse_globals(["--root", "/x", "--log-level=debug", "images", "--root", "/y"])
    assert given == {"root": "/x", "log_level": "debug"}
    assert rest == ["images", "--root", "/y"]
    assert read("--root", "/y").root == "/y"


def test_version_is_a_global_flag_with_a_short_form():
    assert parse_globals(["-v"]) == ({"version": True}, [])
